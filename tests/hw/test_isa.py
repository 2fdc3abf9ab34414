"""The instruction set: text and bits are exact inverses, and what is generated is what is in the tree."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from heddle.core.errors import DeviceError
from heddle.hw.vta.assembly import assemble, disassemble, parse_instruction, print_instruction
from heddle.hw.vta.config import Config, config_names, load_config
from heddle.hw.vta.generate import outputs, system_verilog
from heddle.hw.vta.isa import TOKEN_BITS, Instruction, decode, encode, layout, make, opcodes, token_refusal
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]


@st.composite
def instructions(draw: st.DrawFn, config: Config) -> Instruction:
    name = draw(st.sampled_from(list(opcodes())))
    values = {bit: draw(st.integers(0, 1)) for bit in TOKEN_BITS}
    for entry, _, width in layout(config, name):
        low, high = (-(1 << width - 1), (1 << width - 1) - 1) if entry.signed else (0, (1 << width) - 1)
        values[entry.name] = draw(st.one_of(st.just(entry.default), st.integers(low, high)))
    return make(name, **values)


@pytest.mark.parametrize("name", config_names())
@given(data=st.data())
def test_bits_and_instructions_are_inverse(name: str, data: st.DataObject) -> None:
    config = load_config(name)
    instruction = data.draw(instructions(config))
    assert decode(config, encode(config, instruction)) == instruction


@given(data=st.data())
def test_text_and_instructions_are_inverse(data: st.DataObject) -> None:
    program = data.draw(st.lists(instructions(load_config("reference")), max_size=5))
    assert assemble(disassemble(program)) == program


@pytest.mark.parametrize("path", sorted(outputs()))
def test_generated_files_are_those_in_the_tree(path: str) -> None:
    assert (ROOT / path).read_text() == outputs()[path]


def test_fields_do_not_overlap_in_any_configuration() -> None:
    for name in config_names():
        for kind in opcodes():
            ends = [(low, low + width) for _, low, width in layout(load_config(name), kind)]
            assert all(a[1] == b[0] for a, b in pairwise(ends))


def test_assembly_reads_as_written() -> None:
    text = "LOAD mem=inp sram=128 base=2 offset=64 x=58 y=10 pop_next push_next"
    assert print_instruction(parse_instruction(text)) == text
    assert print_instruction(parse_instruction("  GEMM   overwrite op=max n2=0x10")) == "GEMM n2=16 op=max overwrite"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("LOAD x=1\nJUMP to=3", "line 2: JUMP: unknown instruction, expected one of " + ", ".join(opcodes())),
        ("SYNC unit=drain", "line 1: SYNC: unit is 'drain', expected load or compute or store"),
        ("PAD value", "line 1: PAD: value has no value, expected value=number"),
        ("LOAD x=1 x=2", "line 1: LOAD: x is given twice"),
        ("PAD depth=1", "line 1: PAD: field depth is unknown, expected one of x_before, x_after, y_before, y_after, "
         "z_before, z_after, value, pop_prev, pop_next, push_prev, push_next"),
    ],
)  # fmt: skip
def test_wrong_assembly_is_named(text: str, message: str) -> None:
    with pytest.raises(DeviceError) as error:
        assemble(text)
    assert str(error.value) == message


def test_values_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DeviceError, match=r"^PAD: value is 256, expected 0 to 255$"):
        encode(load_config("reference"), make("PAD", value=256))
    with pytest.raises(DeviceError, match=r"^SYNC: bits from 10 upward are reserved, and 0x1 is there$"):
        decode(load_config("reference"), 1 << 10 | 1)
    with pytest.raises(DeviceError, match=r"opcode 0 is unknown$"):
        decode(load_config("reference"), 0)


def test_token_bits_of_missing_neighbours_are_refused() -> None:
    refusal = token_refusal(make("LOAD", pop_prev=1))
    assert refusal == "pop_prev is set, and LOAD has no such neighbour"
    assert token_refusal(make("LOOP", push_next=1)) == "push_next is set, and LOOP carries no tokens"
    assert token_refusal(make("SYNC", unit="store", push_prev=1)) is None


def test_packages_differ_where_configurations_do() -> None:
    texts = {system_verilog(load_config(name)) for name in config_names()}
    assert len(texts) == len(config_names())
