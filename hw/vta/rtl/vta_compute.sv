// COMPUTE: GEMM and ALU in one pipeline. Stage 1 has the micro-op, stage 2 the operands, stage 3 the product and the accumulator;
// the result of stage 3 is forwarded to a read of the same accumulator in stage 2.
module vta_compute
  import vta_pkg::*;
#(
  parameter int INDEX = 24
) (
  input logic clk,
  input logic rst,
  input logic stop,
  // queue and tokens
  input logic head_valid,
  input logic [127:0] head_word,
  input logic [INDEX-1:0] head_index,
  output logic head_pop,
  input logic token_load,
  input logic token_store,
  output logic pop_load,
  output logic pop_store,
  output logic push_load,
  output logic push_store,
  // memories on chip
  output logic uop_read,
  output logic [UOP_LINE-1:0] uop_address,
  input logic [BUS-1:0] uop_line,
  output logic inp_read,
  output logic [INP_INDEX-1:0] inp_address,
  input logic [BI-1:0][7:0] inp,
  output logic wgt_read,
  output logic [WGT_INDEX-1:0] wgt_address,
  input logic [BO-1:0][BI-1:0][7:0] wgt,
  output logic acc_read,
  output logic [ACC_INDEX-1:0] acc_raddress,
  input logic [BO-1:0][31:0] acc_rdata,
  output logic acc_write,
  output logic [ACC_INDEX-1:0] acc_waddress,
  output logic [BO-1:0][31:0] acc_wdata,
  // state
  output logic bounds,
  output logic [INDEX-1:0] bounds_index,
  output logic quiet,
  output logic counts_gemm,
  output logic counts_alu,
  output logic counts_wait_load,
  output logic counts_wait_store
);
  localparam int OFFSET = 28;
  // what all slots of an instruction have in common, and goes down the pipeline with the first of them
  typedef struct packed {
    logic [INDEX-1:0] index;
    logic gemm;
    logic push_load;
    logic push_store;
    logic [2:0] op;
    logic overwrite;
    logic is_unsigned;
    logic depthwise;
    logic use_imm;
    logic [23:0] imm;
  } work_t;
  // what is different in each
  typedef struct packed {
    logic operand;
    logic writes;
    logic clears;
    logic ends;
  } slot_t;

  logic slot, busy, begins, sync_push_load, sync_push_store, pipeline_empty;
  slot_t slot0, slot1, slot2;
  work_t work0, work1;
  /* verilator lint_off UNUSEDSIGNAL */
  work_t work2, work3;  // of which the later stages need less
  slot_t slot3;
  /* verilator lint_on UNUSEDSIGNAL */
  logic [UOP_INDEX:0] uop_index;
  logic [OFFSET-1:0] dst0, src0, wgt0, dst1, src1, wgt1;
  vta_sequencer #(.INDEX(INDEX), .OFFSET(OFFSET)) u_sequencer (
    .clk, .rst, .stop, .pipeline_empty, .head_valid, .head_word, .head_index, .head_pop, .token_load, .token_store, .pop_load,
    .pop_store, .sync_push_load, .sync_push_store, .slot, .slot_gemm(work0.gemm), .slot_operand(slot0.operand),
    .slot_writes(slot0.writes), .slot_begins(begins), .slot_clears(slot0.clears), .slot_ends(slot0.ends), .op(work0.op),
    .overwrite(work0.overwrite), .is_unsigned(work0.is_unsigned), .depthwise(work0.depthwise), .use_imm(work0.use_imm), .imm(work0.imm),
    .push_load(work0.push_load), .push_store(work0.push_store), .index(work0.index), .uop(uop_index), .dst(dst0), .src(src0),
    .wgt(wgt0), .busy, .counts_wait_load, .counts_wait_store
  );
  assign counts_gemm = slot && work0.gemm;
  assign counts_alu = slot && !work0.gemm;
  assign uop_read = slot;
  assign uop_address = UOP_LINE'(uop_index >> $clog2(UOPS_PER_BEAT));

  // stage 1: the micro-op; operands are read
  logic valid1, begins1, outside1;
  logic [UOP_INDEX:0] uop_index1;
  logic [ACC_INDEX-1:0] run_dst;
  /* verilator lint_off UNUSEDSIGNAL */
  uop_t uop;  // its reserved bits are ignored
  /* verilator lint_on UNUSEDSIGNAL */
  wire [UOPS_PER_BEAT-1:0][UOP_BITS-1:0] uops = uop_line;
  generate
    if (UOPS_PER_BEAT == 1) begin : g_one
      assign uop = uops[0];
    end else begin : g_several
      assign uop = uops[uop_index1[$clog2(UOPS_PER_BEAT)-1:0]];
    end
  endgenerate
  wire [OFFSET-1:0] d1 = dst1 + OFFSET'(uop.dst);
  wire [OFFSET-1:0] s1 = src1 + (work1.gemm ? OFFSET'(uop.src) : OFFSET'(uop.src & INP_INDEX'((1 << ACC_INDEX) - 1)));
  wire [OFFSET-1:0] w1 = wgt1 + OFFSET'(uop.wgt);
  wire first1 = work1.overwrite && (work1.depthwise || begins1 || uop.dst != run_dst);
  assign inp_read = valid1 && work1.gemm;
  assign inp_address = s1[INP_INDEX-1:0];
  assign wgt_read = valid1 && work1.gemm && slot1.writes;
  assign wgt_address = w1[WGT_INDEX-1:0];
  always_comb begin
    outside1 = uop_index1[UOP_INDEX];
    if (slot1.writes && 32'(d1) >= ACC_DEPTH) outside1 = 1'b1;
    if (work1.gemm && 32'(s1) >= INP_DEPTH) outside1 = 1'b1;
    if (work1.gemm && slot1.writes && 32'(w1) >= WGT_DEPTH) outside1 = 1'b1;
    if (slot1.operand && 32'(s1) >= ACC_DEPTH) outside1 = 1'b1;
  end
  assign bounds = valid1 && outside1;
  assign bounds_index = work1.index;
  always_ff @(posedge clk) begin
    valid1 <= slot && !rst;
    if (slot) begin
      slot1 <= slot0;
      if (slot0.clears) work1 <= work0;
      begins1 <= begins;
      uop_index1 <= uop_index;
      dst1 <= dst0;
      src1 <= src0;
      wgt1 <= wgt0;
    end
    if (valid1) run_dst <= uop.dst;
  end

  // stage 2: products; the accumulator is read
  logic valid2;
  logic [2:0] op2;
  logic [ACC_INDEX-1:0] at2;
  logic writes3, forwards;
  logic [ACC_INDEX-1:0] at3;
  logic [BO-1:0][31:0] products;
  wire writes2 = valid2 && slot2.writes;
  assign forwards = writes3 && at3 == at2;
  assign acc_read = valid2 && !forwards && (slot2.operand || (slot2.writes && op2 != 3'(ALU_MOV)));
  assign acc_raddress = at2;
  vta_array u_array (
    .clk, .valid(writes2 && work2.gemm), .depthwise(work2.depthwise), .is_unsigned(work2.is_unsigned),
    .shift(valid2 && work2.depthwise), .clear(slot2.clears), .inp, .wgt, .sum(products)
  );
  always_ff @(posedge clk) begin
    valid2 <= valid1 && !rst;
    if (valid1) begin
      slot2 <= slot1;
      if (slot1.clears) work2 <= work1;
      op2 <= first1 ? 3'(ALU_MOV) : work1.op;
      at2 <= slot1.operand ? s1[ACC_INDEX-1:0] : d1[ACC_INDEX-1:0];
    end
  end

  // stage 3: the accumulator joins its operand
  logic valid3, forwarded;
  logic [2:0] op3;
  logic [BO-1:0][31:0] last_result, second, acc, operand;
  assign writes3 = valid3 && slot3.writes;
  always_comb begin
    acc = forwarded ? last_result : acc_rdata;
    operand = products;
    if (valid3 && !work3.gemm) operand = work3.use_imm ? {BO{{8{work3.imm[23]}}, work3.imm}} : second;
  end
  vta_lanes u_lanes (.valid(writes3), .op(op3), .acc, .operand, .result(acc_wdata));
  // what the next slot writes anyway need not be written now
  assign acc_write = writes3 && !(writes2 && at2 == at3);
  assign acc_waddress = at3;
  always_ff @(posedge clk) begin
    valid3 <= valid2 && !rst;
    if (valid2) begin
      slot3 <= slot2;
      if (slot2.clears) work3 <= work2;
      op3 <= op2;
      at3 <= at2;
      forwarded <= forwards;
    end
    if (writes3) last_result <= acc_wdata;
    if (valid3 && slot3.operand) second <= acc;
  end

  wire completes = valid3 && slot3.ends;
  assign push_load = (completes && work3.push_load) || sync_push_load;
  assign push_store = (completes && work3.push_store) || sync_push_store;
  assign pipeline_empty = !valid1 && !valid2 && !valid3;
  assign quiet = !busy && pipeline_empty;
endmodule
