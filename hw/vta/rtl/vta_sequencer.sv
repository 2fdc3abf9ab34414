// COMPUTE's control: takes instructions from the queue and issues their micro-ops, one slot per cycle, with the indices that the
// loops contribute. The next instruction starts in the cycle after the last slot of the one before it.
module vta_sequencer
  import vta_pkg::*;
#(
  parameter int INDEX = 24,
  parameter int OFFSET = 28
) (
  input logic clk,
  input logic rst,
  input logic stop,
  input logic pipeline_empty,
  // queue and tokens
  input logic head_valid,
  input logic [127:0] head_word,
  input logic [INDEX-1:0] head_index,
  output logic head_pop,
  input logic token_load,
  input logic token_store,
  output logic pop_load,
  output logic pop_store,
  output logic sync_push_load,
  output logic sync_push_store,
  // the slot of this cycle
  output logic slot,
  output logic slot_gemm,
  output logic slot_operand,  // ALU reads its second operand; the slot after it computes
  output logic slot_writes,
  output logic slot_begins,   // the first micro-op of an iteration
  output logic slot_clears,   // the first slot of an instruction
  output logic slot_ends,     // the last slot of an instruction
  output logic [2:0] op,
  output logic overwrite,
  output logic is_unsigned,
  output logic depthwise,
  output logic use_imm,
  output logic [23:0] imm,
  output logic push_load,
  output logic push_store,
  output logic [INDEX-1:0] index,
  output logic [UOP_INDEX:0] uop,
  output logic [OFFSET-1:0] dst,
  output logic [OFFSET-1:0] src,
  output logic [OFFSET-1:0] wgt,
  // state
  output logic busy,
  output logic counts_wait_load,
  output logic counts_wait_store
);
  // views of one instruction, each of which uses some of the bits; those reserved never change
  /* verilator lint_off UNUSEDSIGNAL */
  /* verilator coverage_off */
  sync_t sync;
  gemm_t gemm;
  alu_t alu;
  loop_t loop_word, loop;
  /* verilator coverage_on */
  /* verilator lint_on UNUSEDSIGNAL */
  assign sync = head_word;
  assign gemm = head_word;
  assign alu = head_word;
  assign loop_word = head_word;
  wire is_gemm = sync.opcode == OP_GEMM;
  wire is_alu = sync.opcode == OP_ALU;
  wire is_sync = sync.opcode == OP_SYNC;

  // heads
  wire wants_load = sync.pop_prev && !token_load;
  wire wants_store = sync.pop_next && !token_store;
  wire tokens = !wants_load && !wants_store;
  wire sets = head_valid && sync.opcode == OP_LOOP && !stop;
  wire start = head_valid && (is_gemm || is_alu) && tokens && !stop && (!busy || slot_ends);
  wire synced = head_valid && is_sync && tokens && !stop && !busy && pipeline_empty;
  assign head_pop = sets || start || synced;
  assign pop_load = (start || synced) && sync.pop_prev;
  assign pop_store = (start || synced) && sync.pop_next;
  assign sync_push_load = synced && sync.push_prev;
  assign sync_push_store = synced && sync.push_next;
  assign counts_wait_load = !busy && head_valid && wants_load;
  assign counts_wait_store = !busy && head_valid && !wants_load && wants_store;
  // the running instruction
  logic [UOP_INDEX:0] u_begin, u_last;
  logic [UOP_INDEX:0] u;
  logic [11:0] i0, i1, i2, last0, last1, last2, warm;
  logic pairs, half;  // two slots per micro-op, and which of them
  logic [OFFSET-1:0] dst0, src0, wgt0, dst1, src1, wgt1;  // at the start of the outer and middle iteration
  logic [OFFSET-1:0] d0, d1, d2, s0, s1, s2, w0, w1, w2;
  logic fresh;

  wire [UOP_INDEX:0] begins = (UOP_INDEX + 1)'(is_gemm ? gemm.begin_ : alu.begin_);  // of the next instruction
  wire u_end = u == u_last;
  wire end2 = i2 == last2;
  wire end1 = i1 == last1;
  wire end0 = i0 == last0;
  wire steps = busy && (!pairs || half);
  assign slot = busy;
  assign slot_operand = pairs && !half;
  assign slot_writes = !slot_operand && (!depthwise || (u_end && i2 >= warm));
  assign slot_begins = u == u_begin;
  assign slot_clears = fresh;
  assign slot_ends = steps && u_end && end2 && end1 && end0;
  assign uop = u;

  always_ff @(posedge clk) begin
    if (rst) busy <= 1'b0;
    else if (start) busy <= 1'b1;
    else if (slot_ends) busy <= 1'b0;
    if (start) begin
      fresh <= 1'b1;
      half <= 1'b0;
      u <= begins;
    end else if (busy) begin
      fresh <= 1'b0;
      half <= pairs && !half;
      if (steps) u <= u_end ? u_begin : u + 1'b1;
    end
  end

  // what changes with instructions and iterations, not with micro-ops
  wire steps_out = steps && u_end;
  wire loops_clk;
  vta_gate u_gate (.clk, .gated(loops_clk), .enable(rst || sets || start || steps_out));
  always_ff @(posedge loops_clk) begin
    if (rst) loop <= '0;
    else if (sets) loop <= loop_word;

    if (start) begin
      index <= head_index;
      slot_gemm <= is_gemm;
      push_load <= sync.push_prev;
      push_store <= sync.push_next;
      u_begin <= begins;
      i0 <= '0;
      i1 <= '0;
      i2 <= '0;
      d0 <= OFFSET'(loop.dst0);
      d1 <= OFFSET'(loop.dst1);
      d2 <= OFFSET'(loop.dst2);
      w0 <= OFFSET'(loop.wgt0);
      w1 <= OFFSET'(loop.wgt1);
      w2 <= OFFSET'(loop.wgt2);
      imm <= alu.imm;
      if (is_gemm) begin
        {dst, dst0, dst1} <= {3{OFFSET'(gemm.dst)}};
        {src, src0, src1} <= {3{OFFSET'(gemm.src)}};
        {wgt, wgt0, wgt1} <= {3{OFFSET'(gemm.wgt)}};
        s0 <= OFFSET'(loop.src0);
        s1 <= OFFSET'(loop.src1);
        s2 <= OFFSET'(loop.src2);
        u_last <= begins + (UOP_INDEX + 1)'(gemm.count) - 1'b1;
        last0 <= 12'(gemm.n0) - 1'b1;
        last1 <= 12'(gemm.n1) - 1'b1;
        last2 <= 12'(gemm.n2) + 12'(gemm.warm) - 1'b1;
        warm <= 12'(gemm.warm);
        op <= 3'(gemm.op);
        overwrite <= gemm.overwrite;
        is_unsigned <= gemm.unsigned_;
        depthwise <= gemm.depthwise;
        use_imm <= 1'b0;
        pairs <= 1'b0;
      end else begin
        {dst, dst0, dst1} <= {3{OFFSET'(alu.dst)}};
        {src, src0, src1} <= {3{OFFSET'(alu.src)}};
        {wgt, wgt0, wgt1} <= '0;
        s0 <= OFFSET'(loop.src0 & INP_INDEX'((1 << ACC_INDEX) - 1));
        s1 <= OFFSET'(loop.src1 & INP_INDEX'((1 << ACC_INDEX) - 1));
        s2 <= OFFSET'(loop.src2 & INP_INDEX'((1 << ACC_INDEX) - 1));
        u_last <= begins + (UOP_INDEX + 1)'(alu.count) - 1'b1;
        last0 <= 12'(alu.n0) - 1'b1;
        last1 <= 12'(alu.n1) - 1'b1;
        last2 <= 12'(alu.n2) - 1'b1;
        warm <= '0;
        op <= alu.op;
        overwrite <= 1'b0;
        is_unsigned <= 1'b0;
        depthwise <= 1'b0;
        use_imm <= alu.use_imm;
        pairs <= alu.use_imm == 0;
      end
    end else if (steps_out) begin
      if (!end2) begin
        i2 <= i2 + 1'b1;
        if (i2 >= warm) dst <= dst + d2;
        src <= src + s2;
        wgt <= wgt + w2;
      end else begin
        i2 <= '0;
        if (!end1) begin
          i1 <= i1 + 1'b1;
          {dst, dst1} <= {2{dst1 + d1}};
          {src, src1} <= {2{src1 + s1}};
          {wgt, wgt1} <= {2{wgt1 + w1}};
        end else begin
          i1 <= '0;
          i0 <= i0 + 1'b1;
          {dst, dst1, dst0} <= {3{dst0 + d0}};
          {src, src1, src0} <= {3{src0 + s0}};
          {wgt, wgt1, wgt0} <= {3{wgt0 + w0}};
        end
      end
    end
  end
endmodule
