// Stops a clock in the cycles in which what it drives would not change: a sleeping unit costs nothing, neither in silicon nor in
// simulation. The gate takes `enable` while the clock is low, so no pulse is ever cut; synthesis puts the cell of the technology here.
module vta_gate (
  input logic clk,
  input logic enable,
  output logic gated
);
  logic open;
  always_latch if (!clk) open = enable;
  assign gated = clk && open;
endmodule
