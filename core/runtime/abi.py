"""The binary interface between the host's runtime and its compiled code, known to both and to nothing else.

A host artifact's `code` is a shared object without undefined symbols that exports

    int32_t heddle_run(void *const *inputs, void *const *outputs, void *const *constants,
                       uint8_t *workspace, void *const *services, void *team)

`inputs`, `outputs` follow the artifact's signature; `constants` are in the order of the sorted names of
`artifact.constants`, each aligned to 64 bytes and readable 64 bytes past its end; `workspace` has
`artifact.workspace` bytes, aligned to 4096; `services` holds the address of each function in `SERVICES`.
Inputs and outputs are aligned to their elements. The code may set the processor's floating-point modes while it runs,
and restores what it found before it returns. The result is 0, or the number (from 1) of a message in
`artifact.meta["faults"]`: the run failed then, and its outputs are not valid.

Code that can use several threads has `artifact.meta["team"]`, with the `version` of what is said here and the bytes of
`scratch` that each thread beside the caller's needs. It exports as well

    void heddle_help(void *team, int32_t lane)

which never returns: a thread that calls it, with a lane from 1, helps with whatever is run with this team. `team` is
the address of `TEAM_BYTES` zeroed bytes, aligned to 128, of which the runtime sets two before anything else: at
`TEAM_THREADS` the number of threads as an int32, the caller's included, and at `TEAM_SERVICES` the address of the
services. One run at a time may use a team; the scratch of its other threads lies behind the workspace, one after the
other. A run whose team is null is done by the caller's thread alone. All code of one version can be helped by any
other's `heddle_help`.

Code may export as well

    PyObject *heddle_call(PyObject *record, PyObject *const *arguments, Py_ssize_t count)

which is a function for Python to call (METH_FASTCALL): it runs the code over arrays of numpy, without the interpreter's
lock. `record` is an array of 64-bit words, said below at `RECORD`. The arguments are an array of words that no other
call uses, the frame: the addresses of the workspace and of the team, then room for the pointers to inputs and outputs;
and after it the arrays. The result is what `heddle_run` gives, or `OTHERWISE` when nothing was run, since an array is
not exactly of numpy's own class, of the one dtype object, shape and density that the record says.
"""

ENTRY = "heddle_run"
HELP = "heddle_help"
CALL = "heddle_call"

OTHERWISE = -1

RECORD = (
    *("class", "PyLong_FromLong", "PyEval_SaveThread", "PyEval_RestoreThread"),
    *("constants", "services", "inputs", "pointers", "arrays"),
)
"""The words that a record begins with: the address of numpy's array class, those of functions of Python, of the tables
of constants and services; how many pointers are to inputs, how many pointers and how many arrays there are. Then come
for each pointer the number of its array, and for each array the address of its dtype, its rank and its dimensions."""

CLASS, DATA, RANK, DIMENSIONS, DTYPE, FLAGS = 8, 16, 24, 32, 56, 64
"""Where fields of an array of numpy lie, a part of its stable C interface (numpy/ndarraytypes.h): rank and flags are of
32 bits, all else of 64."""

DENSE = 0x0101
"""The flags NPY_ARRAY_C_CONTIGUOUS and NPY_ARRAY_ALIGNED."""

TEAM_VERSION = 1
TEAM_BYTES, TEAM_THREADS, TEAM_SERVICES = 640, 512, 520

MATH = (
    *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
    *("exp", "expm1", "log", "log1p", "pow", "fmod", "erf"),
)

SERVICES: tuple[str, ...] = (*MATH, *(f"{name}f" for name in MATH), "syscall")
"""Functions of the C library that compiled code may call: of double, then of float, then the way to the kernel."""
