// What holds of every queue: it counts right, is never full and empty at once, and gives every word once and in order.
module fifo_proof (
  input logic clk,
  input logic rst,
  input logic push,
  input logic pop,
  input logic mark,
  input logic [3:0] din
);
  localparam int DEPTH = 4;
  logic valid, full;
  logic [3:0] dout;
  logic [2:0] count;
  vta_fifo #(.W(4), .DEPTH(DEPTH)) u_fifo (.clk, .rst, .push, .din, .pop, .valid, .full, .dout, .count);

  // the users of a queue keep these rules; they assert them where they use it
  logic started = 1'b0;
  always_ff @(posedge clk) started <= 1'b1;
  always_comb begin
    if (!started) assume (rst);
    if (full) assume (!push);
    if (!valid) assume (!pop);
  end

  // any one word, followed on its way through the queue
  logic follows = 1'b0;
  logic [2:0] ahead = '0;
  logic [3:0] word = '0;
  logic [2:0] expected = '0;
  always_ff @(posedge clk)
    if (rst) begin
      follows <= 1'b0;
      expected <= '0;
    end else begin
      expected <= expected + 3'(push) - 3'(pop);
      if (!follows && push && mark) begin
        follows <= 1'b1;
        ahead <= count - 3'(pop);
        word <= din;
      end else if (follows && pop) begin
        ahead <= ahead - 3'd1;
        if (ahead == 0) follows <= 1'b0;
      end
    end
  always_comb
    if (started && !rst) begin
      assert (count == expected);
      assert (count <= 3'(DEPTH));
      assert (full == (count == 3'(DEPTH)));
      assert (valid == (count != 0));
      if (follows) assert (ahead < count);
      if (follows && ahead == 0) assert (dout == word);
      // what makes it a proof for all time: the followed word lies where its place in the queue says
      if (follows) assert (u_fifo.words[2'(u_fifo.rp[1:0] + ahead[1:0])] == word);
    end
endmodule
