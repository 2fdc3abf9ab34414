"""The accelerator: its instruction set and configurations as data, and what is generated from them."""
