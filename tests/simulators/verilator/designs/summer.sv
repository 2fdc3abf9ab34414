// Adds up a table behind a simple memory port and writes the sum after it; the adder is an instance below the top.
module summer #(parameter int LAST = 15) (
  input  logic clk, rst, output logic mem_en, mem_we, output logic [7:0] mem_addr, output logic [35:0] mem_wdata,
  input  logic [35:0] mem_rdata, output logic finished
);
  logic [1:0] phase;
  logic [35:0] total;
  accumulate u_sum (.clk, .clear(rst), .add(phase == 1), .value(mem_rdata), .total);
  assign mem_en = phase == 0 || phase == 2;
  assign mem_we = phase == 2;
  assign mem_wdata = total;
  assign finished = phase == 3;
  always_ff @(posedge clk)
    if (rst) begin phase <= 0; mem_addr <= 0; end
    else case (phase)
      0: phase <= 1;
      1: begin mem_addr <= mem_addr + 1; phase <= 32'(mem_addr) == LAST ? 2 : 0; end
      2: phase <= 3;
      default: begin
        assert (total != 36'd13) else $error("thirteen is unlucky");
      end
    endcase
endmodule
