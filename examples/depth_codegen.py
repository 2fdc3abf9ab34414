"""Depth 3, code of your own: elementwise parts of a model as programs of a pretended vector processor.

    python examples/depth_codegen.py tests/models/mnist.onnx
    HEDDLE_PLUGINS=examples/depth_codegen.py heddle plugins test vector

The processor has numbered registers that hold whole tensors, five instructions of four bytes, and a clock: its device
reports modelled seconds beside the wall's. See docs/vendor/codegen.md, and `backends/vta` for the real thing.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass

import numpy as np
from heddle.core.dtypes import dtype_named
from heddle.core.pattern import const, dtype, either, ops, pattern
from heddle.core.plugin import Figures
from heddle.core.runtime.device import DeviceProperties, Finished
from heddle.core.runtime.host import HostDevice

import heddle

CLOCK, LANES = 1e9, 16
OPCODES = {"Add": 0, "Sub": 1, "Mul": 2, "Max": 3, "Relu": 4}
FUNCTIONS = (np.add, np.subtract, np.multiply, np.maximum, lambda a, b: np.maximum(a, np.float32(0)))


@pattern("binary", conditions=[dtype("x").equals("float32")])
def binary(x, y):
    return either(ops.Add(x, y, label="add"), ops.Sub(x, y, label="sub"), ops.Mul(x, y, label="mul"))


@pattern("shifted", conditions=[dtype("x").equals("float32")])
def shifted(x):
    return ops.Add(x, const("b"))


@pattern("relu", conditions=[dtype("x").equals("float32")])
def relu(x):
    return ops.Relu(x)


class Vector(heddle.Backend):
    """Neighbouring matches become one region, and a region one program."""

    name = "vector"
    api = 1
    patterns = (shifted, binary, relu)
    figures = Figures({"*": CLOCK * LANES}, bandwidth=4 * CLOCK * LANES, launch=1e-6)

    def compile(self, region: heddle.Region) -> heddle.Artifact:
        body = region.body
        register = {value: number for number, value in enumerate((*body.inputs, *body.constants))}
        program = []
        for node in body.nodes:
            register[node.output] = len(register)
            first, second = (*node.operands, node.operands[0])[:2]
            program.append((OPCODES[node.op], register[node.output], register[first], register[second]))
        ends = [register[value] for value in body.outputs]
        code = struct.pack("<HH", len(program), len(ends)) + struct.pack(f"<{len(ends)}H", *ends)
        code += b"".join(struct.pack("<4H", *instruction) for instruction in program)
        constants = {f"c{number:04}": array for number, array in enumerate(body.constants.values())}
        return heddle.Artifact(self.name, self.name, region.signature, code, constants)


@dataclass(frozen=True)
class Loaded:
    artifact: heddle.Artifact
    program: tuple
    ends: tuple

    def close(self) -> None:
        """Nothing is held."""


class VectorDevice(HostDevice):
    name = "vector"

    def properties(self):
        return DeviceProperties(self.name, super().properties().memories, clock_hz=CLOCK)

    def load(self, artifact):
        count, outputs = struct.unpack_from("<HH", artifact.code)
        ends = struct.unpack_from(f"<{outputs}H", artifact.code, 4)
        program = tuple(struct.iter_unpack("<4H", artifact.code[4 + 2 * outputs :]))
        assert len(program) == count, "the program is cut off"
        return Loaded(artifact, program, ends)

    def submit(self, program, buffers, after=()):
        for event in after:
            event.wait()
        ports = (*program.artifact.signature.inputs, *program.artifact.signature.outputs)
        arrays = []
        for buffer, port in zip(buffers, ports, strict=True):
            dtype_ = dtype_named(port.dtype)
            count = int(np.prod(port.shape, dtype=np.int64))
            arrays.append(buffer.array[: count * dtype_.itemsize].view(dtype_).reshape(port.shape))
        constants = program.artifact.constants
        registers = [*arrays[: len(program.artifact.signature.inputs)], *(constants[key] for key in sorted(constants))]
        cycles = 0
        with np.errstate(all="ignore"):
            for opcode, _, first, second in program.program:
                registers.append(FUNCTIONS[opcode](registers[first], registers[second]))
                cycles += 4 + -(-registers[-1].size // LANES)
        for array, end in zip(arrays[-len(program.ends) :], program.ends, strict=True):
            array[...] = registers[end]
        return Finished(modelled_seconds=cycles / CLOCK, counters={"cycles": cycles})


def main(model: str) -> None:
    devices = {"vector": VectorDevice()}
    with heddle.compile(model, [Vector(), "host"], devices=devices) as there, heddle.compile(model) as here:
        x = np.random.default_rng(0).standard_normal(here.inputs[0].shape).astype(np.float32)
        print(there.plan)
        steps = [step for step in there.profile(x).steps if step.modelled is not None]
        print(f"{sum(step.counters['cycles'] for step in steps)} cycles in {len(steps)} programs")
        for found, expected in zip(there(x).values(), here(x).values(), strict=True):
            away = np.abs(found - expected).max() / np.abs(expected).max()
            print(f"away from the host by {away:.1e} of the largest magnitude")
            assert away <= 1e-5


if __name__ == "__main__":
    main(sys.argv[1])
