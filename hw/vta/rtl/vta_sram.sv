// A synchronous memory with one read and one write port. A word is CHUNKS pieces of W bits, of which one is written at a
// time; a read in the same cycle as a write of the same word gives the old word. The two clocks are gates of one.
module vta_sram #(
  parameter int W = 128,
  parameter int CHUNKS = 1,
  parameter int DEPTH = 1024,
  parameter int CHUNK_BITS = CHUNKS > 1 ? $clog2(CHUNKS) : 1
) (
  input logic write_clk,
  input logic write,
  input logic [CHUNK_BITS-1:0] chunk,
  input logic [$clog2(DEPTH)-1:0] waddr,
  input logic [W-1:0] wdata,
  input logic read_clk,
  input logic read,
  input logic [$clog2(DEPTH)-1:0] raddr,
  output logic [CHUNKS-1:0][W-1:0] rdata
);
  logic [CHUNKS-1:0][W-1:0] words[DEPTH];
  always_ff @(posedge read_clk) begin
    if (read) rdata <= words[raddr];
  end
  generate
    if (CHUNKS == 1) begin : g_whole
      always_ff @(posedge write_clk) if (write) words[waddr] <= wdata;
      wire unused = &{1'b0, chunk};
    end else begin : g_pieces
      always_ff @(posedge write_clk) if (write) words[waddr][chunk] <= wdata;
    end
  endgenerate
endmodule
