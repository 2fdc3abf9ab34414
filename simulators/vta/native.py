"""Compiles functions over ints and arrays of ints to machine code: the same source runs as Python, only slower.

The functions are written in a small part of Python: parameters that are annotated `int` or `Longs`, local ints, while,
if, return, break, continue, arithmetic (`//` and `%` of numbers that are not negative), comparisons, and/or/not, min
and max of two, conditional expressions, indexing, calls of each other, and module constants. Ints wrap at 64 bits.
"""

from __future__ import annotations

import ast
import ctypes
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
from heddle.core.errors import DeviceError
from llvmlite import binding as llvm


class Longs(Protocol):
    """An array of 64-bit ints, as far as functions that compile may use it; numpy's is one."""

    def __getitem__(self, index: int, /) -> int: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...


_BINARY: Mapping[type[ast.AST], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.FloorDiv: "udiv",
    ast.Mod: "urem",
    ast.BitAnd: "and",
    ast.BitOr: "or",
    ast.BitXor: "xor",
    ast.LShift: "shl",
    ast.RShift: "ashr",
}
_COMPARE: Mapping[type[ast.AST], str] = {
    ast.Eq: "eq",
    ast.NotEq: "ne",
    ast.Lt: "slt",
    ast.LtE: "sle",
    ast.Gt: "sgt",
    ast.GtE: "sge",
}


def compile_functions(functions: Sequence[Callable[..., int]], entry: Callable[..., int]) -> Callable[..., int]:
    """Machine code of `entry`, which may call the others; it takes numpy arrays of int64 for `Longs`."""
    names = {function.__name__: function for function in functions}
    text = "\n".join(_Function(function, names).text() for function in functions)
    engine = _engine(text)
    address = engine.get_function_address(entry.__name__)
    kinds = [_is_array(p) for p in inspect.signature(entry).parameters.values()]
    native = ctypes.CFUNCTYPE(ctypes.c_int64, *(ctypes.c_void_p if array else ctypes.c_int64 for array in kinds))(
        address
    )

    def call(*arguments: Any) -> int:
        for argument, array in zip(arguments, kinds, strict=True):
            if array and (argument.dtype != np.int64 or not argument.flags.c_contiguous):
                raise DeviceError(f"{entry.__name__}: expected contiguous arrays of int64, got {argument.dtype}")
        return int(native(*(a.ctypes.data if array else a for a, array in zip(arguments, kinds, strict=True))))

    return call


@cache
def _engine(text: str) -> llvm.ExecutionEngine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(opt=2)
    module = llvm.parse_assembly(text)
    module.verify()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(2))
    builder.getModulePassManager().run(module, builder)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine


def _is_array(parameter: inspect.Parameter) -> bool:
    return parameter.annotation in (Longs, "Longs")


class _Function:
    """One function as LLVM's text: locals live in stack slots, which LLVM turns into registers."""

    def __init__(self, function: Callable[..., int], known: Mapping[str, Callable[..., int]]) -> None:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
        assert isinstance(tree, ast.FunctionDef)
        self.tree, self.known = tree, known
        self.constants: Mapping[str, Any] = inspect.getmodule(function).__dict__
        parameters = inspect.signature(function).parameters
        self.arrays = {name for name, parameter in parameters.items() if _is_array(parameter)}
        self.parameters = list(parameters)
        self.lines: list[str] = []
        self.locals: dict[str, None] = {}
        self.count = 0
        self.loops: list[tuple[str, str]] = []

    def text(self) -> str:
        for name in self.parameters:
            if name not in self.arrays:
                self.locals[name] = None
                self.emit(f"store i64 %arg.{name}, ptr %{name}")
        self.body(self.tree.body)
        self.emit("ret i64 0")
        given = ", ".join(f"ptr noalias %{n}" if n in self.arrays else f"i64 %arg.{n}" for n in self.parameters)
        slots = [f"  %{name} = alloca i64" for name in self.locals]
        return "\n".join([f"define i64 @{self.tree.name}({given}) {{", *slots, *self.lines, "}"])

    def emit(self, line: str) -> None:
        self.lines.append(f"  {line}")

    def fresh(self) -> str:
        self.count += 1
        return f"t{self.count}"

    def value(self, expression: str) -> str:
        name = f"%{self.fresh()}"
        self.emit(f"{name} = {expression}")
        return name

    def label(self, name: str) -> None:
        self.emit(f"br label %{name}")
        self.lines.append(f"{name}:")

    def leave(self, line: str) -> None:
        """Ends a block; what follows it in the source is reached by nobody."""
        self.emit(line)
        self.lines.append(f"{self.fresh()}:")

    def refuse(self, node: ast.AST) -> DeviceError:
        return DeviceError(f"{self.tree.name}: {ast.unparse(node)}: not in the part of Python that compiles")

    # ------------------------------------------------------------ statements

    def body(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign(targets=[target], value=value):
                self.assign(target, self.expression(value))
            case ast.AugAssign(target=target, op=op, value=value) if type(op) in _BINARY:
                old = self.expression(target)
                self.assign(target, self.value(f"{_BINARY[type(op)]} i64 {old}, {self.expression(value)}"))
            case ast.If(test=test, body=body, orelse=orelse):
                self.branch(test, body, orelse)
            case ast.While(test=test, body=body, orelse=[]):
                self.loop(test, body)
            case ast.Return(value=ast.expr() as value):
                self.leave(f"ret i64 {self.expression(value)}")
            case ast.Break():
                self.leave(f"br label %{self.loops[-1][1]}")
            case ast.Continue():
                self.leave(f"br label %{self.loops[-1][0]}")
            case ast.Expr(value=ast.Constant(value=str())):
                pass
            case ast.Expr(value=ast.Call() as call):
                self.expression(call)
            case _:
                raise self.refuse(node)

    def assign(self, target: ast.expr, value: str) -> None:
        match target:
            case ast.Name(id=name) if name not in self.arrays:
                self.locals[name] = None
                self.emit(f"store i64 {value}, ptr %{name}")
            case ast.Subscript(value=ast.Name(id=name), slice=index) if name in self.arrays:
                self.emit(f"store i64 {value}, ptr {self.element(name, index)}")
            case _:
                raise self.refuse(target)

    def branch(self, test: ast.expr, body: Sequence[ast.stmt], orelse: Sequence[ast.stmt]) -> None:
        name = self.fresh()
        self.emit(f"br i1 {self.truth(test)}, label %{name}.then, label %{name}.else")
        self.lines.append(f"{name}.then:")
        self.body(body)
        self.emit(f"br label %{name}.end")
        self.lines.append(f"{name}.else:")
        self.body(orelse)
        self.label(f"{name}.end")

    def loop(self, test: ast.expr, body: Sequence[ast.stmt]) -> None:
        name = self.fresh()
        self.label(f"{name}.test")
        self.emit(f"br i1 {self.truth(test)}, label %{name}.body, label %{name}.end")
        self.lines.append(f"{name}.body:")
        self.loops.append((f"{name}.test", f"{name}.end"))
        self.body(body)
        self.loops.pop()
        self.emit(f"br label %{name}.test")
        self.lines.append(f"{name}.end:")

    # ------------------------------------------------------------ expressions

    def element(self, name: str, index: ast.expr) -> str:
        return self.value(f"getelementptr i64, ptr %{name}, i64 {self.expression(index)}")

    def truth(self, node: ast.expr) -> str:
        return self.value(f"icmp ne i64 {self.expression(node)}, 0")

    def expression(self, node: ast.expr) -> str:
        match node:
            case ast.Constant(value=bool() | int() as value):
                return str(int(value))
            case ast.Name(id=name) if name in self.locals:
                return self.value(f"load i64, ptr %{name}")
            case ast.Name(id=name) if isinstance(self.constants.get(name), int):
                return str(int(self.constants[name]))
            case ast.Subscript(value=ast.Name(id=name), slice=index) if name in self.arrays:
                return self.value(f"load i64, ptr {self.element(name, index)}")
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                one, other = self.expression(left), self.expression(right)
                return self.value(f"{_BINARY[type(op)]} i64 {one}, {other}")
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.value(f"sub i64 0, {self.expression(operand)}")
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.extended(f"icmp eq i64 {self.expression(operand)}, 0")
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
                one, other = self.expression(left), self.expression(right)
                return self.extended(f"icmp {_COMPARE[type(op)]} i64 {one}, {other}")
            case ast.BoolOp(op=op, values=[first, *rest]):
                return self.chain(isinstance(op, ast.And), first, rest)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self.choice(self.truth(test), body, orelse)
            case ast.Call(func=ast.Name(id="min" | "max" as name), args=[left, right]):
                one, other = self.expression(left), self.expression(right)
                return self.value(f"call i64 @llvm.s{name}.i64(i64 {one}, i64 {other})")
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in self.known:
                return self.value(f"call i64 @{name}({', '.join(self.argument(a) for a in arguments)})")
        raise self.refuse(node)

    def extended(self, test: str) -> str:
        return self.value(f"zext i1 {self.value(test)} to i64")

    def argument(self, node: ast.expr) -> str:
        if isinstance(node, ast.Name) and node.id in self.arrays:
            return f"ptr %{node.id}"
        return f"i64 {self.expression(node)}"

    def chain(self, every: bool, first: ast.expr, rest: Sequence[ast.expr]) -> str:
        """The truth of and/or as 0 or 1; what need not be looked at is not evaluated."""
        name, slot = self.fresh(), self.fresh()
        self.locals[slot] = None
        for index, item in enumerate([first, *rest]):
            truth = self.truth(item)
            self.emit(f"store i64 {self.value(f'zext i1 {truth} to i64')}, ptr %{slot}")
            more, end = f"{name}.{index}", f"{name}.end"
            yes, no = (more, end) if every else (end, more)
            self.emit(f"br i1 {truth}, label %{yes}, label %{no}")
            self.lines.append(f"{more}:")
        self.label(f"{name}.end")
        return self.value(f"load i64, ptr %{slot}")

    def choice(self, truth: str, body: ast.expr, orelse: ast.expr) -> str:
        name, slot = self.fresh(), self.fresh()
        self.locals[slot] = None
        self.emit(f"br i1 {truth}, label %{name}.then, label %{name}.else")
        for part, value in (("then", body), ("else", orelse)):
            self.lines.append(f"{name}.{part}:")
            self.emit(f"store i64 {self.expression(value)}, ptr %{slot}")
            self.emit(f"br label %{name}.end")
        self.lines.append(f"{name}.end:")
        return self.value(f"load i64, ptr %{slot}")
