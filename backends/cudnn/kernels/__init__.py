"""Kernels of many threads, made from tensor expressions: their form, how work is spread, code for two targets."""
