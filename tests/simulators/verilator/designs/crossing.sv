// Carries a stream from one clock to another through an asynchronous FIFO with Gray-coded pointers.
module crossing #(parameter int W = 72, parameter int LG = 3) (
  input  logic wclk, wrst_n, input logic [W-1:0] s_axis_tdata, input logic s_axis_tvalid, output logic s_axis_tready,
  input  logic rclk, rrst, output logic [W-1:0] m_axis_tdata, output logic m_axis_tvalid, input logic m_axis_tready,
  output logic [7:0] history [4]
);
  logic [W-1:0] mem [1 << LG];
  logic [LG:0] wbin, wgray, rbin, rgray, wgray1, wgray2, rgray1, rgray2;
  assign s_axis_tready = wgray != {~rgray2[LG:LG-1], rgray2[LG-2:0]};
  wire [LG:0] wnext = wbin + (LG+1)'(s_axis_tvalid && s_axis_tready);
  always_ff @(posedge wclk)
    if (!wrst_n) begin wbin <= 0; wgray <= 0; rgray1 <= 0; rgray2 <= 0; end
    else begin
      if (s_axis_tvalid && s_axis_tready) mem[wbin[LG-1:0]] <= s_axis_tdata;
      wbin <= wnext; wgray <= wnext ^ (wnext >> 1); rgray1 <= rgray; rgray2 <= rgray1;
    end
  assign m_axis_tvalid = rgray != wgray2;
  assign m_axis_tdata = mem[rbin[LG-1:0]];
  wire [LG:0] rnext = rbin + (LG+1)'(m_axis_tvalid && m_axis_tready);
  always_ff @(posedge rclk)
    if (rrst) begin rbin <= 0; rgray <= 0; wgray1 <= 0; wgray2 <= 0; history <= '{default: 0}; end
    else begin
      rbin <= rnext; rgray <= rnext ^ (rnext >> 1); wgray1 <= wgray; wgray2 <= wgray1;
      if (m_axis_tvalid && m_axis_tready) history <= '{m_axis_tdata[7:0], history[0], history[1], history[2]};
    end
endmodule
