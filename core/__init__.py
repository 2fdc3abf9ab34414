"""What every compiler needs and no device knows: graphs, operators, patterns, passes, code generation, runtime."""
