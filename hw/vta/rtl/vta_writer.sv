// Writes vectors to memory: address bursts as soon as a box is known, data as vectors come, and a count of what is unanswered.
/* verilator lint_off PINCONNECTEMPTY */  // outputs of queues that are not needed here
module vta_writer
  import vta_pkg::*;
(
  input logic clk,
  input logic rst,
  // boxes
  input logic start,
  input logic [31:0] address,
  input logic [31:0] row_beats,
  input logic [9:0] y,
  input logic [9:0] z,
  input logic [23:0] stride_y,
  input logic [23:0] stride_z,
  output logic addressing,
  // vectors
  input logic push,
  input logic [BO-1:0][7:0] vector,
  output logic [$clog2(OUT_DEPTH):0] count,
  output logic idle,
  // AXI4 write channels
  output logic awvalid,
  input logic awready,
  output logic [31:0] awaddr,
  output logic [7:0] awlen,
  output logic wvalid,
  input logic wready,
  output logic [BUS-1:0] wdata,
  output logic wlast,
  input logic bvalid,
  input logic [1:0] bresp,
  output logic error
);
  localparam int BURST = 64;
  logic box_valid, lengths_full, lengths_valid, vectors_valid;
  logic [7:0] burst_beats, length;
  logic [15:0] unanswered;
  wire addressed = awvalid && awready;
  vta_box #(.MAX_BURST(BURST)) u_box (
    .clk, .rst, .start, .address, .row_beats, .y, .z, .stride_y, .stride_z, .busy(addressing), .valid(box_valid), .ready(addressed),
    .burst_address(awaddr), .burst_beats
  );
  assign awvalid = box_valid && !lengths_full;
  assign awlen = burst_beats - 1'b1;
  wire ends_burst = wvalid && wready && wlast;
  vta_fifo #(.W(8), .DEPTH(16)) u_lengths (
    .clk, .rst, .push(addressed), .din(burst_beats), .pop(ends_burst), .valid(lengths_valid), .full(lengths_full), .dout(length), .count()
  );

  logic vector_done;
  logic [OUT_BEATS-1:0][BUS-1:0] beats;
  vta_fifo #(.W(BO * 8), .DEPTH(OUT_DEPTH)) u_vectors (
    .clk, .rst, .push, .din(vector), .pop(vector_done), .valid(vectors_valid), .full(), .dout(beats), .count
  );
  logic [7:0] beat, sent;
  generate
    if (OUT_BEATS == 1) begin : g_one
      assign wdata = beats[0];
    end else begin : g_several
      assign wdata = beats[beat[$clog2(OUT_BEATS)-1:0]];
    end
  endgenerate
  assign wvalid = vectors_valid && lengths_valid;
  assign wlast = sent + 1'b1 == length;
  assign vector_done = wvalid && wready && beat == 8'(OUT_BEATS - 1);
  assign idle = !addressing && !vectors_valid && !lengths_valid && unanswered == 0;
  always_ff @(posedge clk)
    if (rst) begin
      beat <= '0;
      sent <= '0;
      unanswered <= '0;
      error <= 1'b0;
    end else begin
      error <= bvalid && bresp != 0;
      if (wvalid && wready) begin
        beat <= vector_done ? 8'd0 : beat + 1'b1;
        sent <= wlast ? 8'd0 : sent + 1'b1;
      end
      unanswered <= unanswered + 16'(addressed) - 16'(bvalid);
    end
`ifndef SYNTHESIS
  nothing_unasked: assert property (@(posedge clk) disable iff (rst) bvalid |-> unanswered != 0);
`endif
endmodule
