"""A backend to make faults in: elementwise parts of a model as programs of a tiny stack machine."""

from __future__ import annotations

import struct

import numpy as np
from heddle.core.pattern import dtype, ops, pattern
from heddle.core.runtime.calling import CallingDevice

import heddle

# The instruction set: an opcode and a number, 16 bits each. ADD to RELU work on the top of the stack.
INPUT, CONSTANT, LOCAL, ADD, SUB, MUL, RELU, SAVE, OUTPUT = range(9)
OPCODES = {"Add": ADD, "Sub": SUB, "Mul": MUL, "Relu": RELU}


@pattern("add", conditions=[dtype("x").equals("float32")])
def add(x, y):
    return ops.Add(x, y)


@pattern("sub", conditions=[dtype("x").equals("float32")])
def sub(x, y):
    return ops.Sub(x, y)


@pattern("mul", conditions=[dtype("x").equals("float32")])
def mul(x, y):
    return ops.Mul(x, y)


@pattern("relu", conditions=[dtype("x").equals("float32")])
def relu(x):
    return ops.Relu(x)


class Sample(heddle.Backend):
    """Regions of any number of these operators become one program."""

    name = "sample"
    api = 1
    patterns = (add, sub, mul, relu)

    def compile(self, region: heddle.Region) -> heddle.Artifact:
        body = region.body
        places = {value: (INPUT, number) for number, value in enumerate(body.inputs)}
        places |= {value: (CONSTANT, number) for number, value in enumerate(body.constants)}
        program = []
        for number, node in enumerate(body.nodes):
            program += [places[value] for value in node.operands]
            program += [(OPCODES[node.op], 0), (SAVE, number)]
            places[node.output] = (LOCAL, number)
        for number, value in enumerate(body.outputs):
            program += [places[value], (OUTPUT, number)]
        code = b"".join(struct.pack("<HH", *instruction) for instruction in program)
        constants = {str(number): array for number, array in enumerate(body.constants.values())}
        return heddle.Artifact(self.name, self.name, region.signature, code, constants)


class SampleDevice(CallingDevice):
    """The machine: it decodes a program when it is loaded and executes it at every call."""

    name = "sample"

    def prepare(self, artifact):
        return list(struct.iter_unpack("<HH", artifact.code)), artifact.constants

    def call(self, made, inputs, outputs):
        program, constants = made
        stack, saved = [], {}
        for opcode, number in program:
            if opcode == INPUT:
                stack.append(inputs[number])
            elif opcode == CONSTANT:
                stack.append(constants[str(number)])
            elif opcode == LOCAL:
                stack.append(saved[number])
            elif opcode == SAVE:
                saved[number] = stack.pop()
            elif opcode == OUTPUT:
                outputs[number][...] = stack.pop()
            elif opcode == RELU:
                stack.append(np.maximum(stack.pop(), np.float32(0)))
            else:
                right, left = stack.pop(), stack.pop()
                stack.append({ADD: np.add, SUB: np.subtract, MUL: np.multiply}[opcode](left, right))
