// A serial port: 8 data bits, no parity, one stop bit, DIV cycles per bit; bytes come and go over plain strobes.
module uart #(parameter int DIV = 8) (
  input  logic clk, rst,
  input  logic [7:0] tx_byte, input logic tx_start, output logic tx_busy, output logic txd,
  input  logic rxd, output logic [7:0] rx_byte, output logic rx_strobe, rx_bad
);
  logic [9:0] shift;
  logic [$clog2(DIV)-1:0] tick;
  logic [3:0] bits;
  assign tx_busy = bits != 0;
  assign txd = tx_busy ? shift[0] : 1'b1;
  always_ff @(posedge clk)
    if (rst) begin bits <= 0; tick <= 0; shift <= '1; end
    else if (!tx_busy) begin
      if (tx_start) begin shift <= {1'b1, tx_byte, 1'b0}; bits <= 10; tick <= 0; end
    end else if (32'(tick) == DIV - 1) begin tick <= 0; shift <= {1'b1, shift[9:1]}; bits <= bits - 1; end
    else tick <= tick + 1;

  logic [$clog2(DIV)-1:0] wait_;
  logic [3:0] got;
  logic [8:0] in;
  logic active;
  always_ff @(posedge clk) begin
    rx_strobe <= 0;
    if (rst) begin active <= 0; rx_bad <= 0; rx_byte <= 0; got <= 0; wait_ <= 0; in <= 0; end
    else if (!active) begin
      if (!rxd) begin active <= 1; got <= 0; wait_ <= ($clog2(DIV))'(DIV / 2); end
    end else if (32'(wait_) == DIV - 1) begin
      wait_ <= 0; got <= got + 1; in <= {rxd, in[8:1]};
      if (got == 9) begin active <= 0; rx_bad <= !rxd; rx_byte <= in[8:1]; rx_strobe <= rxd; end
    end else wait_ <= wait_ + 1;
  end
endmodule
