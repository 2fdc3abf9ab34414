// Reads the residual of STOREs ahead of the drain: requests no more than there is room for, and gives whole vectors.
/* verilator lint_off PINCONNECTEMPTY */  // outputs of queues that are not needed here
module vta_residual
  import vta_pkg::*;
(
  input logic clk,
  input logic rst,
  input logic start,
  input logic [31:0] address,
  input logic [31:0] row_beats,
  input logic [9:0] y,
  input logic [9:0] z,
  input logic [23:0] stride_y,
  input logic [23:0] stride_z,
  output logic busy,
  output logic req_valid,
  input logic req_ready,
  output logic [31:0] req_address,
  output logic [7:0] req_beats,
  input logic data_valid,
  input logic [BUS-1:0] data,
  output logic valid,
  output logic [BO-1:0][7:0] vector,
  input logic pop
);
  localparam int BURST = RESIDUAL_DEPTH / 2 < 64 ? RESIDUAL_DEPTH / 2 : 64;
  logic box_valid, assembled;
  logic [31:0] held;  // beats requested and not popped
  logic [BO*8-1:0] collected;
  vta_box #(.MAX_BURST(BURST)) u_box (
    .clk, .rst, .start, .address, .row_beats, .y, .z, .stride_y, .stride_z, .busy, .valid(box_valid), .ready(req_valid && req_ready),
    .burst_address(req_address), .burst_beats(req_beats)
  );
  assign req_valid = box_valid && held + 32'(req_beats) <= RESIDUAL_DEPTH;
  always_ff @(posedge clk)
    if (rst) held <= '0;
    else held <= held + (req_valid && req_ready ? 32'(req_beats) : 32'd0) - (pop ? OUT_BEATS : 32'd0);
  generate
    if (OUT_BEATS == 1) begin : g_whole
      assign assembled = data_valid;
      assign collected = data;
    end else begin : g_parts
      logic [$clog2(OUT_BEATS)-1:0] part;
      logic [BO*8-BUS-1:0] kept;
      assign assembled = data_valid && part == ($clog2(OUT_BEATS))'(OUT_BEATS - 1);
      assign collected = {data, kept};
      always_ff @(posedge clk) begin
        if (rst) part <= '0;
        else if (data_valid) part <= part + 1'b1;
        if (data_valid) kept <= (BO * 8 - BUS)'({data, kept} >> BUS);
      end
    end
  endgenerate
  vta_fifo #(.W(BO * 8), .DEPTH(RESIDUAL_DEPTH / OUT_BEATS)) u_vectors (
    .clk, .rst, .push(assembled), .din(collected), .pop, .valid, .full(), .dout(vector), .count()
  );
endmodule
