"""The demonstration: a small real model, a pretended accelerator, and a digit to recognise."""
