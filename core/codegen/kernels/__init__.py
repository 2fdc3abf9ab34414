"""Templates of hand-designed kernels: pure functions from a problem and a schedule to LLVM functions."""
