"""One text for two targets: a grid as a kernel of the GPU, and as a function of the CPU whose loops are the threads.

The second is how the first is tested where there is no GPU: both are the same statements, emitted by the same code.
"""

from __future__ import annotations

from collections.abc import Mapping

from heddle.backends.cudnn.kernels.functions import FUNCTIONS
from heddle.backends.cudnn.kernels.grid import Grid
from heddle.core.codegen.emit import Emitter, alignment
from heddle.core.codegen.emit import attributes as host_attributes
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.loops import Buffer
from heddle.core.codegen.narrow import register_type, round_to, storage_type
from heddle.core.codegen.numeric import Context
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import I32, I64, PTR, Value, constant
from heddle.core.ops.scalar import Expr

TRIPLE = "nvptx64-nvidia-cuda"
BARRIER = "llvm.nvvm.barrier.cta.sync.aligned.all"
ALIGNMENT = 16
"""Every buffer begins at a multiple of so many bytes, for the widest move of one thread."""


def target_of(capability: int) -> Target:
    """The GPU of a compute capability, such as 80 for 8.0."""
    return Target(TRIPLE, f"sm_{capability}", ())


class _Emitter(Emitter):
    """Emits phases; a fault is written down, the first one stays."""

    def __init__(self, context: Context, addresses: Mapping[Buffer, Value], faults: Value) -> None:
        super().__init__(context, addresses)
        self.faults = faults

    def compute(self, expr: Expr) -> Value:
        own = FUNCTIONS.get((expr.op, register_type(expr.dtype))) if len(expr.args) == 1 else None
        if own is None:
            return super().compute(expr)
        with self.f.fast(""):
            return round_to(self.f, self.context.target, expr.dtype, own(self.f, self.expr(expr.args[0])))

    def fail(self, number: int) -> None:
        f = self.f
        with f.when(f.compare("eq", f.load(I32, self.faults), constant(0, I32))):
            f.store(constant(number, I32), self.faults)


class KernelFunction(Function):
    """A function that the driver launches; `shared` is the text of its shared arrays."""

    shared = ""

    def text(self, first_metadata: int = 0) -> str:
        return super().text(first_metadata).replace("define void", "define ptx_kernel void", 1)


def device_function(grid: Grid, name: str, target: Target) -> KernelFunction:
    """A kernel `name(faults, parameters...)` of the GPU."""
    parameters = [("faults", "ptr")]
    for number, buffer in enumerate(grid.parameters):
        parameters.append((f"b{number}", f"ptr align {max(ALIGNMENT, alignment(buffer))}{_promises(grid, buffer)}"))
    f = KernelFunction(name, parameters, attributes=f'nounwind "nvvm.maxntid"="{grid.thread.extent}"')
    addresses = {buffer: f[f"b{number}"] for number, buffer in enumerate(grid.parameters)}
    arrays = []
    for number, buffer in enumerate(grid.shared):
        type = storage_type(buffer.dtype)
        own = f"@{name}.shared{number}"
        arrays.append(f"{own} = internal addrspace(3) global [{buffer.size} x {type}] poison, align {ALIGNMENT}")
        addresses[buffer] = Value(f"addrspacecast (ptr addrspace(3) {own} to ptr)", PTR)
    f.shared = "\n".join(arrays)
    axes = {grid.block: _register(f, "ctaid", grid.block.extent), grid.thread: _register(f, "tid", grid.thread.extent)}
    for number, phase in enumerate(grid.phases):
        if number:
            f.call(BARRIER, None, (constant(0, I32),))
        emitter = _Emitter(Context(f, target, f["faults"]), addresses, f["faults"])
        emitter.axes.update(axes)
        emitter.block(phase)
    f.give()
    return f


def _promises(grid: Grid, buffer: Buffer) -> str:
    """What LLVM may assume of a parameter's memory: nothing where a barrier makes visible what other threads wrote."""
    if buffer not in grid.written:
        return " noalias readonly"
    return " noalias" if len(grid.phases) == 1 else ""


def _register(f: Function, name: str, extent: int) -> Value:
    """The number of a block or thread; its range lets LLVM divide by 32-bit instructions."""
    special = f"@llvm.nvvm.read.ptx.sreg.{name}.x()"
    f.declarations.add(f"declare i32 {special}")
    return f.convert("zext", f.value(f"call range(i32 0, {extent}) i32 {special}", I32), I64)


def host_function(grid: Grid, name: str, target: Target) -> Function:
    """The function `name(arguments)` of the CPU: every thread of every block in turn, phase after phase.

    `arguments` holds the address of each argument of the GPU's kernel, as a launch by the driver passes them.
    """
    f = Function(name, [("arguments", "ptr")], attributes=host_attributes(target))
    pointers = [
        f.load(PTR, f.load(PTR, f.gep(f["arguments"], number, PTR))) for number in range(len(grid.parameters) + 1)
    ]
    faults = pointers[0]
    addresses = dict(zip(grid.parameters, pointers[1:], strict=True))
    for buffer in grid.shared:
        addresses[buffer] = f.slot(storage_type(buffer.dtype), max(2, buffer.size)).address
    with f.loop(0, grid.block.extent) as block:
        for phase in grid.phases:
            with f.loop(0, grid.thread.extent) as thread:
                emitter = _Emitter(Context(f, target, faults), addresses, faults)
                emitter.axes.update({grid.block: block, grid.thread: thread})
                emitter.block(phase)
    f.give()
    return f
