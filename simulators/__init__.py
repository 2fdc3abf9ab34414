"""Devices that are not there: any RTL design under Verilator, and the accelerator at three fidelities."""
