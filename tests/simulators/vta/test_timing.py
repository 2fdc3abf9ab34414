"""The RTL's timing changes only on purpose: counters of random programs against a file of expected ones.

`python tests/simulators/vta/test_timing.py` writes the file anew.
"""

from __future__ import annotations

from pathlib import Path

from heddle.hw.vta.config import load_config
from heddle.simulators.vta.mutate import observe
from heddle.simulators.vta.rtl import build_rtl

EXPECTED = Path(__file__).with_name("expected_counters.txt")


def counters() -> str:
    """A line of counters for each of some random programs on two configurations."""
    lines = []
    for name in ("tiny", "reference"):
        config = load_config(name)
        model = build_rtl(config)
        for seed in range(20):
            values = observe(config, model, seed)[1]
            lines.append(f"{name} {seed}: " + " ".join(str(value) for value in values.values()))
    return "\n".join(lines) + "\n"


def test_the_timing_of_the_rtl_is_as_expected() -> None:
    assert counters() == EXPECTED.read_text()


if __name__ == "__main__":
    EXPECTED.write_text(counters())
