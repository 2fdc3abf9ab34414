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
  // activations with their sign; they are as wide as machine words because that is fastest to simulate
  logic [BI-1:0][31:0] x;
  wire [31:0] sign = is_unsigned ? 32'h00 : 32'h80;
  always_comb begin
    x = '0;
    if (valid) for (int i = 0; i < BI; i++) x[i] = (32'(inp[i]) ^ sign) - sign;
  end

  logic [BO-1:0][31:0] products;
  generate
    if (DEPTHWISE != 0) begin : g_depthwise
      logic [BI-1:0][BI-1:0][7:0] history;  // of the vectors before this one, the newest first
      always_comb begin
        products = sum;
        if (valid && depthwise) begin
          for (int o = 0; o < BO; o++) begin
            products[o] = x[o] * 32'($signed(wgt[o][0]));
            if (!clear)
              for (int t = 1; t < BI; t++)
                products[o] = products[o] + ((32'(history[t-1][o]) ^ sign) - sign) * 32'($signed(wgt[o][t]));
          end
        end else if (valid) begin
          for (int o = 0; o < BO; o++) begin
            products[o] = '0;
            for (int i = 0; i < BI; i++) products[o] = products[o] + x[i] * 32'($signed(wgt[o][i]));
          end
        end
      end
      always_ff @(posedge clk)
        if (shift) begin
          if (clear) history <= (BI * BI * 8)'(inp);
          else history <= {history[BI-2:0], inp};
        end
    end else begin : g_dense
      always_comb begin
        products = sum;
        if (valid)
          for (int o = 0; o < BO; o++) begin
            products[o] = '0;
            for (int i = 0; i < BI; i++) products[o] = products[o] + x[i] * 32'($signed(wgt[o][i]));
          end
      end
      wire unused = &{1'b0, depthwise, clear};
    end
  endgenerate
  always_ff @(posedge clk) if (valid) sum <= products;
endmodule
