"""The C++ headers that every generated simulator includes: the clock loop and the agents of buses."""
