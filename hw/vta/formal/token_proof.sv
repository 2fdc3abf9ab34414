// What holds of every token counter: it counts pushes less pops, and an overflow is reported before it can happen.
module token_proof (
  input logic clk,
  input logic rst,
  input logic push,
  input logic pop
);
  logic available, overflow;
  logic [7:0] count;
  vta_token u_token (.clk, .rst, .push, .pop, .available, .overflow, .count);

  logic started = 1'b0;
  logic failed = 1'b0;  // the machine stops at the first report
  logic [15:0] expected = '0;
  always_ff @(posedge clk) begin
    started <= 1'b1;
    if (rst) begin
      expected <= '0;
      failed <= 1'b0;
    end else begin
      expected <= expected + 16'(push) - 16'(pop);
      failed <= failed || overflow;
    end
  end
  always_comb begin
    if (!started) assume (rst);
    if (!available) assume (!pop);
    if (started && !rst && !failed) begin
      assert (16'(count) == expected);
      assert (expected <= 16'd255);
      assert (available == (expected != 0));
      assert (overflow == (expected + 16'(push) - 16'(pop) > 16'd255));
    end
  end
endmodule
