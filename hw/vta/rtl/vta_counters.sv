// COUNT counters of which at most one advances per cycle.
module vta_counters #(
  parameter int COUNT = 4,
  parameter int SELECT = COUNT > 1 ? $clog2(COUNT) : 1
) (
  input logic clk,
  input logic rst,
  input logic advance,
  input logic [SELECT-1:0] which,
  input logic [SELECT-1:0] select,
  /* verilator coverage_off */
  output logic [63:0] value  // whose high bits take days to change
);
  logic [63:0] counters[COUNT];
  /* verilator coverage_on */
  logic [COUNT-1:0] counted;  // counters that have a value; the others are zero
  assign value = counted[select] ? counters[select] : '0;
  always_ff @(posedge clk)
    if (rst) counted <= '0;
    else if (advance) begin
      counted[which] <= 1'b1;
      counters[which] <= counted[which] ? counters[which] + 1'b1 : 64'd1;
    end
endmodule
