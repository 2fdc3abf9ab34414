"""Heddle's own compiler: from a graph to machine code that needs nothing but itself."""

from heddle.core.codegen.lower import refusal
from heddle.core.codegen.region import compile_region

__all__ = ["compile_region", "refusal"]
