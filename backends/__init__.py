"""The backends that Heddle ships, each a plugin as an outside vendor would write it; they do not know each other.

`libraries` is what those that call a library have in common.
"""
