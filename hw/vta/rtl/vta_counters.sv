// Counters of the cycles that a unit spends in each of COUNT states. Only a change of state costs work: the cycles since the one
// before it are added to the state that ends, and a state that lasts is read as what was added and what has gone by since.
module vta_counters #(
  parameter int COUNT = 4,
  parameter int SELECT = $clog2(COUNT)
) (
  input logic clk,  // needed when `changes` or `rst`
  input logic rst,
  /* verilator coverage_off */
  input logic [63:0] now,     // cycles so far, which stand still outside of a run; high bits take days to change
  output logic [63:0] value,  // of the counter that is selected
  /* verilator coverage_on */
  input logic [SELECT-1:0] which,
  input logic [SELECT-1:0] select,
  output logic changes
);
  /* verilator coverage_off */
  logic [63:0] counters[COUNT];
  logic [63:0] since;
  wire [63:0] lasted = now - since;
  /* verilator coverage_on */
  logic [SELECT-1:0] state;
  logic [COUNT-1:0] counted;  // counters that have a value; the others are zero
  assign changes = which != state;
  assign value = (counted[select] ? counters[select] : '0) + (select == state ? lasted : '0);
  always_ff @(posedge clk)
    if (rst) begin
      counted <= '0;
      since <= '0;
    end else if (changes) begin
      counted[state] <= 1'b1;
      counters[state] <= counted[state] ? counters[state] + lasted : lasted;
      since <= now;
      state <= which;
    end
endmodule
