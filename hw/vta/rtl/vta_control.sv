// The control registers behind AXI-Lite, the state of the machine, and the counters.
module vta_control
  import vta_pkg::*;
#(
  parameter int INDEX = 24
) (
  input logic clk,
  input logic rst,
  // AXI-Lite
  input logic awvalid,
  output logic awready,
  input logic [11:0] awaddr,
  input logic wvalid,
  output logic wready,
  input logic [31:0] wdata,
  input logic [3:0] wstrb,
  output logic bvalid,
  input logic bready,
  input logic arvalid,
  output logic arready,
  input logic [11:0] araddr,
  output logic rvalid,
  input logic rready,
  output logic [31:0] rdata,
  // machine
  output logic start,
  output logic [31:0] code,
  output logic [31:0] length,
  output logic [15:0][31:0] base,
  input logic finished,
  input logic [7:0] error,
  input logic [INDEX-1:0] error_index,
  output logic stop,
  output logic done,
  input logic [31:0] tokens,
  input logic [2:0][31:0] heads,
  input logic [COUNTERS-1:0] counts
);
  logic [7:0] errors;
  logic busy;
  logic [31:0] first_error;
  logic [COUNTERS-1:0][63:0] counters;
  assign stop = errors != 0;

  // writes: address and data are taken together
  wire write = awvalid && wvalid && !bvalid;
  assign awready = write;
  assign wready = write;
  assign start = write && awaddr == REG_CONTROL && wdata[0] && wstrb[0] && !busy;
  always_ff @(posedge clk)
    if (rst) begin
      bvalid <= 1'b0;
      busy <= 1'b0;
      done <= 1'b0;
      code <= '0;
      length <= '0;
      base <= '0;
      errors <= '0;
      first_error <= '0;
    end else begin
      bvalid <= write || (bvalid && !bready);
      if (write && wstrb == 4'hf) begin
        if (awaddr == REG_CODE) code <= wdata;
        if (awaddr == REG_COUNT) length <= wdata;
        if (awaddr[11:6] == REG_BASE0[11:6]) base[awaddr[5:2]] <= wdata;
      end
      if (start) begin
        busy <= 1'b1;
        done <= 1'b0;
        errors <= '0;
        first_error <= '0;
      end else if (busy) begin
        errors <= errors | error;
        if (errors == 0 && error != 0) first_error <= 32'(error_index);
        if (finished) begin
          busy <= 1'b0;
          done <= 1'b1;
        end
      end
    end

  always_ff @(posedge clk)
    if (rst || start) counters <= '0;
    else if (busy) for (int c = 0; c < COUNTERS; c++) if (counts[c]) counters[c] <= counters[c] + 1'b1;

  // reads
  assign arready = !rvalid;
  wire [11:0] counter_at = araddr - REG_COUNTER0;
  wire [63:0] counter = counters[counter_at[11:3]];
  logic [31:0] selected;
  always_comb
    case (araddr)
      REG_ID: selected = 32'h48454456;
      REG_VERSION: selected = VERSION_WORD;
      REG_STATUS: selected = {16'd0, errors, 6'd0, done, busy};
      REG_CODE: selected = code;
      REG_COUNT: selected = length;
      REG_ERROR_INDEX: selected = first_error;
      REG_TOKENS: selected = tokens;
      REG_HEAD_LOAD: selected = heads[0];
      REG_HEAD_COMPUTE: selected = heads[1];
      REG_HEAD_STORE: selected = heads[2];
      default:
        if (araddr[11:6] == REG_BASE0[11:6]) selected = base[araddr[5:2]];
        else if (araddr >= REG_COUNTER0 && counter_at < 12'(8 * COUNTERS)) selected = araddr[2] ? counter[63:32] : counter[31:0];
        else selected = '0;
    endcase
  always_ff @(posedge clk)
    if (rst) rvalid <= 1'b0;
    else begin
      rvalid <= (arvalid && arready) || (rvalid && !rready);
      if (arvalid && arready) rdata <= selected;
    end
endmodule
