"""Subgraphs handed to oneDNN, a library of primitives for the processor.

Nothing is imported here, so that the device runs where there is no compiler.
"""
