// The operation that joins an operand with an accumulator, in all lanes: that of GEMM and of ALU.
module vta_lanes
  import vta_pkg::*;
(
  input logic valid,
  input logic [2:0] op,
  input logic [BO-1:0][31:0] acc,
  input logic [BO-1:0][31:0] operand,
  output logic [BO-1:0][31:0] result
);
  always_comb begin
    result = operand;
    if (valid)
      case (op)
        3'(ALU_ADD): for (int o = 0; o < BO; o++) result[o] = acc[o] + operand[o];
        3'(ALU_MAX): for (int o = 0; o < BO; o++) result[o] = $signed(acc[o]) > $signed(operand[o]) ? acc[o] : operand[o];
        3'(ALU_MIN): for (int o = 0; o < BO; o++) result[o] = $signed(acc[o]) < $signed(operand[o]) ? acc[o] : operand[o];
        3'(ALU_MUL): for (int o = 0; o < BO; o++) result[o] = acc[o] * operand[o];
        3'(ALU_SHR): for (int o = 0; o < BO; o++) result[o] = 32'($signed(acc[o]) >>> operand[o][4:0]);
        3'(ALU_SHL): for (int o = 0; o < BO; o++) result[o] = acc[o] << operand[o][4:0];
        default: result = operand;
      endcase
  end
endmodule
