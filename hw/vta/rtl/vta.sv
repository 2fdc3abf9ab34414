// The accelerator: FETCH, LOAD, COMPUTE and STORE with their queues, tokens and memories, an AXI4 master and an AXI-Lite slave.
module vta
  import vta_pkg::*;
(
  input logic clk,
  input logic rst,
  output logic irq,
  output logic heartbeat,  // changes whenever a unit gets on, for those who watch for deadlocks
  // control
  input logic s_axil_awvalid,
  output logic s_axil_awready,
  input logic [11:0] s_axil_awaddr,
  input logic s_axil_wvalid,
  output logic s_axil_wready,
  input logic [31:0] s_axil_wdata,
  input logic [3:0] s_axil_wstrb,
  output logic s_axil_bvalid,
  input logic s_axil_bready,
  output logic [1:0] s_axil_bresp,
  input logic s_axil_arvalid,
  output logic s_axil_arready,
  input logic [11:0] s_axil_araddr,
  output logic s_axil_rvalid,
  input logic s_axil_rready,
  output logic [31:0] s_axil_rdata,
  output logic [1:0] s_axil_rresp,
  // memory
  output logic m_axi_arvalid,
  input logic m_axi_arready,
  output logic [1:0] m_axi_arid,
  output logic [31:0] m_axi_araddr,
  output logic [7:0] m_axi_arlen,
  output logic [2:0] m_axi_arsize,
  output logic [1:0] m_axi_arburst,
  input logic m_axi_rvalid,
  output logic m_axi_rready,
  input logic [1:0] m_axi_rid,
  input logic [BUS-1:0] m_axi_rdata,
  input logic [1:0] m_axi_rresp,
  input logic m_axi_rlast,
  output logic m_axi_awvalid,
  input logic m_axi_awready,
  output logic [1:0] m_axi_awid,
  output logic [31:0] m_axi_awaddr,
  output logic [7:0] m_axi_awlen,
  output logic [2:0] m_axi_awsize,
  output logic [1:0] m_axi_awburst,
  output logic m_axi_wvalid,
  input logic m_axi_wready,
  output logic [BUS-1:0] m_axi_wdata,
  output logic [BUS/8-1:0] m_axi_wstrb,
  output logic m_axi_wlast,
  input logic m_axi_bvalid,
  output logic m_axi_bready,
  input logic [1:0] m_axi_bid,
  input logic [1:0] m_axi_bresp
);
  localparam int INDEX = 24;
  assign m_axi_arsize = 3'(BEAT_SHIFT);
  assign m_axi_arburst = 2'b01;
  assign m_axi_awid = 2'd0;
  assign m_axi_awsize = 3'(BEAT_SHIFT);
  assign m_axi_awburst = 2'b01;
  assign m_axi_wstrb = '1;
  assign m_axi_bready = 1'b1;
  assign s_axil_bresp = 2'b00;
  assign s_axil_rresp = 2'b00;
  wire unused = &{1'b0, m_axi_rlast, m_axi_bid};

  // ---------------------------------------------------------------- control
  logic start, started, stop, done, finished;
  logic [31:0] code, length;
  logic [15:0][31:0] base;
  logic trouble;
  logic [7:0] error;
  logic [INDEX-1:0] error_index;
  logic [31:0] tokens;
  logic [31:0] head_load, head_compute, head_store;
  logic counts_dispatch, counts_full, counts_fetch_memory;
  logic read_taken;
  logic [1:0] read_owner;
  logic [1:0] counting_fetch, counting_load;
  logic [2:0] counting_compute, counting_store;
  vta_control #(.INDEX(INDEX)) u_control (
    .clk, .rst, .awvalid(s_axil_awvalid), .awready(s_axil_awready), .awaddr(s_axil_awaddr), .wvalid(s_axil_wvalid),
    .wready(s_axil_wready), .wdata(s_axil_wdata), .wstrb(s_axil_wstrb), .bvalid(s_axil_bvalid), .bready(s_axil_bready),
    .arvalid(s_axil_arvalid), .arready(s_axil_arready), .araddr(s_axil_araddr), .rvalid(s_axil_rvalid), .rready(s_axil_rready),
    .rdata(s_axil_rdata), .start, .code, .length, .base, .finished, .trouble, .error, .error_index, .stop, .done, .tokens, .head_load, .head_compute, .head_store, .counting_fetch,
    .counting_load, .counting_compute, .counting_store, .read_beat(read_taken),
    .write_beat(m_axi_wvalid && m_axi_wready), .dispatched(counts_dispatch)
  );
  assign irq = done;
  wire clear = rst || start;
  always_ff @(posedge clk) started <= start && !rst;

  // ---------------------------------------------------------------- memory, reading
  logic [2:0] req_valid, req_ready, data_valid;
  logic [2:0][31:0] req_address;
  logic [2:0][7:0] req_beats;
  logic load_ready, read_error;
  logic [BUS-1:0] read_data;
  wire request_clk;
  vta_gate u_request_gate (
    .clk, .gated(request_clk), .enable(clear || started || counts_dispatch || data_valid[0] || m_axi_arvalid || req_valid != 0)
  );
  vta_reader u_reader (
    .clk, .request_clk, .rst, .req_valid, .req_ready, .req_address, .req_beats, .load_ready, .data_valid, .data(read_data),
    .taken(read_taken), .error(read_error), .owner(read_owner),
    .arvalid(m_axi_arvalid), .arready(m_axi_arready), .arid(m_axi_arid), .araddr(m_axi_araddr), .arlen(m_axi_arlen),
    .rvalid(m_axi_rvalid), .rready(m_axi_rready), .rid(m_axi_rid), .rdata(m_axi_rdata), .rresp(m_axi_rresp)
  );

  // ---------------------------------------------------------------- FETCH and the queues
  logic [127:0] word;
  logic [INDEX-1:0] index;
  logic push_load, push_compute, push_store, full_load, full_compute, full_store, illegal, fetched, fetch_quiet;
  vta_fetch #(.INDEX(INDEX)) u_fetch (
    .clk(request_clk), .rst(clear), .start(started), .stop, .code, .length, .req_valid(req_valid[0]), .req_ready(req_ready[0]),
    .req_address(req_address[0]), .req_beats(req_beats[0]), .data_valid(data_valid[0]), .data(read_data), .word, .index, .push_load,
    .push_compute, .push_store, .full_load, .full_compute, .full_store, .illegal, .finished(fetched), .quiet(fetch_quiet),
    .counts_dispatch, .counts_full, .counts_memory(counts_fetch_memory)
  );
  logic load_valid, compute_valid, store_valid, load_pop, compute_pop, store_pop;
  logic l2c_push, l2c_pop, l2c, c2l_push, c2l_pop, c2l, c2s_push, c2s_pop, c2s, s2c_push, s2c_pop, s2c;
  // nothing goes between units but instructions and tokens
  wire links_clk;
  vta_gate u_links_gate (
    .clk, .gated(links_clk), .enable(clear || counts_dispatch || load_pop || compute_pop || store_pop || l2c_push || c2l_push || c2s_push || s2c_push)
  );
  logic [127:0] load_word, compute_word, store_word;
  logic [INDEX-1:0] load_index, compute_index, store_index;
  vta_queue #(.INDEX(INDEX), .DEPTH(QUEUE_DEPTH)) u_load_queue (
    .clk(links_clk), .rst(clear), .push(push_load), .in_word(word), .in_index(index), .pop(load_pop), .valid(load_valid), .full(full_load),
    .word(load_word), .index(load_index)
  );
  vta_queue #(.INDEX(INDEX), .DEPTH(QUEUE_DEPTH)) u_compute_queue (
    .clk(links_clk), .rst(clear), .push(push_compute), .in_word(word), .in_index(index), .pop(compute_pop), .valid(compute_valid), .full(full_compute),
    .word(compute_word), .index(compute_index)
  );
  vta_queue #(.INDEX(INDEX), .DEPTH(QUEUE_DEPTH)) u_store_queue (
    .clk(links_clk), .rst(clear), .push(push_store), .in_word(word), .in_index(index), .pop(store_pop), .valid(store_valid), .full(full_store),
    .word(store_word), .index(store_index)
  );
  assign head_load = {load_valid, 7'd0, load_index};
  assign head_compute = {compute_valid, 7'd0, compute_index};
  assign head_store = {store_valid, 7'd0, store_index};

  // ---------------------------------------------------------------- tokens
  logic l2c_overflow, c2l_overflow, c2s_overflow, s2c_overflow;
  vta_token u_l2c (.clk(links_clk), .rst(clear), .push(l2c_push), .pop(l2c_pop), .available(l2c), .overflow(l2c_overflow), .count(tokens[7:0]));
  vta_token u_c2l (.clk(links_clk), .rst(clear), .push(c2l_push), .pop(c2l_pop), .available(c2l), .overflow(c2l_overflow), .count(tokens[15:8]));
  vta_token u_c2s (.clk(links_clk), .rst(clear), .push(c2s_push), .pop(c2s_pop), .available(c2s), .overflow(c2s_overflow), .count(tokens[23:16]));
  vta_token u_s2c (.clk(links_clk), .rst(clear), .push(s2c_push), .pop(s2c_pop), .available(s2c), .overflow(s2c_overflow), .count(tokens[31:24]));

  // ---------------------------------------------------------------- LOAD
  logic write_inp, write_wgt, write_uop, write_prm, load_bounds, load_quiet;
  /* verilator lint_off UNUSEDSIGNAL */
  logic [CHUNK_INDEX-1:0] chunk;
  logic [ANY_INDEX-1:0] element;  // both are as wide as the largest memory needs
  /* verilator lint_on UNUSEDSIGNAL */
  logic [BUS-1:0] write_data;
  logic [INDEX-1:0] load_bounds_index;
  logic counts_load_data, counts_load_memory, counts_load_wait;
  wire load_clk;
  vta_gate u_load_gate (.clk, .enable(clear || load_pop || !load_quiet), .gated(load_clk));
  vta_load #(.INDEX(INDEX)) u_load (
    .clk(load_clk), .rst(clear), .stop, .base, .head_valid(load_valid), .head_word(load_word), .head_index(load_index), .head_pop(load_pop),
    .token(c2l), .token_pop(c2l_pop), .token_push(l2c_push), .req_valid(req_valid[2]), .req_ready(req_ready[2]),
    .req_address(req_address[2]), .req_beats(req_beats[2]), .data_valid(data_valid[2]), .data_ready(load_ready), .data(read_data),
    .write_inp, .write_wgt, .write_uop, .write_prm, .chunk, .element, .write_data, .bounds(load_bounds),
    .bounds_index(load_bounds_index), .quiet(load_quiet), .counts_data(counts_load_data), .counts_memory(counts_load_memory),
    .counts_wait(counts_load_wait)
  );

  // ---------------------------------------------------------------- memories on chip
  logic store_quiet;
  wire store_clk;
  vta_gate u_store_gate (.clk, .enable(clear || store_pop || !store_quiet), .gated(store_clk));
  logic uop_read, inp_read, wgt_read, acc_read, acc_write, drain_read;
  logic [UOP_LINE-1:0] uop_address;
  logic [INP_INDEX-1:0] inp_address;
  logic [WGT_INDEX-1:0] wgt_address;
  logic [ACC_INDEX-1:0] acc_raddress, acc_waddress, drain_address;
  logic [PRM_INDEX-1:0] prm_address;
  logic [BUS-1:0] uop_line;
  logic [BI-1:0][7:0] inp;
  logic [BO-1:0][BI-1:0][7:0] wgt;
  logic [BO*72-1:0] prm;
  logic [BO-1:0][31:0] acc_rdata, acc_wdata;
  vta_sram #(.W(BUS), .CHUNKS(1), .DEPTH(UOP_DEPTH / UOPS_PER_BEAT)) u_uop (
    .write_clk(load_clk), .write(write_uop), .chunk(1'b0), .waddr(element[UOP_LINE-1:0]), .wdata(write_data), .read_clk(clk), .read(uop_read), .raddr(uop_address),
    .rdata(uop_line)
  );
  vta_sram #(.W(BUS), .CHUNKS(INP_CHUNKS), .DEPTH(INP_DEPTH)) u_inp (
    .write_clk(load_clk), .write(write_inp), .chunk(chunk[INP_CHUNK-1:0]), .waddr(element[INP_INDEX-1:0]), .wdata(write_data), .read_clk(clk), .read(inp_read),
    .raddr(inp_address), .rdata(inp)
  );
  vta_sram #(.W(BUS), .CHUNKS(WGT_CHUNKS), .DEPTH(WGT_DEPTH)) u_wgt (
    .write_clk(load_clk), .write(write_wgt), .chunk(chunk[WGT_CHUNK-1:0]), .waddr(element[WGT_INDEX-1:0]), .wdata(write_data), .read_clk(clk), .read(wgt_read),
    .raddr(wgt_address), .rdata(wgt)
  );
  vta_sram #(.W(BUS), .CHUNKS(PRM_CHUNKS), .DEPTH(PRM_DEPTH)) u_prm (
    .write_clk(load_clk), .write(write_prm), .chunk(chunk[PRM_CHUNK-1:0]), .waddr(element[PRM_INDEX-1:0]), .wdata(write_data), .read_clk(store_clk), .read(drain_read),
    .raddr(prm_address), .rdata(prm)
  );
  vta_sram #(.W(BO * 32), .CHUNKS(1), .DEPTH(ACC_DEPTH)) u_acc (
    .write_clk(clk), .write(acc_write), .chunk(1'b0), .waddr(acc_waddress), .wdata(acc_wdata), .read_clk(clk), .read(acc_read || drain_read),
    .raddr(acc_read ? acc_raddress : drain_address), .rdata(acc_rdata)
  );

  // ---------------------------------------------------------------- COMPUTE
  logic compute_bounds, compute_quiet, counts_gemm, counts_alu, counts_wait_load, counts_wait_store;
  logic [INDEX-1:0] compute_bounds_index;
  vta_compute #(.INDEX(INDEX)) u_compute (
    .clk, .rst(clear), .stop, .head_valid(compute_valid), .head_word(compute_word), .head_index(compute_index),
    .head_pop(compute_pop), .token_load(l2c), .token_store(s2c), .pop_load(l2c_pop), .pop_store(s2c_pop), .push_load(c2l_push),
    .push_store(c2s_push), .uop_read, .uop_address, .uop_line, .inp_read, .inp_address, .inp, .wgt_read, .wgt_address, .wgt,
    .acc_read, .acc_raddress, .acc_rdata, .acc_write, .acc_waddress, .acc_wdata, .bounds(compute_bounds),
    .bounds_index(compute_bounds_index), .quiet(compute_quiet), .counts_gemm, .counts_alu, .counts_wait_load, .counts_wait_store
  );

  // ---------------------------------------------------------------- STORE
  logic store_bounds, write_error, counts_drain, counts_wait_compute, counts_wait_port, counts_wait_residual;
  logic counts_back_pressure, counts_wait_memory;
  logic [INDEX-1:0] storing;
  vta_store #(.INDEX(INDEX)) u_store (
    .clk(store_clk), .rst(clear), .stop, .ending(fetched), .base, .head_valid(store_valid), .head_word(store_word), .head_index(store_index),
    .head_pop(store_pop), .token(c2s), .token_pop(c2s_pop), .token_push(s2c_push), .acc_taken(acc_read), .acc_read(drain_read),
    .acc_address(drain_address), .acc(acc_rdata), .prm_address, .prm, .req_valid(req_valid[1]), .req_ready(req_ready[1]),
    .req_address(req_address[1]), .req_beats(req_beats[1]), .data_valid(data_valid[1]), .data(read_data), .awvalid(m_axi_awvalid),
    .awready(m_axi_awready), .awaddr(m_axi_awaddr), .awlen(m_axi_awlen), .wvalid(m_axi_wvalid), .wready(m_axi_wready),
    .wdata(m_axi_wdata), .wlast(m_axi_wlast), .bvalid(m_axi_bvalid), .bresp(m_axi_bresp), .bounds(store_bounds), .write_error,
    .index(storing), .quiet(store_quiet), .counts_drain, .counts_wait_compute, .counts_wait_port, .counts_wait_residual,
    .counts_back_pressure, .counts_wait_memory
  );

  wire moves = counts_dispatch || counts_load_data || counts_gemm || counts_alu || counts_drain;
  always_ff @(posedge clk)
    if (clear) heartbeat <= 1'b0;
    else if (moves) heartbeat <= !heartbeat;

  // ---------------------------------------------------------------- end, errors, counters
  wire quiet = fetch_quiet && load_quiet && compute_quiet && store_quiet;
  wire emptied = fetched && !load_valid && !compute_valid && !store_valid;
  assign trouble = illegal || load_bounds || compute_bounds || store_bounds || read_error || write_error
      || l2c_overflow || c2l_overflow || c2s_overflow || s2c_overflow;
  assign finished = !started && quiet && (emptied || stop);
  always_comb begin
    error = '0;
    error_index = '0;
    if (trouble) begin
      error[ERROR_ILLEGAL] = illegal;
      error[ERROR_BOUNDS] = load_bounds || compute_bounds || store_bounds;
      error[ERROR_TOKEN] = l2c_overflow || c2l_overflow || c2s_overflow || s2c_overflow;
      error[ERROR_READ] = read_error;
      error[ERROR_WRITE] = write_error;
      if (load_bounds) error_index = load_bounds_index;
      else if (compute_bounds) error_index = compute_bounds_index;
      else if (store_bounds || write_error) error_index = storing;
      else if (read_error) error_index = read_owner == 2'd2 ? load_bounds_index : read_owner == 2'd1 ? storing : index;
      else if (illegal) error_index = index;
      else error_index = l2c_overflow ? load_index : s2c_overflow ? store_index : compute_index;
    end
  end
  // what each unit does, as the place of its counter among those of the unit
  assign counting_fetch = counts_dispatch ? 2'd0 : counts_full ? 2'd1 : counts_fetch_memory ? 2'd2 : 2'd3;
  assign counting_load = counts_load_data ? 2'd0 : counts_load_memory ? 2'd1 : counts_load_wait ? 2'd2 : 2'd3;
  assign counting_compute = counts_gemm ? 3'd0 : counts_alu ? 3'd1 : counts_wait_load ? 3'd2 : counts_wait_store ? 3'd3 : 3'd4;
  assign counting_store = counts_drain ? 3'd0 : counts_wait_compute ? 3'd1 : counts_wait_port ? 3'd2 : counts_wait_residual ? 3'd3
      : counts_back_pressure ? 3'd4 : counts_wait_memory ? 3'd5 : 3'd6;
`ifndef SYNTHESIS
  units_exclusive: assert property (@(posedge clk) disable iff (rst || start)
    $onehot0({counts_drain, counts_wait_compute, counts_wait_port, counts_wait_residual, counts_back_pressure, counts_wait_memory})
    && $onehot0({counts_load_data, counts_load_memory, counts_load_wait})
    && $onehot0({counts_gemm, counts_alu, counts_wait_load, counts_wait_store})
    && $onehot0({counts_dispatch, counts_full, counts_fetch_memory}));
  nothing_under_way: assert property (@(posedge clk) disable iff (rst) finished |-> !m_axi_arvalid && data_valid == 0);
  address_held: assert property (@(posedge clk) disable iff (rst) m_axi_arvalid && !m_axi_arready |=> m_axi_arvalid && $stable(m_axi_araddr));
`endif
endmodule
