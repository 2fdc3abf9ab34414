// Turns a box of z planes of y rows of consecutive beats into bursts: of at most MAX_BURST beats, within 4 KiB. Rows that
// follow one another without a gap share bursts.
module vta_box
  import vta_pkg::*;
#(
  parameter int MAX_BURST = 64
) (
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
  output logic valid,
  input logic ready,
  output logic [31:0] burst_address,
  output logic [7:0] burst_beats
);
  logic [31:0] left, run, row_address, plane_address, step_y, step_z;
  logic [9:0] rows, rows_left, planes_left;
  logic [31:0] to_boundary, allowed;
  always_comb begin
    to_boundary = '0;
    allowed = '0;
    burst_beats = '0;
    if (busy) begin
      to_boundary = 32'(4096 / BEAT_BYTES) - 32'(burst_address[11:BEAT_SHIFT]);
      allowed = to_boundary < MAX_BURST ? to_boundary : MAX_BURST;
      burst_beats = left < allowed ? left[7:0] : allowed[7:0];
    end
  end
  assign busy = planes_left != 0;
  assign valid = busy;
  wire ends_run = left == 32'(burst_beats);

  always_ff @(posedge clk)
    if (rst) planes_left <= '0;
    else if (start) begin
      automatic logic joined = y == 10'd1 || 32'(stride_y) == row_beats;
      automatic logic [31:0] run_beats = joined ? row_beats * 32'(y) : row_beats;
      burst_address <= address;
      row_address <= address;
      plane_address <= address;
      left <= run_beats;
      run <= run_beats;
      step_y <= 32'(stride_y) << BEAT_SHIFT;
      step_z <= 32'(stride_z) << BEAT_SHIFT;
      rows <= joined ? 10'd1 : y;
      rows_left <= joined ? 10'd1 : y;
      planes_left <= z;
    end else if (valid && ready) begin
      if (!ends_run) begin
        left <= left - 32'(burst_beats);
        burst_address <= burst_address + (32'(burst_beats) << BEAT_SHIFT);
      end else begin
        left <= run;
        if (rows_left != 10'd1) begin
          rows_left <= rows_left - 1'b1;
          row_address <= row_address + step_y;
          burst_address <= row_address + step_y;
        end else begin
          rows_left <= rows;
          planes_left <= planes_left - 1'b1;
          plane_address <= plane_address + step_z;
          row_address <= plane_address + step_z;
          burst_address <= plane_address + step_z;
        end
      end
    end
endmodule
