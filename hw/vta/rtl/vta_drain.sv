// The drain: BO accumulators per cycle become bytes. Stage 1 adds the bias, stage 2 multiplies, stage 3 rounds and clips, stage 4
// weighs the residual, stage 5 rounds and clips again. Without a residual, stages 4 and 5 pass the bytes on. A raw vector leaves
// in four pieces, one per cycle, and must be followed by three cycles without another.
module vta_drain
  import vta_pkg::*;
(
  input logic clk,
  input logic rst,
  input logic valid,     // an accumulator vector was read in the cycle before
  input logic raw,
  input logic add,       // with residual
  input logic [BO-1:0][7:0] residual,
  /* verilator lint_off UNUSEDSIGNAL */
  input quant_t quant,  // an instruction, of which the header is not needed
  input logic [BO*72-1:0] prm,  // of which multipliers and shifts have bits that do not count
  /* verilator lint_on UNUSEDSIGNAL */
  input logic [BO-1:0][31:0] acc,
  output logic out_valid,
  output logic [BO-1:0][7:0] out,
  output logic busy
);
  // lanes are as wide as machine words where they could be narrower: that makes simulation twice as fast
  logic valid1, valid2, valid3, valid4, valid5;
  logic raw1, raw2, raw3, raw4, raw5, add1, add2, add3, add4;
  logic [BO-1:0][7:0] residual1, residual2, residual3;
  logic [BO-1:0][63:0] total1, scaled2, sum4;
  logic [BO-1:0][31:0] multiplier1, value3, value5;
  logic [BO-1:0][7:0] shift1, shift2;

  function automatic logic [63:0] rounded(input logic [63:0] value, input logic [5:0] shift);
    logic [63:0] floor, rest, half;
    floor = 64'($signed(value) >>> shift);
    rest = value - (floor << shift);
    half = (64'd1 << shift) >> 1;
    rounded = floor + 64'(shift != 0 && (rest > half || (rest == half && floor[0])));
  endfunction

  function automatic logic [31:0] clipped(input logic [63:0] value, input logic [8:0] low, input logic [8:0] high);
    logic [63:0] least, most, raised;
    least = {{55{low[8]}}, low};
    most = {{55{high[8]}}, high};
    raised = $signed(value) < $signed(least) ? least : value;
    clipped = $signed(raised) > $signed(most) ? most[31:0] : raised[31:0];
  endfunction

  always_ff @(posedge clk) begin
    valid1 <= valid && !rst;
    valid2 <= valid1 && !rst;
    valid3 <= valid2 && !rst;
    valid4 <= valid3 && !rst;
    valid5 <= valid4 && !rst;
    if (valid) begin
      {raw1, add1} <= {raw, add};
      residual1 <= residual;
      for (int o = 0; o < BO; o++) begin
        total1[o] <= {{32{acc[o][31]}}, acc[o]} + {{32{prm[32*o+31]}}, prm[32*o+:32]};
        multiplier1[o] <= {1'b0, prm[32*(BO+o)+:31]};
        shift1[o] <= {2'b0, prm[64*BO+8*o+:6]};
      end
    end
    if (valid1) begin
      {raw2, add2} <= {raw1, add1};
      residual2 <= residual1;
      shift2 <= shift1;
      for (int o = 0; o < BO; o++) scaled2[o] <= raw1 ? total1[o] : total1[o] * 64'(multiplier1[o]);
    end
    if (valid2) begin
      {raw3, add3} <= {raw2, add2};
      residual3 <= residual2;
      for (int o = 0; o < BO; o++)
        value3[o] <= raw2 ? scaled2[o][31:0]
            : clipped(rounded(scaled2[o], shift2[o][5:0]) + {{55{quant.z1[8]}}, quant.z1}, quant.lo1, quant.hi1);
    end
    if (valid3) begin
      {raw4, add4} <= {raw3, add3};
      for (int o = 0; o < BO; o++)
        if (add3)
          sum4[o] <= 64'($signed(value3[o]) - 32'($signed(quant.z1))) * 64'(quant.ma)
              + 64'($signed({residual3[o][7] && !quant.unsigned_, residual3[o]}) - 10'($signed(quant.zr))) * 64'(quant.mr);
        else sum4[o] <= {{32{value3[o][31]}}, value3[o]};
    end
    if (valid4) begin
      raw5 <= raw4;
      for (int o = 0; o < BO; o++)
        if (add4) value5[o] <= clipped(rounded(sum4[o], quant.shift) + {{55{quant.z2[8]}}, quant.z2}, quant.lo2, quant.hi2);
        else value5[o] <= sum4[o][31:0];
    end
  end

  logic [1:0] piece;  // of a raw vector, those that are left
  assign out_valid = valid5 || piece != 0;
  always_comb begin
    out = '0;
    if (out_valid) begin
      if (raw5) out = value5[(BO/4)*32'(2'(3'd4 - 3'(piece)))+:BO/4];
      else for (int o = 0; o < BO; o++) out[o] = value5[o][7:0];
    end
  end
  always_ff @(posedge clk)
    if (rst) piece <= '0;
    else if (valid5 && raw5) piece <= 2'd3;
    else if (piece != 0) piece <= piece - 1'b1;
  assign busy = valid1 || valid2 || valid3 || valid4 || out_valid;
endmodule
