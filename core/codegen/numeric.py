"""The operations of scalar expressions in LLVM: one rule each, for scalars and for vectors alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from heddle.core.codegen.llvm import Function
from heddle.core.codegen.narrow import from_storage, narrow_double, register_type, round_to, storage_type, to_storage
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import F32, F64, I1, I32, I64, PTR, Value, constant
from heddle.core.codegen.vmath import AVAILABLE
from heddle.core.errors import BackendError
from heddle.core.ir.types import DType, dtype_name
from heddle.core.ops.scalar import is_floating, is_signed
from heddle.core.runtime.abi import MATH, SERVICES


@dataclass(frozen=True)
class Context:
    """Where instructions go, for which machine, and where the table of services is."""

    f: Function
    target: Target
    services: Value


def literal(value: bool | int | float, dtype: DType, lanes: int = 1) -> Value:
    """A constant of a dtype in a register."""
    type = register_type(dtype).of(lanes)
    if type.scalar != "i1" and not type.floating:
        bits = type.bits
        value = (int(value) + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)
    return constant(value, type)


def apply(c: Context, op: str, dtype: DType, operand: DType, args: list[Value]) -> Value:
    """An operation whose result has `dtype` over registers of dtype `operand`, all of the same lanes.

    `select` takes its condition first. BackendError names an operation that has no rule.
    """
    if op == "select":
        return c.f.select(*args)
    if op == "cast":
        return cast(c, args[0], operand, dtype)
    if op == "bitcast":
        stored = to_storage(c.f, c.target, operand, args[0])
        return from_storage(c.f, c.target, dtype, c.f.bitcast(stored, storage_type(dtype).of(stored.type.lanes)))
    if op == "sigmoid" or (op in MATH and (is_floating(operand) or op == "pow")):
        result = _integer_power(c, operand, args) if op == "pow" and not is_floating(operand) else _math(c, op, args)
        return round_to(c.f, c.target, dtype, result)
    rules = _FLOAT if is_floating(operand) else _INTEGER
    rule = rules.get(op)
    if rule is None:
        raise BackendError(f"host: no code is generated for {op} of {dtype_name(operand)}")
    result = rule(c, operand, args)
    exact = op in _EXACT
    return result if exact else round_to(c.f, c.target, dtype, result)


_EXACT = frozenset(
    (
        *("lt", "le", "gt", "ge", "eq", "ne", "isnan", "isinf", "min", "max", "abs", "sign"),
        *("and", "or", "xor", "fmod", "floor", "ceil", "trunc", "round_even"),
    )
)
"""Operations whose result the operands' format holds without rounding (or that give a bool)."""

Rule = Callable[[Context, DType, list[Value]], Value]


def power_by(c: Context, dtype: DType, x: Value, exponent: float) -> Value | None:
    """A float to the power of a small whole number or a half, by multiplying; None for other exponents."""
    f = c.f
    if exponent == 0.5:
        root = f.intrinsic("sqrt", f.add(x, constant(0.0, x.type)))  # the root of -0 is -0, its power is 0
        infinity = constant(float("inf"), x.type)
        return round_to(f, c.target, dtype, f.select(f.compare("oeq", x, f.neg(infinity)), infinity, root))
    if exponent not in (-1, 1, 2, 3, 4):
        return None
    square = f.mul(x, x) if exponent > 1 else x
    by_exponent = {-1: lambda: f.div(constant(1.0, x.type), x), 1: lambda: x, 2: lambda: square}
    by_exponent |= {3: lambda: f.mul(square, x), 4: lambda: f.mul(square, square)}
    return round_to(f, c.target, dtype, by_exponent[int(exponent)]())


def _math(c: Context, op: str, args: list[Value]) -> Value:
    """An elementary function: from polynomials where there are some, else the C library's, lane by lane."""
    type = args[0].type
    own = AVAILABLE.get((op, type.of(1)))
    if own is not None:
        return own(c.f, *args)
    name = op if type.scalar == "double" else f"{op}f"
    slot = c.f.gep(c.services, SERVICES.index(name), PTR)
    address = c.f.load(PTR, slot)
    scalar = type.of(1)
    if type.lanes == 1:
        return c.f.call_pointer(address, scalar, args)
    result = Value("poison", type)
    for lane in range(type.lanes):
        one = c.f.call_pointer(address, scalar, [c.f.extract(a, lane) for a in args])
        result = c.f.insert(result, one, lane)
    return result


# -- floats --------------------------------------------------------------------------------------------------------


def _extreme(predicate: str, intrinsic: str) -> Rule:
    def rule(c: Context, dtype: DType, args: list[Value]) -> Value:
        """A NaN on either side gives NaN."""
        a, b = args
        if _is_constant(a):
            a, b = b, a
        if _is_constant(b):
            return c.f.select(c.f.compare(predicate, a, b), b, a)
        with c.f.fast("nsz"):
            return c.f.intrinsic(intrinsic, a, b)

    return rule


def _is_constant(a: Value) -> bool:
    """A number that is written in the code, and is no NaN."""
    return not a.text.startswith("%") and "0x7FF8" not in a.text and "0xFFF8" not in a.text


def _sign(c: Context, dtype: DType, args: list[Value]) -> Value:
    (x,) = args
    zero, one = constant(0.0, x.type), constant(1.0, x.type)
    below = c.f.select(
        c.f.compare("olt", x, zero), constant(-1.0, x.type), c.f.select(c.f.compare("oeq", x, zero), zero, x)
    )
    return c.f.select(c.f.compare("ogt", x, zero), one, below)


def _float_mod(c: Context, dtype: DType, args: list[Value]) -> Value:
    """Python's `%`: the sign of the divisor, also on zero."""
    b = args[1]
    rest = _math(c, "fmod", args)
    zero = constant(0.0, b.type)
    negative = c.f.compare("olt", b, zero)
    differs = c.f.binary("xor", c.f.compare("olt", rest, zero), negative)
    moved = c.f.select(differs, c.f.add(rest, b), rest)
    return c.f.select(c.f.compare("oeq", rest, zero), c.f.intrinsic("copysign", zero, b), moved)


def _float_unary(intrinsic: str) -> Rule:
    return lambda c, dtype, args: c.f.intrinsic(intrinsic, args[0])


def _compare(predicate: str) -> Rule:
    return lambda c, dtype, args: c.f.compare(predicate, args[0], args[1])


def _float_mod_c(c: Context, dtype: DType, args: list[Value]) -> Value:
    return _math(c, "fmod", args)


def _is_inf(c: Context, dtype: DType, args: list[Value]) -> Value:
    return c.f.compare("oeq", c.f.intrinsic("fabs", args[0]), constant(float("inf"), args[0].type))


_FLOAT: Mapping[str, Rule] = {
    "add": lambda c, d, a: c.f.add(*a),
    "sub": lambda c, d, a: c.f.sub(*a),
    "mul": lambda c, d, a: c.f.mul(*a),
    "div": lambda c, d, a: c.f.div(*a),
    "neg": lambda c, d, a: c.f.neg(a[0]),
    "min": _extreme("ogt", "minimum"),
    "max": _extreme("olt", "maximum"),
    "mod": _float_mod,
    "fmod": _float_mod_c,
    "abs": _float_unary("fabs"),
    "sign": _sign,
    "floor": _float_unary("floor"),
    "ceil": _float_unary("ceil"),
    "trunc": _float_unary("trunc"),
    "round_even": _float_unary("roundeven"),
    "sqrt": _float_unary("sqrt"),
    "lt": _compare("olt"),
    "le": _compare("ole"),
    "gt": _compare("ogt"),
    "ge": _compare("oge"),
    "eq": _compare("oeq"),
    "ne": _compare("une"),
    "isnan": lambda c, d, a: c.f.compare("uno", a[0], a[0]),
    "isinf": _is_inf,
}


# -- integers and bools --------------------------------------------------------------------------------------------


def _by_sign(signed_name: str, unsigned_name: str) -> Callable[[DType], str]:
    return lambda dtype: signed_name if is_signed(dtype) else unsigned_name


def _integer_compare(name: str) -> Rule:
    return lambda c, dtype, args: c.f.compare(f"{'s' if is_signed(dtype) else 'u'}{name}", args[0], args[1])


def _integer_extreme(name: str) -> Rule:
    def rule(c: Context, dtype: DType, args: list[Value]) -> Value:
        if args[0].type.scalar == "i1":
            return c.f.binary("or" if name == "max" else "and", args[0], args[1])
        return c.f.intrinsic(f"{'s' if is_signed(dtype) else 'u'}{name}", *args)

    return rule


def _divide(op: str) -> Rule:
    """Division that never traps: by zero it gives 0, and the least integer divided by -1 wraps."""

    def rule(c: Context, dtype: DType, args: list[Value]) -> Value:
        a, b = args
        zero, one = constant(0, b.type), constant(1, b.type)
        by_zero = c.f.compare("eq", b, zero)
        safe = c.f.select(by_zero, one, b)
        if not is_signed(dtype):
            return c.f.select(by_zero, zero, c.f.binary(f"u{op}", a, safe))
        minus = c.f.compare("eq", b, constant(-1, b.type))
        result = c.f.binary(f"s{op}", a, c.f.select(minus, one, safe))
        result = c.f.select(minus, c.f.neg(a) if op == "div" else zero, result)
        return c.f.select(by_zero, zero, result)

    return rule


def _integer_mod(c: Context, dtype: DType, args: list[Value]) -> Value:
    rest = _divide("rem")(c, dtype, args)
    if not is_signed(dtype):
        return rest
    zero = constant(0, rest.type)
    differs = c.f.compare("slt", c.f.binary("xor", rest, args[1]), zero)
    wrong = c.f.binary("and", differs, c.f.compare("ne", rest, zero))
    return c.f.select(wrong, c.f.add(rest, args[1]), rest)


def _shift(left: bool) -> Rule:
    """A shift by the width or more, or by a negative amount, leaves copies of the sign alone when it goes right."""

    def rule(c: Context, dtype: DType, args: list[Value]) -> Value:
        a, b = args
        inside = c.f.compare("ult", b, constant(a.type.bits, a.type))
        if left or not is_signed(dtype):
            shifted = c.f.binary("shl" if left else "lshr", a, c.f.select(inside, b, constant(0, b.type)))
            return c.f.select(inside, shifted, constant(0, a.type))
        return c.f.binary("ashr", a, c.f.select(inside, b, constant(a.type.bits - 1, b.type)))

    return rule


def _integer_abs(c: Context, dtype: DType, args: list[Value]) -> Value:
    if not is_signed(dtype):
        return args[0]
    zero = constant(0, args[0].type)
    return c.f.select(c.f.compare("slt", args[0], zero), c.f.neg(args[0]), args[0])


def _integer_sign(c: Context, dtype: DType, args: list[Value]) -> Value:
    (x,) = args
    zero, one = constant(0, x.type), constant(1, x.type)
    above = c.f.select(c.f.compare("ne", x, zero), one, zero)
    if not is_signed(dtype):
        return above
    return c.f.select(c.f.compare("slt", x, zero), constant(-1, x.type), above)


def _integer_power(c: Context, dtype: DType, args: list[Value]) -> Value:
    """By squaring, wrapping; 0 for a negative exponent."""
    type = args[0].type
    if type.lanes > 1:
        result = Value("poison", type)
        for lane in range(type.lanes):
            result = c.f.insert(result, _integer_power(c, dtype, [c.f.extract(a, lane) for a in args]), lane)
        return result
    f = c.f
    zero, one = constant(0, type), constant(1, type)
    product, base, exponent = f.variable(one), f.variable(args[0]), f.variable(args[1])
    if is_signed(dtype):
        negative = f.compare("slt", args[1], zero)
        f.set(product, f.select(negative, zero, one))
        f.set(exponent, f.select(negative, zero, args[1]))
    with f.repeat() as (_, done):
        left = f.get(exponent)
        f.leave(done, f.compare("eq", left, zero))
        odd = f.compare("ne", f.binary("and", left, one), zero)
        b = f.get(base)
        f.set(product, f.mul(f.get(product), f.select(odd, b, one)))
        f.set(base, f.mul(b, b))
        f.set(exponent, f.binary("lshr", left, one))
    return f.get(product)


_INTEGER: Mapping[str, Rule] = {
    "add": lambda c, d, a: c.f.binary("or" if a[0].type.scalar == "i1" else "add", a[0], a[1]),
    "sub": lambda c, d, a: c.f.binary("xor" if a[0].type.scalar == "i1" else "sub", a[0], a[1]),
    "mul": lambda c, d, a: c.f.binary("and" if a[0].type.scalar == "i1" else "mul", a[0], a[1]),
    "div": _divide("div"),
    "neg": lambda c, d, a: c.f.neg(a[0]),
    "min": _integer_extreme("min"),
    "max": _integer_extreme("max"),
    "mod": _integer_mod,
    "fmod": _divide("rem"),
    "and": lambda c, d, a: c.f.binary("and", a[0], a[1]),
    "or": lambda c, d, a: c.f.binary("or", a[0], a[1]),
    "xor": lambda c, d, a: c.f.binary("xor", a[0], a[1]),
    "not": lambda c, d, a: c.f.binary("xor", a[0], constant(True if a[0].type.scalar == "i1" else -1, a[0].type)),
    "shl": _shift(True),
    "shr": _shift(False),
    "lt": _integer_compare("lt"),
    "le": _integer_compare("le"),
    "gt": _integer_compare("gt"),
    "ge": _integer_compare("ge"),
    "eq": _compare("eq"),
    "ne": _compare("ne"),
    "abs": _integer_abs,
    "sign": _integer_sign,
    **{op: (lambda c, d, a: a[0]) for op in ("floor", "ceil", "trunc", "round_even")},
    "isnan": lambda c, d, a: constant(False, a[0].type.like("i1")),
    "isinf": lambda c, d, a: constant(False, a[0].type.like("i1")),
}


# -- conversions ---------------------------------------------------------------------------------------------------


def cast(c: Context, value: Value, source: DType, to: DType) -> Value:
    """A value in another dtype: floats truncate towards zero, integers wrap, what is not zero is true."""
    f, type = c.f, register_type(to)
    if type == I1:
        zero = constant(0, value.type)
        return value if value.type.scalar == "i1" else f.compare("une" if value.type.floating else "ne", value, zero)
    if is_floating(to):
        return round_to(f, c.target, to, _to_float(c, value, source, to))
    if value.type.floating:
        whole = _to_integer(f, value, to)
        return round_to(f, c.target, to, whole)
    if value.type.bits < type.bits:
        return f.convert("sext" if is_signed(source) else "zext", value, type)
    return round_to(f, c.target, to, f.convert("trunc", value, type) if value.type.bits > type.bits else value)


def _to_float(c: Context, value: Value, source: DType, to: DType) -> Value:
    f, type = c.f, register_type(to)
    if value.type.floating:
        if value.type.bits < type.bits:
            return f.convert("fpext", value, type)
        if value.type.bits == type.bits:
            return value
        return (
            narrow_double(f, value)
            if to.itemsize == 2 and dtype_name(to) == "float16"
            else f.convert("fptrunc", value, F32)
        )
    convert = "sitofp" if is_signed(source) else "uitofp"
    if to.itemsize == 2 and dtype_name(to) == "float16" and value.type.bits >= 32:
        return narrow_double(f, f.convert(convert, value, F64))
    return f.convert(convert, value, type)


def _to_integer(f: Function, value: Value, to: DType) -> Value:
    """Truncation; what does not fit gives some integer (`freeze` keeps LLVM from assuming that it cannot happen)."""
    type = register_type(to)
    through = I32 if type.bits < 32 or (type == I32 and is_signed(to)) else I64
    wide_unsigned = type == I64 and not is_signed(to)
    raw = f.convert("fptoui" if wide_unsigned else "fptosi", value, through)
    whole = f.value(f"freeze {raw}", raw.type)
    return f.convert("trunc", whole, type) if through.bits > type.bits else whole
