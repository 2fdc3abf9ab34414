"""What backends that call a library have in common: operators joined into one call, strides of memory, known shapes.

Nothing is imported here, so that devices run where there is no compiler.
"""
