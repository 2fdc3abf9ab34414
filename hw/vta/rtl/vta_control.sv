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
  input logic trouble,  // there is an error
  input logic [7:0] error,
  input logic [INDEX-1:0] error_index,
  output logic stop,
  output logic done,
  input logic [31:0] tokens,
  input logic [31:0] head_load,
  input logic [31:0] head_compute,
  input logic [31:0] head_store,
  // what each unit does in this cycle, as the place of its counter among those of the unit
  input logic [1:0] counting_fetch,
  input logic [1:0] counting_load,
  input logic [2:0] counting_compute,
  input logic [2:0] counting_store,
  input logic read_beat,
  input logic write_beat,
  input logic dispatched
);
  logic [7:0] errors;
  logic busy;
  logic [31:0] first_error;
  assign stop = errors != 0;

  // writes: address and data are taken together
  wire write = awvalid && wvalid && !bvalid;
  assign awready = write;
  assign wready = write;
  wire registers_clk;
  vta_gate u_gate (.clk, .gated(registers_clk), .enable(rst || start || awvalid || bvalid || arvalid || rvalid || (busy && (finished || trouble))));
  always_ff @(posedge registers_clk)
    if (rst) begin
      bvalid <= 1'b0;
      start <= 1'b0;
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
      start <= write && awaddr == REG_CONTROL && wdata[0] && wstrb[0] && !busy && !start;
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

  // counters: those of a unit are consecutive
  localparam int FETCHES = COUNT_LOAD_DATA - COUNT_FETCH_DISPATCH;
  localparam int LOADS = COUNT_COMPUTE_GEMM - COUNT_LOAD_DATA;
  localparam int COMPUTES = COUNT_STORE_DRAIN - COUNT_COMPUTE_GEMM;
  localparam int STORES = COUNT_READ_BEATS - COUNT_STORE_DRAIN;
  wire reset = rst || start;
  /* verilator coverage_off */  // high bits of counters take days to change
  logic [63:0] cycles, fetch, load, compute, store, read_beats, write_beats, instructions, counter;
  /* verilator coverage_on */
  logic [31:0] at;
  assign at = 32'(araddr[11:3]) - 32'(REG_COUNTER0 >> 3);
  logic fetch_changes, load_changes, compute_changes, store_changes;
  wire counters_clk;
  vta_gate u_counters_gate (
    .clk, .gated(counters_clk), .enable(reset || fetch_changes || load_changes || compute_changes || store_changes)
  );
  vta_counters #(.COUNT(FETCHES)) u_fetch (
    .clk(counters_clk), .rst(reset), .now(cycles), .which(counting_fetch),
    .select($clog2(FETCHES)'(at - COUNT_FETCH_DISPATCH)), .changes(fetch_changes), .value(fetch)
  );
  vta_counters #(.COUNT(LOADS)) u_load (
    .clk(counters_clk), .rst(reset), .now(cycles), .which(counting_load),
    .select($clog2(LOADS)'(at - COUNT_LOAD_DATA)), .changes(load_changes), .value(load)
  );
  vta_counters #(.COUNT(COMPUTES)) u_compute (
    .clk(counters_clk), .rst(reset), .now(cycles), .which(counting_compute),
    .select($clog2(COMPUTES)'(at - COUNT_COMPUTE_GEMM)), .changes(compute_changes), .value(compute)
  );
  vta_counters #(.COUNT(STORES)) u_store (
    .clk(counters_clk), .rst(reset), .now(cycles), .which(counting_store),
    .select($clog2(STORES)'(at - COUNT_STORE_DRAIN)), .changes(store_changes), .value(store)
  );
  always_ff @(posedge clk)
    if (reset) begin
      cycles <= '0;
      read_beats <= '0;
      write_beats <= '0;
      instructions <= '0;
    end else if (busy) begin
      cycles <= cycles + 1'b1;
      if (read_beat) read_beats <= read_beats + 1'b1;
      if (write_beat) write_beats <= write_beats + 1'b1;
      if (dispatched) instructions <= instructions + 1'b1;
    end
  always_comb begin
    counter = '0;
    if (arvalid) begin
      if (at == COUNT_CYCLES) counter = cycles;
      else if (at < COUNT_LOAD_DATA) counter = fetch;
      else if (at < COUNT_COMPUTE_GEMM) counter = load;
      else if (at < COUNT_STORE_DRAIN) counter = compute;
      else if (at < COUNT_READ_BEATS) counter = store;
      else if (at == COUNT_READ_BEATS) counter = read_beats;
      else if (at == COUNT_WRITE_BEATS) counter = write_beats;
      else if (at == COUNT_INSTRUCTIONS) counter = instructions;
    end
  end

  // reads
  assign arready = !rvalid;
  logic [31:0] selected;
  always_comb begin
    selected = '0;
    if (arvalid)
    case (araddr)
      REG_ID: selected = 32'h48454456;
      REG_VERSION: selected = VERSION_WORD;
      REG_STATUS: selected = {16'd0, errors, 6'd0, done, busy};
      REG_CODE: selected = code;
      REG_COUNT: selected = length;
      REG_ERROR_INDEX: selected = first_error;
      REG_TOKENS: selected = tokens;
      REG_HEAD_LOAD: selected = head_load;
      REG_HEAD_COMPUTE: selected = head_compute;
      REG_HEAD_STORE: selected = head_store;
      default:
        if (araddr[11:6] == REG_BASE0[11:6]) selected = base[araddr[5:2]];
        else if (araddr >= REG_COUNTER0) selected = araddr[2] ? counter[63:32] : counter[31:0];
    endcase
  end
  always_ff @(posedge registers_clk)
    if (rst) rvalid <= 1'b0;
    else begin
      rvalid <= (arvalid && arready) || (rvalid && !rready);
      if (arvalid && arready) rdata <= selected;
    end
endmodule
