module accumulate (input logic clk, clear, add, input logic [35:0] value, output logic [35:0] total);
  always_ff @(posedge clk) if (clear) total <= 0; else if (add) total <= total + value;
endmodule
