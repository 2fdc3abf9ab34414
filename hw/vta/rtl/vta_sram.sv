// A synchronous memory with one read and one write port. A word is CHUNKS pieces of W bits that are written by mask;
// a read in the same cycle as a write of the same word gives the old word.
module vta_sram #(
  parameter int W = 128,
  parameter int CHUNKS = 1,
  parameter int DEPTH = 1024
) (
  input logic clk,
  input logic write,
  input logic [CHUNKS-1:0] mask,
  input logic [$clog2(DEPTH)-1:0] waddr,
  input logic [W-1:0] wdata,
  input logic read,
  input logic [$clog2(DEPTH)-1:0] raddr,
  output logic [CHUNKS-1:0][W-1:0] rdata
);
  logic [CHUNKS-1:0][W-1:0] words[DEPTH];
  always_ff @(posedge clk) begin
    if (read) rdata <= words[raddr];
    if (write)
      for (int c = 0; c < CHUNKS; c++) if (mask[c]) words[waddr][c] <= wdata;
  end
endmodule
