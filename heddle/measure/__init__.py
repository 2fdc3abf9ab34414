"""Measuring: functions and kernels on one core, whole models beside their peers."""
