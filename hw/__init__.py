"""Hardware as data and SystemVerilog: what a simulator, an assembler and a compiler read alike."""
