"""The mutants that the kit lets pass, and why it may; `equivalence.py` shows that each is what is said here."""

from __future__ import annotations

_SUM = (
    "np.concatenate(parts, axis=-1).transpose(0, 3, 1, 2) + b.res"
    " -> b.reshape(1, -1, 1, 1) + np.concatenate(parts, axis=-1).tran"
)
_COMMUTES = "sums and products of two numbers commute"
_WIDER = "the machine computes every dtype of the operator as the reference does"

EQUIVALENT: tuple[tuple[str, str, str], ...] = (
    ("codegen", "add -1.27: [dtype('x').equals('float32')] -> []", _WIDER),
    ("codegen", "sub -1.27: [dtype('x').equals('float32')] -> []", _WIDER),
    ("codegen", "mul -1.27: [dtype('x').equals('float32')] -> []", _WIDER),
    ("codegen", "compile 7.43: 0 -> 1", "the number beside an arithmetic opcode is read by nobody"),
    ("library", "library_convolve 3.13: (size - 1) * step + 1 -> 1 + (size - 1) * step", _COMMUTES),
    ("library", "library_convolve 3.13: (size - 1) * step -> step * (size - 1)", _COMMUTES),
    ("library", f"library_convolve 10.11: {_SUM}", _COMMUTES),
    ("library", "library_convolve 10.80: 1 -> 2", "numpy takes any negative size for the open one"),
    (
        "library",
        "compile 2.63: ('strides', 'pads', 'dilations', 'group') -> ('group', 'dilations', 'pads', 'strides')",
        "settings are found by their names",
    ),
    ("library", "call 2.16: 0 -> -1", "there is one output, the first and the last"),
    ("library", "call 2.50: 0 -> -1", "there is one input, the first and the last"),
)
"""Changes that change no bit: the backend, the change as it is told, and why."""

WITHIN_TOLERANCE: tuple[tuple[str, str, str], ...] = (
    (
        "codegen",
        "call 15.29: np.maximum(stack.pop(), np.float32(0)) -> np.maximum(np.float32(0), stack.pop())",
        "of two zeros the one or the other sign",
    ),
    (
        "library",
        "conv -6.15: [dtype('x').equals('float32'), rank('x').equals(4), attr('co"
        " -> [rank('x').equals(4), attr('conv', 'auto_pad').equals('NOTSE",
        "numpy convolves every floating dtype; half precision is rounded in another order",
    ),
)
"""Changes of bits that no tolerance tells apart, by the kit's own comparison."""
