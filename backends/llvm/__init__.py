"""The host: Heddle's own compiler for the processor that it runs on. It takes everything."""

from heddle.backends.llvm.host import Host

__all__ = ["Host"]
