"""Subgraphs for NVIDIA's GPUs: cuDNN and cuBLASLt for what they do best, Heddle's own kernels for everything between.

Nothing is imported here, so that the device runs where there is no compiler.
"""
