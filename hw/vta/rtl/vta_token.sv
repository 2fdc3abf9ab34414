// One token counter. A push beyond 255 is reported, never saturated; popping without a token is forbidden.
module vta_token (
  input logic clk,
  input logic rst,
  input logic push,
  input logic pop,
  output logic available,
  output logic overflow,
  output logic [7:0] count
);
  assign available = count != 0;
  assign overflow = push && !pop && count == 8'hff;
  always_ff @(posedge clk)
    if (rst) count <= '0;
    else count <= count + 8'(push) - 8'(pop);
`ifndef SYNTHESIS
  no_underflow: assert property (@(posedge clk) disable iff (rst) pop |-> available);
`endif
endmodule
