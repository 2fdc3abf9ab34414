// STORE: walks boxes of accumulators, one vector per cycle in cycles in which COMPUTE does not read them, through the drain to memory.
module vta_store
  import vta_pkg::*;
#(
  parameter int INDEX = 24
) (
  input logic clk,
  input logic rst,
  input logic stop,
  input logic ending,  // nothing more will come
  input logic [15:0][31:0] base,
  // queue and tokens
  input logic head_valid,
  input logic [127:0] head_word,
  input logic [INDEX-1:0] head_index,
  output logic head_pop,
  input logic token,
  output logic token_pop,
  output logic token_push,
  // memories on chip
  input logic acc_taken,
  output logic acc_read,
  output logic [ACC_INDEX-1:0] acc_address,
  input logic [BO-1:0][31:0] acc,
  output logic [PRM_INDEX-1:0] prm_address,
  input logic [BO*72-1:0] prm,
  // residual
  output logic req_valid,
  input logic req_ready,
  output logic [31:0] req_address,
  output logic [7:0] req_beats,
  input logic data_valid,
  input logic [BUS-1:0] data,
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
  // state
  output logic bounds,
  output logic write_error,
  output logic [INDEX-1:0] index,
  output logic quiet,
  output logic counts_drain,
  output logic counts_wait_compute,
  output logic counts_wait_port,
  output logic counts_wait_residual,
  output logic counts_back_pressure,
  output logic counts_wait_memory
);
  // views of one instruction, each of which uses some of the bits; those reserved never change
  /* verilator lint_off UNUSEDSIGNAL */
  /* verilator coverage_off */
  sync_t sync;
  store_t store;
  walk_t walk_word, walk;
  quant_t quant_word, quant;
  residual_t residual_word, source;
  /* verilator coverage_on */
  /* verilator lint_on UNUSEDSIGNAL */
  assign sync = head_word;
  assign store = head_word;
  assign walk_word = head_word;
  assign quant_word = head_word;
  assign residual_word = head_word;

  // heads
  logic active, drain_busy, addressing, requesting, writer_idle, valid0;
  wire is_store = sync.opcode == OP_STORE;
  wire is_sync = sync.opcode == OP_SYNC;
  wire tokens = !sync.pop_prev || token;
  wire drained = !active && !valid0 && !drain_busy;
  wire sets = head_valid && !is_store && !is_sync && drained && !stop;
  wire start = head_valid && is_store && tokens && !active && !addressing && !requesting && !stop;
  wire synced = head_valid && is_sync && tokens && drained && writer_idle && !stop;
  assign head_pop = sets || start || synced;
  assign token_pop = (start || synced) && sync.pop_prev;
  always_ff @(posedge clk)
    if (rst) begin
      walk <= '0;
      quant <= '0;
      source <= '0;
    end else if (sets) begin
      if (sync.opcode == OP_WALK) walk <= walk_word;
      if (sync.opcode == OP_QUANT) quant <= quant_word;
      if (sync.opcode == OP_RESIDUAL) source <= residual_word;
    end

  // the box
  localparam int OFFSET = 28;
  logic raw, add, prm_x, prm_z, push;
  logic [12:0] x, last_x;
  logic [9:0] y, z, last_y, last_z;
  logic [OFFSET-1:0] acc_at, acc_row, acc_plane;
  logic [15:0] prm_at, prm_plane;
  logic residual_valid;
  logic [BO-1:0][7:0] residual, residual0;
  logic raw0, add0;
  logic [$clog2(OUT_DEPTH):0] held;
  logic [5:0] in_drain;  // vectors of bytes, of which a raw vector makes four
  logic [1:0] pause;     // after a raw vector
  wire room = 32'(held) + 32'(in_drain) + (raw ? 4 : 1) <= OUT_DEPTH && pause == 0;
  wire vector_there = !add || residual_valid;
  assign acc_read = active && !acc_taken && room && vector_there;
  assign acc_address = acc_at[ACC_INDEX-1:0];
  assign prm_address = prm_at[PRM_INDEX-1:0];
  wire end_x = x == last_x;
  wire end_y = y == last_y;
  wire last = acc_read && end_x && end_y && z == last_z;
  assign token_push = (last && push) || (synced && sync.push_prev);
  assign bounds = acc_read && (32'(acc_at) >= ACC_DEPTH || 32'(prm_at) >= PRM_DEPTH);
  always_ff @(posedge clk) begin
    valid0 <= acc_read && !rst;
    if (acc_read) {raw0, add0, residual0} <= {raw, add, residual};
    if (rst) active <= 1'b0;
    else if (start) active <= 1'b1;
    else if (last) active <= 1'b0;
    if (start) begin
      index <= head_index;
      raw <= store.raw;
      add <= store.residual;
      prm_x <= store.prm_x;
      prm_z <= store.prm_z;
      push <= sync.push_prev;
      x <= '0;
      y <= '0;
      z <= '0;
      last_x <= 13'(store.x) - 1'b1;
      last_y <= store.y - 1'b1;
      last_z <= store.z - 1'b1;
      {acc_at, acc_row, acc_plane} <= {3{OFFSET'(store.acc)}};
      {prm_at, prm_plane} <= {2{16'(store.prm)}};
    end else if (acc_read) begin
      if (!end_x) begin
        x <= x + 1'b1;
        acc_at <= acc_at + OFFSET'(walk.acc_x);
        if (prm_x) prm_at <= prm_at + 1'b1;
      end else begin
        x <= '0;
        if (!end_y) begin
          y <= y + 1'b1;
          {acc_at, acc_row} <= {2{acc_row + OFFSET'(walk.acc_y)}};
          prm_at <= prm_plane;
        end else begin
          y <= '0;
          z <= z + 1'b1;
          {acc_at, acc_row, acc_plane} <= {3{acc_plane + OFFSET'(walk.acc_z)}};
          {prm_at, prm_plane} <= {2{prm_plane + 16'(prm_z)}};
        end
      end
    end
  end

  // the way to memory
  logic [31:0] source_address, target_address, source_beats, target_beats;
  always_comb begin
    source_address = '0;
    target_address = '0;
    source_beats = '0;
    target_beats = '0;
    if (start) begin
      source_address = base[source.base] + (32'(source.offset) << BEAT_SHIFT);
      target_address = base[store.base] + (32'(store.offset) << BEAT_SHIFT);
      source_beats = 32'(store.x) * OUT_BEATS;
      target_beats = 32'(store.x) * (store.raw != 0 ? 4 * OUT_BEATS : OUT_BEATS);
    end
  end
  logic out_valid;
  logic [BO-1:0][7:0] out;
  vta_residual u_residual (
    .clk, .rst, .start(start && store.residual != 0), .address(source_address), .row_beats(source_beats), .y(store.y), .z(store.z), .stride_y(source.y), .stride_z(source.z), .busy(requesting),
    .req_valid, .req_ready, .req_address, .req_beats, .data_valid, .data, .valid(residual_valid), .vector(residual), .pop(acc_read && add)
  );
  vta_drain u_drain (
    .clk, .rst, .valid(valid0), .raw(raw0), .add(add0), .residual(residual0), .quant, .acc, .prm, .out_valid, .out,
    .busy(drain_busy)
  );
  vta_writer u_writer (
    .clk, .rst, .start, .address(target_address), .row_beats(target_beats), .y(store.y), .z(store.z), .stride_y(walk.y),
    .stride_z(walk.z), .addressing, .push(out_valid), .vector(out), .count(held), .idle(writer_idle), .awvalid, .awready,
    .awaddr, .awlen, .wvalid, .wready, .wdata, .wlast, .bvalid, .bresp, .error(write_error)
  );
  always_ff @(posedge clk)
    if (rst) begin
      in_drain <= '0;
      pause <= '0;
    end else begin
      in_drain <= in_drain + (acc_read ? (raw ? 6'd4 : 6'd1) : 6'd0) - 6'(out_valid);
      pause <= acc_read && raw ? 2'd3 : pause - 2'(pause != 0);
    end

  assign quiet = drained && writer_idle && !requesting;
  assign counts_drain = acc_read;
  assign counts_wait_port = active && room && vector_there && acc_taken;
  assign counts_back_pressure = active && !room;
  assign counts_wait_residual = active && room && !vector_there;
  assign counts_wait_compute = !active && head_valid && (is_store || is_sync) && !tokens;
  assign counts_wait_memory = !active && !writer_idle && ((head_valid && is_sync && tokens) || (ending && !head_valid));
endmodule
