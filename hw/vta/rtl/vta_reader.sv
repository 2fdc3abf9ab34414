// Shares the read channels of memory between FETCH, the residual and LOAD, in this order of priority; the identifier of a
// transfer says whose it is. A request that was shown to memory stays until it is taken.
module vta_reader
  import vta_pkg::*;
(
  input logic clk,
  input logic rst,
  input logic [2:0] req_valid,
  output logic [2:0] req_ready,
  input logic [2:0][31:0] req_address,
  input logic [2:0][7:0] req_beats,
  input logic load_ready,
  output logic [2:0] data_valid,
  output logic idle,
  output logic error,
  // AXI4 read channels
  output logic arvalid,
  input logic arready,
  output logic [1:0] arid,
  output logic [31:0] araddr,
  output logic [7:0] arlen,
  input logic rvalid,
  output logic rready,
  input logic [1:0] rid,
  input logic [1:0] rresp
);
  wire free = !arvalid || arready;
  assign req_ready[0] = free;
  assign req_ready[1] = free && !req_valid[0];
  assign req_ready[2] = free && !req_valid[0] && !req_valid[1];
  wire [1:0] chosen = req_valid[0] ? 2'd0 : req_valid[1] ? 2'd1 : 2'd2;
  always_ff @(posedge clk)
    if (rst) arvalid <= 1'b0;
    else if (free) begin
      arvalid <= req_valid != 0;
      arid <= chosen;
      araddr <= req_address[chosen];
      arlen <= req_beats[chosen] - 1'b1;
    end
  assign rready = rid != 2'd2 || load_ready;
  assign data_valid[0] = rvalid && rid == 2'd0;
  assign data_valid[1] = rvalid && rid == 2'd1;
  assign data_valid[2] = rvalid && rid == 2'd2;
  assign error = rvalid && rready && rresp != 0;
  assign idle = !arvalid;
endmodule
