"""The accelerator's compiler: quantized parts of graphs to instruction streams."""
