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
  output logic [63:0] value
);
  logic [63:0] counters[COUNT];
  assign value = counters[select];
  always_ff @(posedge clk)
    if (rst) begin
      for (int c = 0; c < COUNT; c++) counters[c] <= '0;
    end else if (advance) counters[which] <= counters[which] + 1'b1;
endmodule
