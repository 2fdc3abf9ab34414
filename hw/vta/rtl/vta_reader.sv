// Shares the read channels of memory between FETCH, the residual and LOAD, in this order of priority; the identifier of a
// transfer says whose it is. A request that was shown to memory stays until it is taken; data is registered as it comes.
module vta_reader
  import vta_pkg::*;
(
  input logic clk,
  input logic request_clk,  // needed for requests only
  input logic rst,
  input logic [2:0] req_valid,
  output logic [2:0] req_ready,
  input logic [2:0][31:0] req_address,
  input logic [2:0][7:0] req_beats,
  input logic load_ready,
  output logic [2:0] data_valid,
  output logic [BUS-1:0] data,
  output logic taken,  // a beat reaches its unit
  output logic error,
  output logic [1:0] owner,
  // AXI4 read channels
  output logic arvalid,
  input logic arready,
  output logic [1:0] arid,
  output logic [31:0] araddr,
  output logic [7:0] arlen,
  input logic rvalid,
  output logic rready,
  input logic [1:0] rid,
  input logic [BUS-1:0] rdata,
  input logic [1:0] rresp
);
  wire free = !arvalid || arready;
  assign req_ready[0] = free;
  assign req_ready[1] = free && !req_valid[0];
  assign req_ready[2] = free && !req_valid[0] && !req_valid[1];
  wire [1:0] chosen = req_valid[0] ? 2'd0 : req_valid[1] ? 2'd1 : 2'd2;
  wire wanted = req_valid != 0;
  always_ff @(posedge request_clk)
    if (rst) arvalid <= 1'b0;
    else if (free) begin
      arvalid <= wanted;
      if (wanted) begin
        arid <= chosen;
        araddr <= req_valid[0] ? req_address[0] : req_valid[1] ? req_address[1] : req_address[2];
        arlen <= (req_valid[0] ? req_beats[0] : req_valid[1] ? req_beats[1] : req_beats[2]) - 1'b1;
      end
    end

  logic valid;
  logic [1:0] response;
  wire data_clk;
  vta_gate u_data_gate (.clk, .gated(data_clk), .enable(rst || rvalid || valid));
  assign taken = valid && (owner != 2'd2 || load_ready);
  assign rready = !valid || taken;
  always_ff @(posedge data_clk)
    if (rst) valid <= 1'b0;
    else if (rready) begin
      valid <= rvalid;
      if (rvalid) begin
        data <= rdata;
        owner <= rid;
        response <= rresp;
      end
    end
  assign data_valid[0] = valid && owner == 2'd0;
  assign data_valid[1] = valid && owner == 2'd1;
  assign data_valid[2] = valid && owner == 2'd2;
  assign error = taken && response != 0;
endmodule
