// A small stream processor: out = in * gain + offset, with its registers behind AXI-Lite and a count of what passed.
module scaler #(parameter int W = 16) (
  input  logic aclk,
  input  logic aresetn,
  input  logic [5:0] s_axil_awaddr, input logic s_axil_awvalid, output logic s_axil_awready,
  input  logic [31:0] s_axil_wdata, input logic [3:0] s_axil_wstrb, input logic s_axil_wvalid, output logic s_axil_wready,
  output logic [1:0] s_axil_bresp, output logic s_axil_bvalid, input logic s_axil_bready,
  input  logic [5:0] s_axil_araddr, input logic s_axil_arvalid, output logic s_axil_arready,
  output logic [31:0] s_axil_rdata, output logic [1:0] s_axil_rresp, output logic s_axil_rvalid, input logic s_axil_rready,
  input  logic [W-1:0] in_data, input logic in_last, input logic in_valid, output logic in_ready,
  output logic [2*W-1:0] out_data, output logic out_last, output logic out_valid, input logic out_ready,
  output logic irq
);
  logic [W-1:0] gain;
  logic [2*W-1:0] offset;
  logic [31:0] count;
  logic [5:0] waddr;
  logic have_addr, have_data;
  logic [31:0] wdata;
  logic [3:0] wstrb;

  // writes: address and data may come in any order
  assign s_axil_awready = !have_addr && !s_axil_bvalid;
  assign s_axil_wready = !have_data && !s_axil_bvalid;
  wire commit = have_addr && have_data && !s_axil_bvalid;
  always_ff @(posedge aclk or negedge aresetn)
    if (!aresetn) begin
      have_addr <= 0; have_data <= 0; s_axil_bvalid <= 0; s_axil_bresp <= 0; gain <= 1; offset <= 0;
      waddr <= 0; wdata <= 0; wstrb <= 0;
    end else begin
      if (s_axil_awvalid && s_axil_awready) begin have_addr <= 1; waddr <= s_axil_awaddr; end
      if (s_axil_wvalid && s_axil_wready) begin have_data <= 1; wdata <= s_axil_wdata; wstrb <= s_axil_wstrb; end
      if (commit) begin
        have_addr <= 0; have_data <= 0; s_axil_bvalid <= 1; s_axil_bresp <= waddr[5:3] == 0 ? 2'b00 : 2'b10;
        if (waddr[5:2] == 0) for (int i = 0; i < W / 8; i++) if (wstrb[i]) gain[8*i +: 8] <= wdata[8*i +: 8];
        if (waddr[5:2] == 1) offset <= (2*W)'(wdata);
      end
      if (s_axil_bvalid && s_axil_bready) s_axil_bvalid <= 0;
    end

  assign s_axil_arready = !s_axil_rvalid;
  always_ff @(posedge aclk or negedge aresetn)
    if (!aresetn) begin s_axil_rvalid <= 0; s_axil_rdata <= 0; s_axil_rresp <= 0; end
    else if (s_axil_arvalid && s_axil_arready) begin
      s_axil_rvalid <= 1;
      s_axil_rresp <= s_axil_araddr[5:2] < 3 ? 2'b00 : 2'b10;
      case (s_axil_araddr[5:2])
        0: s_axil_rdata <= 32'(gain);
        1: s_axil_rdata <= 32'(offset);
        2: s_axil_rdata <= count;
        default: s_axil_rdata <= 0;
      endcase
    end else if (s_axil_rready) s_axil_rvalid <= 0;

  // the stream: one register, full throughput
  assign in_ready = !out_valid || out_ready;
  always_ff @(posedge aclk or negedge aresetn)
    if (!aresetn) begin out_valid <= 0; out_data <= 0; out_last <= 0; count <= 0; irq <= 0; end
    else begin
      irq <= 0;
      if (in_ready) out_valid <= in_valid;
      if (in_valid && in_ready) begin
        out_data <= in_data * gain + offset; out_last <= in_last; count <= count + 1; irq <= in_last;
      end
    end
endmodule
