// LOAD: requests boxes of memory and writes what comes, with padding around it, to inp, wgt, uop and prm. The requests of
// several LOADs may be under way; their data comes in order.
/* verilator lint_off PINCONNECTEMPTY */  // outputs of queues that are not needed here
module vta_load
  import vta_pkg::*;
#(
  parameter int INDEX = 24
) (
  input logic clk,
  input logic rst,
  input logic stop,
  input logic [15:0][31:0] base,
  // queue and tokens
  input logic head_valid,
  input logic [127:0] head_word,
  input logic [INDEX-1:0] head_index,
  output logic head_pop,
  input logic token,
  output logic token_pop,
  output logic token_push,
  // requests and data of memory
  output logic req_valid,
  input logic req_ready,
  output logic [31:0] req_address,
  output logic [7:0] req_beats,
  input logic data_valid,
  output logic data_ready,
  input logic [BUS-1:0] data,
  // memories on chip
  output logic write_inp,
  output logic write_wgt,
  output logic write_uop,
  output logic write_prm,
  output logic [CHUNK_INDEX-1:0] chunk,
  output logic [ANY_INDEX-1:0] element,
  output logic [BUS-1:0] write_data,
  // state
  output logic bounds,
  output logic [INDEX-1:0] bounds_index,
  output logic quiet,
  output logic counts_data,
  output logic counts_memory,
  output logic counts_wait
);
  typedef struct packed {
    logic [INDEX-1:0] index;
    logic push;
    logic [1:0] mem;
    logic [ANY_INDEX-1:0] sram;
    logic [12:0] x_low, x_high, x_total;
    logic [11:0] y_low, y_high, y_total;
    logic [11:0] z_low, z_high, z_total;
    logic [7:0] value;
  } box_t;

  // registers
  // views of one instruction, each of which uses some of the bits; those reserved never change
  /* verilator lint_off UNUSEDSIGNAL */
  /* verilator coverage_off */
  sync_t sync;
  load_t load;
  stride_t stride;
  pad_t pad_word;
  pad_t pad;
  /* verilator coverage_on */
  /* verilator lint_on UNUSEDSIGNAL */
  assign sync = head_word;
  assign load = head_word;
  assign stride = head_word;
  assign pad_word = head_word;
  logic [3:0][23:0] stride_y, stride_z;
  wire is_load = sync.opcode == OP_LOAD;
  wire is_sync = sync.opcode == OP_SYNC;
  wire sets = head_valid && !is_load && !is_sync && !stop;
  always_ff @(posedge clk)
    if (rst) begin
      stride_y <= '0;
      stride_z <= '0;
      pad <= '0;
    end else if (sets) begin
      if (sync.opcode == OP_STRIDE) begin
        stride_y[stride.mem] <= stride.y;
        stride_z[stride.mem] <= stride.z;
      end else pad <= pad_word;
    end

  // requests
  localparam int BURST = READ_WINDOW / 2 < 64 ? READ_WINDOW / 2 : 64;
  logic box_busy, box_valid, pending_full, pending_valid, pending_pop;
  logic [31:0] row_beats, under_way;
  box_t box;
  wire tokens = !sync.pop_next || token;
  wire start = head_valid && is_load && tokens && !box_busy && !pending_full && !stop;
  wire synced = head_valid && is_sync && tokens && !box_busy && !pending_valid && !stop;
  assign head_pop = sets || start || synced;
  assign token_pop = (start || synced) && sync.pop_next;
  logic [31:0] address;
  logic [23:0] step_y, step_z;
  always_comb begin
    address = '0;
    row_beats = '0;
    step_y = '0;
    step_z = '0;
    if (start) begin
      address = base[load.base] + (32'(load.offset) << BEAT_SHIFT);
      step_y = stride_y[load.mem];
      step_z = stride_z[load.mem];
      case (load.mem)
        2'(MEMORY_INP): row_beats = 32'(load.x) * INP_CHUNKS;
        2'(MEMORY_WGT): row_beats = 32'(load.x) * WGT_CHUNKS;
        2'(MEMORY_UOP): row_beats = 32'(load.x);
        default: row_beats = 32'(load.x) * PRM_CHUNKS;
      endcase
    end
  end
  vta_box #(.MAX_BURST(BURST)) u_box (
    .clk, .rst, .start, .address, .row_beats, .y(load.y), .z(load.z), .stride_y(step_y), .stride_z(step_z), .busy(box_busy), .valid(box_valid), .ready(req_valid && req_ready),
    .burst_address(req_address), .burst_beats(req_beats)
  );
  assign req_valid = box_valid && under_way + 32'(req_beats) <= READ_WINDOW;
  wire taken = data_valid && data_ready;
  always_ff @(posedge clk)
    if (rst) under_way <= '0;
    else under_way <= under_way + (req_valid && req_ready ? 32'(req_beats) : 32'd0) - 32'(taken);

  // what will come, in order
  wire padded = load.mem == 2'(MEMORY_INP);
  always_comb begin
    box = '0;
    if (start) begin
    box.index = head_index;
    box.push = load.push_next;
    box.mem = load.mem;
    box.sram = load.sram;
    box.value = pad.value;
    box.x_low = padded ? 13'(pad.x_before) : 13'd0;
    box.y_low = padded ? 12'(pad.y_before) : 12'd0;
    box.z_low = padded ? 12'(pad.z_before) : 12'd0;
    box.x_high = box.x_low + 13'(load.x);
    box.y_high = box.y_low + 12'(load.y);
    box.z_high = box.z_low + 12'(load.z);
    box.x_total = padded ? box.x_high + 13'(pad.x_after) : box.x_high;
    box.y_total = padded ? box.y_high + 12'(pad.y_after) : box.y_high;
    box.z_total = padded ? box.z_high + 12'(pad.z_after) : box.z_high;
    end
  end
  // the box whose data comes now, and those after it
  logic more, refill;
  box_t next;
  vta_fifo #(.W($bits(box_t)), .DEPTH(8)) u_pending (
    .clk, .rst, .push(start), .din(box), .pop(refill), .valid(more), .full(pending_full), .dout(next), .count()
  );
  logic current, push;
  assign refill = more && (!current || pending_pop);
  assign pending_valid = current || more;
  logic [1:0] mem;
  logic [7:0] value;
  logic [12:0] x_low, x_high, x_last;
  logic [11:0] y_low, y_high, y_last, z_low, z_high, z_last;
  logic [31:0] sram;
  always_ff @(posedge clk) begin
    if (rst) current <= 1'b0;
    else if (refill) current <= 1'b1;
    else if (pending_pop) current <= 1'b0;
    if (refill) begin
      bounds_index <= next.index;
      push <= next.push;
      mem <= next.mem;
      value <= next.value;
      sram <= 32'(next.sram);
      x_low <= next.x_low;
      x_high <= next.x_high;
      x_last <= next.x_total - 1'b1;
      y_low <= next.y_low;
      y_high <= next.y_high;
      y_last <= next.y_total - 1'b1;
      z_low <= next.z_low;
      z_high <= next.z_high;
      z_last <= next.z_total - 1'b1;
    end
  end

  // writes: one beat per cycle, of data or of padding
  logic [12:0] x;
  logic [11:0] y, z;
  logic [31:0] at;
  logic [CHUNK_INDEX-1:0] last_chunk;
  logic [31:0] depth;
  always_comb
    case (mem)
      2'(MEMORY_INP): {last_chunk, depth} = {CHUNK_INDEX'(INP_CHUNKS - 1), 32'(INP_DEPTH)};
      2'(MEMORY_WGT): {last_chunk, depth} = {CHUNK_INDEX'(WGT_CHUNKS - 1), 32'(WGT_DEPTH)};
      2'(MEMORY_UOP): {last_chunk, depth} = {CHUNK_INDEX'(0), 32'(UOP_DEPTH / UOPS_PER_BEAT)};
      default: {last_chunk, depth} = {CHUNK_INDEX'(PRM_CHUNKS - 1), 32'(PRM_DEPTH)};
    endcase
  wire in_box = x >= x_low && x < x_high && y >= y_low && y < y_high && z >= z_low && z < z_high;
  assign data_ready = current && in_box;
  wire wrote = current && (!in_box || data_valid);
  wire element_done = wrote && chunk == last_chunk;
  wire x_done = x == x_last;
  wire y_done = y == y_last;
  wire z_done = z == z_last;
  assign pending_pop = element_done && x_done && y_done && z_done;
  wire [31:0] target = sram + at;
  wire fits = target < depth;
  assign element = target[ANY_INDEX-1:0];
  assign write_inp = wrote && fits && mem == 2'(MEMORY_INP);
  assign write_wgt = wrote && fits && mem == 2'(MEMORY_WGT);
  assign write_uop = wrote && fits && mem == 2'(MEMORY_UOP);
  assign write_prm = wrote && fits && mem == 2'(MEMORY_PRM);
  assign write_data = in_box ? data : {BEAT_BYTES{value}};
  assign bounds = wrote && !fits;
  always_ff @(posedge clk)
    if (rst || pending_pop) begin
      x <= '0;
      y <= '0;
      z <= '0;
      chunk <= '0;
      at <= '0;
    end else if (wrote) begin
      chunk <= element_done ? '0 : chunk + 1'b1;
      if (element_done) begin
        at <= at + 1;
        x <= x_done ? 13'd0 : x + 1'b1;
        if (x_done) begin
          y <= y_done ? 12'd0 : y + 1'b1;
          if (y_done) z <= z + 1'b1;
        end
      end
    end

  assign token_push = (pending_pop && push) || (synced && sync.push_next);
  assign quiet = !pending_valid && !box_busy;
  assign counts_data = wrote;
  assign counts_memory = !wrote && !quiet;
  assign counts_wait = quiet && head_valid && (is_load || is_sync) && !tokens;
endmodule
