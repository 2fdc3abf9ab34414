"""The event model: when each instruction, burst and vector happens, from queues, tokens and memory.

It follows the RTL's registers: a time is the cycle in which a signal is high, what it sets is seen in the next one.
FETCH, the residual reader and LOAD ask for bursts through one register; data comes in the order in which memory took
the addresses, one cycle behind the port. Every step does what the earliest actor can do next. Written for `native`,
which compiles all of it to one machine function.
"""
