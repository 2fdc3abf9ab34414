"""Elements of tensors in memory and in registers; the small floats, decoded and encoded by integer arithmetic.

In registers every float narrower than 32 bits is a `float` whose value the narrow format can hold; every integer
narrower than 8 bits is an i8; a bool is an i1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from heddle.core.codegen.llvm import Function
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import F32, F64, I1, I8, I16, I32, Type, Value, constant
from heddle.core.errors import BackendError
from heddle.core.ir.types import DType, dtype_name
from heddle.core.ops.scalar import is_signed


@dataclass(frozen=True)
class Narrow:
    """A float of `bits` bits. `infinite`: the greatest exponent means infinities and NaNs, as in IEEE 754; else `nan`
    is the pattern (without or with sign) of the only NaN, if there is one, and `unsigned_zero` that -0 does not exist.
    """

    bits: int
    mantissa: int
    bias: int
    infinite: bool
    nan: int | None = None
    unsigned_zero: bool = False
    overflow: Literal["infinity", "nan", "greatest"] = "infinity"
    greatest: float = 0.0


NARROW: dict[str, Narrow] = {
    "float16": Narrow(16, 10, 15, True, greatest=65504.0),
    "bfloat16": Narrow(16, 7, 127, True, greatest=3.3895313892515355e38),
    "float8e4m3fn": Narrow(8, 3, 7, False, 0x7F, overflow="nan", greatest=448.0),
    "float8e4m3fnuz": Narrow(8, 3, 8, False, 0x80, True, overflow="nan", greatest=240.0),
    "float8e5m2": Narrow(8, 2, 15, True, greatest=57344.0),
    "float8e5m2fnuz": Narrow(8, 2, 16, False, 0x80, True, overflow="nan", greatest=57344.0),
    "float4e2m1": Narrow(4, 1, 1, False, overflow="greatest", greatest=6.0),
}
SMALL_INTEGERS = {"int4": 4, "uint4": 4, "int2": 2, "uint2": 2}
_REGISTERS = {"float32": F32, "float64": F64, "bool": I1, "float8e8m0": F32}


def register_type(dtype: DType) -> Type:
    """The LLVM type that holds one element in a register; BackendError for types that no code is generated for."""
    name = dtype_name(dtype)
    if name in _REGISTERS:
        return _REGISTERS[name]
    if name in NARROW:
        return F32
    if name in SMALL_INTEGERS:
        return I8
    if dtype.kind in "iu":
        return Type(f"i{dtype.itemsize * 8}")
    raise BackendError(f"host: no code is generated for elements of type {name}")


def storage_type(dtype: DType) -> Type:
    """The LLVM type of one element in memory."""
    register = register_type(dtype)
    if register == F32 and dtype.itemsize < 4:
        return I16 if dtype.itemsize == 2 else I8
    return I8 if register == I1 else register


def from_storage(f: Function, target: Target, dtype: DType, stored: Value) -> Value:
    """What was read from memory, as a register."""
    name = dtype_name(dtype)
    if name == "bool":
        return f.compare("ne", stored, constant(0, stored.type))
    if name == "float16" and _has_half(target):
        half = f.bitcast(stored, stored.type.like("half"))
        return f.convert("fpext", half, F32)
    if name == "float8e8m0":
        return _decode_scale(f, stored)
    if name in SMALL_INTEGERS:
        return round_to(f, target, dtype, stored)
    return _decode(f, NARROW[name], stored) if name in NARROW else stored


def to_storage(f: Function, target: Target, dtype: DType, value: Value) -> Value:
    """What memory holds for a register's value."""
    name = dtype_name(dtype)
    if name == "bool":
        return f.convert("zext", value, I8)
    if name == "float16" and _has_half(target):
        half = f.convert("fptrunc", value, Type("half"))
        return f.bitcast(half, half.type.like("i16"))
    if name == "float8e8m0":
        return _encode_scale(f, value)
    if name in SMALL_INTEGERS:
        return f.binary("and", value, constant((1 << SMALL_INTEGERS[name]) - 1, value.type))
    return _encode(f, NARROW[name], value) if name in NARROW else value


def round_to(f: Function, target: Target, dtype: DType, value: Value) -> Value:
    """A register of float rounded to what the narrow dtype can hold, or an i8 wrapped to the bits of an int4."""
    name = dtype_name(dtype)
    if name in NARROW or name == "float8e8m0":
        return from_storage(f, target, dtype, to_storage(f, target, dtype, value))
    if name in SMALL_INTEGERS:
        shift = constant(8 - SMALL_INTEGERS[name], value.type)
        return f.binary("ashr" if is_signed(dtype) else "lshr", f.binary("shl", value, shift), shift)
    return value


def narrow_double(f: Function, value: Value) -> Value:
    """A double as a float rounded to odd, so that a second rounding to a narrower format is still the right one."""
    single = f.convert("fptrunc", value, F32)
    back = f.convert("fpext", single, F64)
    bits = f.bitcast(single, single.type.like("i32"))
    away = f.compare("ogt", f.intrinsic("fabs", back), f.intrinsic("fabs", value))
    bits = f.select(away, f.sub(bits, constant(1, bits.type)), bits)
    inexact = f.compare("one", back, value)
    odd = f.binary("or", bits, f.convert("zext", inexact, I32))
    return f.bitcast(odd, single.type)


def _has_half(target: Target) -> bool:
    return not target.x86 or target.has("f16c")


def _decode(f: Function, form: Narrow, stored: Value) -> Value:
    wide = f.convert("zext", stored, I32)
    type = wide.type
    if form.mantissa == 7:  # bfloat16 is the upper half of a float
        return f.bitcast(f.binary("shl", wide, constant(16, type)), type.like("float"))
    magnitude = f.binary("and", wide, constant((1 << form.bits - 1) - 1, type))
    sign = f.binary("shl", f.binary("lshr", wide, constant(form.bits - 1, type)), constant(31, type))
    shifted = f.binary("shl", magnitude, constant(23 - form.mantissa, type))
    normal = f.add(shifted, constant(127 - form.bias << 23, type))
    tiny = f.mul(
        f.convert("uitofp", magnitude, F32), constant(2.0 ** (1 - form.bias - form.mantissa), type.like("float"))
    )
    subnormal = f.compare("ult", magnitude, constant(1 << form.mantissa, type))
    bits = f.select(subnormal, f.bitcast(tiny, type), normal)
    if form.infinite:
        special = f.compare(
            "uge", magnitude, constant(((1 << form.bits - 1 - form.mantissa) - 1) << form.mantissa, type)
        )
        bits = f.select(special, f.binary("or", shifted, constant(0x7F800000, type)), bits)
    bits = f.binary("or", bits, sign)
    if form.nan is not None:
        what = wide if form.unsigned_zero else magnitude
        bits = f.select(f.compare("eq", what, constant(form.nan, type)), constant(0x7FC00000, type), bits)
    return f.bitcast(bits, type.like("float"))


def _encode(f: Function, form: Narrow, value: Value) -> Value:
    type = value.type.like("i32")
    bits = f.bitcast(value, type)
    nan = f.compare("uno", value, value)
    storage = I16 if form.bits == 16 else I8
    if form.mantissa == 7:
        low = f.binary("and", f.binary("lshr", bits, constant(16, type)), constant(1, type))
        rounded = f.binary("lshr", f.add(f.add(bits, constant(0x7FFF, type)), low), constant(16, type))
        quiet = f.binary("or", f.binary("lshr", bits, constant(16, type)), constant(0x40, type))
        return f.convert("trunc", f.select(nan, quiet, rounded), storage)
    sign = f.binary("lshr", bits, constant(31, type))
    magnitude = f.binary("and", bits, constant(0x7FFFFFFF, type))
    drop = 23 - form.mantissa
    low = f.binary("and", f.binary("lshr", magnitude, constant(drop, type)), constant(1, type))
    rounded = f.binary("lshr", f.add(f.add(magnitude, constant((1 << drop - 1) - 1, type)), low), constant(drop, type))
    normal = f.sub(rounded, constant(127 - form.bias << form.mantissa, type))
    # Adding 2^23 quanta of the subnormal range makes the adder round to a multiple of the quantum.
    magic = constant(2.0 ** (23 + 1 - form.bias - form.mantissa), value.type)
    with f.fast(""):
        tiny = f.sub(f.bitcast(f.add(f.bitcast(magnitude, value.type), magic), type), f.bitcast(magic, type))
    least = constant(2.0 ** (1 - form.bias), value.type)
    subnormal = f.compare("olt", f.bitcast(magnitude, value.type), least)
    code = f.select(subnormal, tiny, normal)
    most = _pattern(form, form.greatest)
    exceeds = f.compare("ugt", code, constant(most, type))
    if form.infinite:
        infinity = ((1 << form.bits - 1 - form.mantissa) - 1) << form.mantissa
        code = f.select(exceeds, constant(infinity, type), code)
        code = f.select(nan, constant(infinity | 1 << form.mantissa - 1, type), code)
    elif form.overflow == "greatest":
        # Where there is no NaN it becomes a zero, of the other sign.
        code = f.select(nan, constant(0, type), f.select(exceeds, constant(most, type), code))
        sign = f.binary("xor", sign, f.convert("zext", nan, I32))
    signed_code = f.binary("or", code, f.binary("shl", sign, constant(form.bits - 1, type)))
    if form.unsigned_zero:
        signed_code = f.select(f.compare("eq", code, constant(0, type)), code, signed_code)
    if form.nan is not None and not form.infinite:
        lost = f.binary("or", exceeds, nan)
        only = constant(form.nan, type)
        keep = (
            only if form.unsigned_zero else f.binary("or", only, f.binary("shl", sign, constant(form.bits - 1, type)))
        )
        signed_code = f.select(lost, keep, signed_code)
    return f.convert("trunc", signed_code, storage)


def _pattern(form: Narrow, value: float) -> int:
    """The bits of a normal number that the format holds."""
    exponent, mantissa = 0, value
    while mantissa >= 2:
        exponent, mantissa = exponent + 1, mantissa / 2
    return (exponent + form.bias) << form.mantissa | int((mantissa - 1) * (1 << form.mantissa))


def _decode_scale(f: Function, stored: Value) -> Value:
    """float8e8m0: a power of two, `2^(x - 127)`; 255 is NaN."""
    wide = f.convert("zext", stored, I32)
    type = wide.type
    bits = f.binary("shl", wide, constant(23, type))
    bits = f.select(f.compare("eq", wide, constant(0, type)), constant(1 << 22, type), bits)
    bits = f.select(f.compare("eq", wide, constant(255, type)), constant(0x7FC00000, type), bits)
    return f.bitcast(bits, type.like("float"))


def _encode_scale(f: Function, value: Value) -> Value:
    """To the nearest power of two (half way goes to the even exponent); what is not positive and finite is NaN."""
    type = value.type.like("i32")
    bits = f.bitcast(value, type)
    low = f.binary("and", f.binary("lshr", bits, constant(23, type)), constant(1, type))
    rounded = f.binary("lshr", f.add(f.add(bits, constant((1 << 22) - 1, type)), low), constant(23, type))
    bad = f.compare("uge", rounded, constant(255, type))
    # As integers, for a number too small for a normal float is none for the processor here.
    bad = f.binary("or", bad, f.compare("sle", bits, constant(0, type)))
    return f.convert("trunc", f.select(bad, constant(255, type), rounded), I8)
