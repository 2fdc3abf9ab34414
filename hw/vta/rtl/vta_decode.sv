// Where an instruction goes, and whether its form is legal; what depends on the state of the machine is checked elsewhere.
module vta_decode
  import vta_pkg::*;
(
  input logic [127:0] word,
  output logic illegal,
  output logic to_load,
  output logic to_compute,
  output logic to_store,
  output logic finish
);
  // views of one instruction, each of which uses some of the bits; those reserved never change
  /* verilator lint_off UNUSEDSIGNAL */
  /* verilator coverage_off */
  sync_t sync;
  finish_t last;
  load_t load;
  stride_t stride;
  pad_t pad;
  gemm_t gemm;
  alu_t alu;
  loop_t loop;
  store_t store;
  walk_t walk;
  quant_t quant;
  residual_t residual;
  /* verilator coverage_on */
  /* verilator lint_on UNUSEDSIGNAL */
  assign sync = word;
  assign last = word;
  assign load = word;
  assign stride = word;
  assign pad = word;
  assign gemm = word;
  assign alu = word;
  assign loop = word;
  assign store = word;
  assign walk = word;
  assign quant = word;
  assign residual = word;

  wire prev = sync.pop_prev || sync.push_prev;
  wire next = sync.pop_next || sync.push_next;
  wire no_loop = gemm.n0 == 0 || gemm.n1 == 0 || gemm.n2 == 0 || gemm.count == 0;
  wire no_alu_loop = alu.n0 == 0 || alu.n1 == 0 || alu.n2 == 0 || alu.count == 0;

  always_comb begin
    to_load = 1'b0;
    to_compute = 1'b0;
    to_store = 1'b0;
    finish = 1'b0;
    illegal = 1'b0;
    case (sync.opcode)
      OP_SYNC: begin
        to_load = sync.unit == 2'(UNIT_LOAD);
        to_compute = sync.unit == 2'(UNIT_COMPUTE);
        to_store = sync.unit == 2'(UNIT_STORE);
        illegal = sync.reserved != 0 || sync.unit == 0 || (to_load && prev) || (to_store && next);
      end
      OP_FINISH: begin
        finish = 1'b1;
        illegal = last.reserved != 0 || prev || next;
      end
      OP_LOAD: begin
        to_load = 1'b1;
        illegal = load.reserved != 0 || prev || load.x == 0 || load.y == 0 || load.z == 0;
      end
      OP_STRIDE: begin
        to_load = 1'b1;
        illegal = stride.reserved != 0 || prev || next;
      end
      OP_PAD: begin
        to_load = 1'b1;
        illegal = pad.reserved != 0 || prev || next;
      end
      OP_GEMM: begin
        to_compute = 1'b1;
        illegal = gemm.reserved != 0 || no_loop || (gemm.depthwise != 0 && DEPTHWISE == 0) || (gemm.warm != 0 && gemm.depthwise == 0);
      end
      OP_ALU: begin
        to_compute = 1'b1;
        illegal = alu.reserved != 0 || no_alu_loop || alu.op == 3'd7;
      end
      OP_LOOP: begin
        to_compute = 1'b1;
        illegal = loop.reserved != 0 || prev || next;
      end
      OP_STORE: begin
        to_store = 1'b1;
        illegal = store.reserved != 0 || next || store.x == 0 || store.y == 0 || store.z == 0 || (store.raw != 0 && store.residual != 0);
      end
      OP_WALK: begin
        to_store = 1'b1;
        illegal = walk.reserved != 0 || prev || next;
      end
      OP_QUANT: begin
        to_store = 1'b1;
        illegal = quant.reserved != 0 || prev || next;
      end
      OP_RESIDUAL: begin
        to_store = 1'b1;
        illegal = residual.reserved != 0 || prev || next;
      end
      default: illegal = 1'b1;
    endcase
  end
endmodule
