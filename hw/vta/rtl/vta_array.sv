// The array: BO dot products of BI activations with BI weights each, registered. In depthwise mode each lane convolves its own
// channel with the vectors read last.
module vta_array
  import vta_pkg::*;
(
  input logic clk,
  input logic valid,        // a product is wanted
  input logic depthwise,
  input logic is_unsigned,
  input logic shift,        // a vector joins the history
  input logic clear,        // the history starts with this vector
  input logic [BI-1:0][7:0] inp,
  input logic [BO-1:0][BI-1:0][7:0] wgt,
  output logic [BO-1:0][31:0] sum
);
  generate
    if (DEPTHWISE != 0) begin : g_depthwise
      logic [BI-2:0][BI-1:0][8:0] history;  // of the vectors before this one, sign-extended
      logic [BI-1:0][BI-1:0][8:0] window;
      always_comb begin
        for (int t = 0; t < BI; t++) window[t] = '0;
        if (valid && depthwise) begin
          for (int i = 0; i < BI; i++) window[0][i] = {inp[i][7] && !is_unsigned, inp[i]};
          for (int t = 1; t < BI; t++) if (!clear) window[t] = history[t-1];
        end
      end
      always_ff @(posedge clk) begin
        if (shift) begin
          for (int t = 1; t < BI - 1; t++) history[t] <= clear ? '0 : history[t-1];
          for (int i = 0; i < BI; i++) history[0][i] <= {inp[i][7] && !is_unsigned, inp[i]};
        end
        if (valid) begin
          if (depthwise) sum <= lanes(window, wgt);
          else sum <= products(inp, wgt, is_unsigned);
        end
      end
    end else begin : g_dense
      always_ff @(posedge clk) if (valid) sum <= products(inp, wgt, is_unsigned);
      wire unused = &{1'b0, depthwise, shift, clear};
    end
  endgenerate

  function automatic logic [BO-1:0][31:0] products(
    input logic [BI-1:0][7:0] a, input logic [BO-1:0][BI-1:0][7:0] w, input logic u
  );
    logic [BI-1:0][15:0] x;
    for (int i = 0; i < BI; i++) x[i] = {{8{a[i][7] && !u}}, a[i]};
    for (int o = 0; o < BO; o++) begin
      products[o] = '0;
      for (int i = 0; i < BI; i++) products[o] = products[o] + 32'($signed(x[i])) * 32'($signed(w[o][i]));
    end
  endfunction

  function automatic logic [BO-1:0][31:0] lanes(
    input logic [BI-1:0][BI-1:0][8:0] x, input logic [BO-1:0][BI-1:0][7:0] w
  );
    for (int o = 0; o < BO; o++) begin
      lanes[o] = '0;
      for (int t = 0; t < BI; t++) lanes[o] = lanes[o] + 32'($signed(x[t][o])) * 32'($signed(w[o][t]));
    end
  endfunction
endmodule
