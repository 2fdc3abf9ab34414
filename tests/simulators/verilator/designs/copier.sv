// Copies `words` words between two places of a memory over AXI4, in bursts. `fault` makes it break one rule of the bus.
module copier #(parameter int DW = 64, parameter int BURST = 16) (
  input  logic clk, rst, start, input logic [1:0] fault, output logic done, error,
  input  logic [31:0] src, dst, words,
  output logic [3:0] m_axi_arid, output logic [31:0] m_axi_araddr, output logic [7:0] m_axi_arlen,
  output logic [2:0] m_axi_arsize, output logic [1:0] m_axi_arburst, output logic m_axi_arvalid, input logic m_axi_arready,
  input  logic [3:0] m_axi_rid, input logic [DW-1:0] m_axi_rdata, input logic [1:0] m_axi_rresp, input logic m_axi_rlast,
  input  logic m_axi_rvalid, output logic m_axi_rready,
  output logic [3:0] m_axi_awid, output logic [31:0] m_axi_awaddr, output logic [7:0] m_axi_awlen,
  output logic [2:0] m_axi_awsize, output logic [1:0] m_axi_awburst, output logic m_axi_awvalid, input logic m_axi_awready,
  output logic [DW-1:0] m_axi_wdata, output logic [DW/8-1:0] m_axi_wstrb, output logic m_axi_wlast, output logic m_axi_wvalid,
  input  logic m_axi_wready, input logic [3:0] m_axi_bid, input logic [1:0] m_axi_bresp, input logic m_axi_bvalid,
  output logic m_axi_bready
);
  localparam int BYTES = DW / 8;
  typedef enum logic [2:0] {IDLE, AR, R, AW, W, B, FIN} state_t;
  state_t state;
  logic [31:0] from, to, left;
  logic [7:0] beat, len;
  logic [DW-1:0] data [256];

  // a burst ends at a 4 KiB boundary of either side
  function automatic logic [31:0] room(input logic [31:0] a); return (32'd4096 - (a & 32'd4095)) / BYTES; endfunction
  function automatic logic [31:0] next_beats(input logic [31:0] a, b, n);
    next_beats = n < BURST ? n : BURST;
    if (fault != 1) begin
      if (room(a) < next_beats) next_beats = room(a);
      if (room(b) < next_beats) next_beats = room(b);
    end
  endfunction
  wire [31:0] moved = (32'(len) + 1) * BYTES;
  wire [31:0] rest = left - 32'(len) - 1;

  logic toggle;
  assign m_axi_arid = 4'd5; assign m_axi_awid = 4'd9;
  assign m_axi_arsize = 3'($clog2(BYTES)); assign m_axi_awsize = 3'($clog2(BYTES));
  assign m_axi_arburst = 2'b01; assign m_axi_awburst = 2'b01;
  assign m_axi_araddr = from; assign m_axi_awaddr = to; assign m_axi_arlen = len; assign m_axi_awlen = len;
  assign m_axi_arvalid = state == AR && !(fault == 2 && toggle);
  assign m_axi_rready = state == R; assign m_axi_awvalid = state == AW; assign m_axi_bready = state == B;
  assign m_axi_wvalid = state == W; assign m_axi_wdata = data[beat]; assign m_axi_wstrb = '1;
  assign m_axi_wlast = fault == 3 ? beat == 0 : beat == len;
  assign done = state == FIN;

  always_ff @(posedge clk) begin
    toggle <= m_axi_arvalid;
    if (rst) begin state <= IDLE; error <= 0; beat <= 0; len <= 0; toggle <= 0; end
    else case (state)
      IDLE: if (start) begin
        state <= AR; from <= src; to <= dst; left <= words; len <= 8'(next_beats(src, dst, words) - 1);
      end
      AR: if (m_axi_arvalid && m_axi_arready) begin state <= R; beat <= 0; end
      R: if (m_axi_rvalid) begin
        data[beat] <= m_axi_rdata; beat <= beat + 1; error <= error | m_axi_rresp[1];
        if (m_axi_rid != m_axi_arid || m_axi_rlast != (beat == len)) error <= 1;
        if (beat == len) begin state <= AW; beat <= 0; end
      end
      AW: if (m_axi_awready) state <= W;
      W: if (m_axi_wready) begin beat <= beat + 1; if (beat == len) state <= B; end
      B: if (m_axi_bvalid) begin
        error <= error | m_axi_bresp[1] | (m_axi_bid != m_axi_awid);
        from <= from + moved; to <= to + moved; left <= rest;
        len <= 8'(next_beats(from + moved, to + moved, rest) - 1);
        state <= rest == 0 ? FIN : AR;
      end
      default: if (!start) state <= IDLE;
    endcase
  end
endmodule
