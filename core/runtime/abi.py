"""The binary interface between the host's runtime and its compiled code, known to both and to nothing else.

A host artifact's `code` is a shared object without undefined symbols that exports

    int32_t heddle_run(void *const *inputs, void *const *outputs, void *const *constants,
                       uint8_t *workspace, void *const *services)

`inputs`, `outputs` follow the artifact's signature; `constants` are in the order of the sorted names of
`artifact.constants`, each aligned to 64 bytes and readable 64 bytes past its end; `workspace` has
`artifact.workspace` bytes, aligned to 4096; `services` holds the address of each function in `SERVICES`.
Inputs and outputs are aligned to their elements. The code may set the processor's floating-point modes while it runs,
and restores what it found before it returns. The result is 0, or the number (from 1) of a message in
`artifact.meta["faults"]`: the run failed then, and its outputs are not valid.
"""

from __future__ import annotations

ENTRY = "heddle_run"

MATH = (
    *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
    *("exp", "expm1", "log", "log1p", "pow", "fmod", "erf"),
)

SERVICES: tuple[str, ...] = MATH + tuple(f"{name}f" for name in MATH)
"""Functions of the C library that compiled code may call: of double, then of float."""
