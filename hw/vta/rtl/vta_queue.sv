// The instructions that wait for a unit, with their numbers.
module vta_queue #(
  parameter int INDEX = 24,
  parameter int DEPTH = 64
) (
  input logic clk,
  input logic rst,
  input logic push,
  input logic [127:0] in_word,
  input logic [INDEX-1:0] in_index,
  input logic pop,
  output logic valid,
  output logic full,
  output logic [127:0] word,
  output logic [INDEX-1:0] index
);
  /* verilator lint_off PINCONNECTEMPTY */
  vta_fifo #(.W(128), .DEPTH(DEPTH)) u_words (.clk, .rst, .push, .din(in_word), .pop, .valid, .full, .dout(word), .count());
  vta_fifo #(.W(INDEX), .DEPTH(DEPTH)) u_indices (
    .clk, .rst, .push, .din(in_index), .pop, .valid(), .full(), .dout(index), .count()
  );
  /* verilator lint_on PINCONNECTEMPTY */
endmodule
