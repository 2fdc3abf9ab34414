"""Configurations: those that come with Heddle work, and those that cannot are refused with the reason."""

from __future__ import annotations

import dataclasses

import pytest
from heddle.core.errors import DeviceError
from heddle.hw.vta.config import config_names, load_config, parse_config


def test_the_reference_configuration_is_no_larger_than_vta() -> None:
    config = load_config("reference")
    assert (config.bi, config.bo, config.bus_bits) == (16, 16, 128)
    assert config.inp_depth * config.inp_bytes <= 32 * 1024
    assert config.wgt_depth * config.wgt_bytes <= 256 * 1024
    assert config.acc_depth * config.bo * 4 <= 128 * 1024
    assert config.uop_depth * config.uop_bits // 8 <= 32 * 1024


def test_at_least_four_configurations_and_some_not_square() -> None:
    configs = [load_config(name) for name in config_names()]
    assert len(configs) >= 4
    assert {config.bi > config.bo for config in configs if config.bi != config.bo} == {True, False}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bi": 12}, "bi is 12, expected a power of two of at least 4"),
        ({"bus_bits": 256}, "bus_bits is 256, expected 32 to 128: an instruction must be whole beats"),
        ({"bo": 8}, "bo makes vectors of 64 bits, less than a beat of 128: take a narrower bus"),
        ({"bi": 32}, "depthwise needs bi equal to bo, and they are 32 and 16: set depthwise = false"),
        ({"acc_depth": 1 << 17}, "ALU needs 130 bits, an instruction has 128: take smaller memories"),
        ({"uop_depth": 0.5}, "uop_depth is 0.5, expected int"),
        ({"bi": 128, "bo": 128}, "the array is 128 x 128, expected at most 64 x 64"),
        ({"read_window": 8}, "read_window is 8, expected at least 16 beats"),
        ({"clock_hz": 0}, "clock_hz is 0, expected a positive frequency"),
    ],
)
def test_impossible_configurations_are_refused(change: dict[str, int], reason: str) -> None:
    with pytest.raises(DeviceError) as error:
        dataclasses.replace(load_config("reference"), **change)
    assert str(error.value) == f"configuration reference: {reason}"


def test_unknown_keys_are_named() -> None:
    with pytest.raises(DeviceError, match=r"^configuration x: acc_depth is missing$"):
        parse_config("x", "bi = 16")
    with pytest.raises(DeviceError, match=r"^configuration huge: unknown, expected one of large, reference"):
        load_config("huge")


def test_the_digest_depends_on_hardware_only() -> None:
    config = load_config("reference")
    assert dataclasses.replace(config, name="other", clock_hz=1).digest() == config.digest()
    assert dataclasses.replace(config, queue_depth=32).digest() != config.digest()
