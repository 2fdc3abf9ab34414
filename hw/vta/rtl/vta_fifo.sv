// A queue of DEPTH words whose head is visible in the cycle after it was pushed. Pushing when full and popping when empty are forbidden.
module vta_fifo #(
  parameter int W = 8,
  parameter int DEPTH = 4
) (
  input logic clk,
  input logic rst,
  input logic push,
  input logic [W-1:0] din,
  input logic pop,
  output logic valid,
  output logic full,
  output logic [W-1:0] dout,
  output logic [$clog2(DEPTH):0] count
);
  localparam int LG = $clog2(DEPTH);
  logic [W-1:0] words[DEPTH];
  logic [LG:0] wp, rp;
  assign count = wp - rp;
  assign valid = wp != rp;
  assign full = count == (LG + 1)'(DEPTH);
  assign dout = words[rp[LG-1:0]];
  always_ff @(posedge clk) begin
    if (push) words[wp[LG-1:0]] <= din;
    if (rst) begin
      wp <= '0;
      rp <= '0;
    end else begin
      if (push) wp <= wp + 1'b1;
      if (pop) rp <= rp + 1'b1;
    end
  end
`ifndef SYNTHESIS
  no_overflow: assert property (@(posedge clk) disable iff (rst) push |-> !full);
  no_underflow: assert property (@(posedge clk) disable iff (rst) pop |-> valid);
`endif
endmodule
