"""How Python calls a region: `heddle_call` looks whether arrays are what the code takes, and runs it over them."""

from __future__ import annotations

from heddle.core.codegen.llvm import Function, module
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import I8, I32, I64, PTR, Type, Value, constant
from heddle.core.runtime import abi


def calling(target: Target) -> str:
    """The text of a module that exports `CALL`; it is the same for all regions."""
    f = Function(abi.CALL, [("self", "ptr"), ("arguments", "ptr"), ("count", "i64")], PTR)
    record = _field(f, f["self"], abi.DATA, PTR)

    def word(name: str, type: Type) -> Value:
        return f.load(type, f.gep(record, abi.RECORD.index(name), I64))

    def python(name: str, result: Type | None, *args: Value) -> Value:
        return f.call_pointer(word(name, PTR), result, args)

    pointers = f.gep(record, len(abi.RECORD), I64)
    arrays = f.gep(f["arguments"], 1, PTR)
    status = f.variable(constant(abi.OTHERWISE, I64))
    with f.repeat() as (_, done):
        f.leave(done, f.compare("ne", f["count"], f.add(word("arrays", I64), constant(1, I64))))
        described = f.variable(f.gep(pointers, word("pointers", I64), I64))
        with f.loop(0, word("arrays", I64)) as i:
            array = f.load(PTR, f.gep(arrays, i, PTR))
            f.leave(done, f.compare("ne", _field(f, array, abi.CLASS, PTR), word("class", PTR)))
            f.set(described, _described(f, array, f.get(described), done))
        frame = _field(f, f.load(PTR, f["arguments"]), abi.DATA, PTR)
        inputs = f.gep(frame, 2, PTR)
        with f.loop(0, word("pointers", I64)) as i:
            array = f.load(PTR, f.gep(arrays, f.load(I64, f.gep(pointers, i, I64)), PTR))
            f.store(_field(f, array, abi.DATA, PTR), f.gep(inputs, i, PTR))
        tables = [inputs, f.gep(inputs, word("inputs", I64), PTR), word("constants", PTR), f.load(PTR, frame)]
        thread = python("PyEval_SaveThread", PTR)
        result = f.call(abi.ENTRY, I32, [*tables, word("services", PTR), f.load(PTR, f.gep(frame, 1, PTR))])
        python("PyEval_RestoreThread", None, thread)
        f.set(status, f.convert("sext", result, I64))
        f.leave(done)
    f.give(python("PyLong_FromLong", PTR, f.get(status)))
    return module([f], target.triple)


def _described(f: Function, array: Value, expected: Value, otherwise: str) -> Value:
    """Go to a label unless an array is as it is described; the address behind the description."""
    f.leave(otherwise, f.compare("ne", _field(f, array, abi.DTYPE, PTR), f.load(PTR, expected)))
    dense = f.binary("and", _field(f, array, abi.FLAGS, I32), constant(abi.DENSE, I32))
    f.leave(otherwise, f.compare("ne", dense, constant(abi.DENSE, I32)))
    rank = f.load(I64, f.gep(expected, 1, I64))
    f.leave(otherwise, f.compare("ne", f.convert("sext", _field(f, array, abi.RANK, I32), I64), rank))
    given, wanted = _field(f, array, abi.DIMENSIONS, PTR), f.gep(expected, 2, I64)
    with f.loop(0, rank) as i:
        sizes = [f.load(I64, f.gep(dimensions, i, I64)) for dimensions in (given, wanted)]
        f.leave(otherwise, f.compare("ne", *sizes))
    return f.gep(wanted, rank, I64)


def _field(f: Function, item: Value, offset: int, type: Type) -> Value:
    return f.load(type, f.gep(item, offset, I8))
