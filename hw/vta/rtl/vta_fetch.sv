// FETCH: reads the program, checks the form of each instruction, sorts them into the queues of the units.
/* verilator lint_off PINCONNECTEMPTY */  // outputs of queues that are not needed here
module vta_fetch
  import vta_pkg::*;
#(
  parameter int INDEX = 24
) (
  input logic clk,
  input logic rst,
  input logic start,
  input logic stop,
  input logic [31:0] code,
  input logic [31:0] length,
  // requests and data of memory
  output logic req_valid,
  input logic req_ready,
  output logic [31:0] req_address,
  output logic [7:0] req_beats,
  input logic data_valid,
  input logic [BUS-1:0] data,
  // queues
  output logic [127:0] word,
  output logic [INDEX-1:0] index,
  output logic push_load,
  output logic push_compute,
  output logic push_store,
  input logic full_load,
  input logic full_compute,
  input logic full_store,
  // state
  output logic illegal,
  output logic finished,
  output logic quiet,
  output logic counts_dispatch,
  output logic counts_full,
  output logic counts_memory
);
  localparam int BEATS = 128 / BUS;  // of an instruction
  localparam int DEPTH = 16;         // instructions read ahead
  localparam int BURST = 8 * BEATS;

  // instructions from beats
  logic ready_valid, take, assembled;
  logic [127:0] collected;
  logic [$clog2(DEPTH):0] ready_count;
  generate
    if (BEATS == 1) begin : g_whole
      assign assembled = data_valid;
      assign collected = data;
    end else begin : g_parts
      logic [$clog2(BEATS)-1:0] part;
      logic [127-BUS:0] held;
      assign assembled = data_valid && part == ($clog2(BEATS))'(BEATS - 1);
      assign collected = {data, held};
      always_ff @(posedge clk) begin
        if (rst) part <= '0;
        else if (data_valid) part <= part + 1'b1;
        if (data_valid) held <= (128 - BUS)'({data, held} >> BUS);
      end
    end
  endgenerate
  vta_fifo #(.W(128), .DEPTH(DEPTH)) u_ready (
    .clk, .rst, .push(assembled), .din(collected), .pop(take), .valid(ready_valid), .full(), .dout(word), .count(ready_count)
  );

  // requests: as many instructions as there is room for, none beyond the program
  logic running;
  logic [31:0] left;  // beats not requested
  logic [15:0] under_way;  // beats requested that have not come
  wire [31:0] room = (DEPTH - 32'(ready_count)) * BEATS - 32'(under_way);
  wire [31:0] to_boundary = 32'(4096 / BEAT_BYTES) - 32'(req_address[11:BEAT_SHIFT]);
  wire [31:0] near = to_boundary < BURST ? to_boundary : BURST;
  assign req_beats = left < near ? left[7:0] : near[7:0];
  assign req_valid = running && !stop && left != 0 && room >= 32'(req_beats);
  wire requested = req_valid && req_ready;
  always_ff @(posedge clk)
    if (rst) begin
      left <= '0;
      under_way <= '0;
      req_address <= '0;
    end else if (start) begin
      left <= length * BEATS;
      req_address <= code;
    end else begin
      if (requested) begin
        left <= left - 32'(req_beats);
        req_address <= req_address + (32'(req_beats) << BEAT_SHIFT);
      end
      under_way <= under_way + (requested ? 16'(req_beats) : 16'd0) - 16'(data_valid);
    end

  // dispatch
  logic [31:0] undispatched;
  logic bad, to_load, to_compute, to_store, finish;
  vta_decode u_decode (.word, .illegal(bad), .to_load, .to_compute, .to_store, .finish);
  wire can = running && ready_valid && !stop && !finished;
  assign push_load = can && !bad && to_load && !full_load;
  assign push_compute = can && !bad && to_compute && !full_compute;
  assign push_store = can && !bad && to_store && !full_store;
  wire ends = can && !bad && finish;
  assign take = push_load || push_compute || push_store || ends;
  wire ran_out = running && !stop && !finished && undispatched == 0;
  assign illegal = (can && bad) || ran_out;
  assign quiet = under_way == 0;
  assign counts_dispatch = take;
  assign counts_full = can && !take;
  assign counts_memory = running && !finished && !can;
  always_ff @(posedge clk)
    if (rst) begin
      running <= 1'b0;
      finished <= 1'b0;
      index <= '0;
      undispatched <= '0;
    end else if (start) begin
      running <= 1'b1;
      undispatched <= length;
    end else begin
      if (take) begin
        index <= index + 1'b1;
        undispatched <= undispatched - 1'b1;
      end
      if (ends) finished <= 1'b1;
    end
endmodule
