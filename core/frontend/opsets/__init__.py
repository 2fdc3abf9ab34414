"""How older forms of operators become the newest: one table, filled by a file per kind of change.

A rule `(version, upgrade)` of an operator rewrites a call written for an opset below `version` into the form of that
opset. It may first emit other nodes; what it returns is the call that binds the results. Rules follow one another,
also across a change of the operator's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from heddle.core.frontend.builder import Builder, Call
from heddle.core.frontend.opsets import control, inputs, meanings

Upgrade = Callable[[Call, Builder], Call]

_TABLES: tuple[Mapping[str, tuple[tuple[int, Upgrade], ...]], ...] = (inputs.RULES, meanings.RULES, control.RULES)

RULES: dict[str, tuple[tuple[int, Upgrade], ...]] = {
    name: tuple(sorted((rule for table in _TABLES for rule in table.get(name, ())), key=lambda rule: rule[0]))
    for name in sorted({name for table in _TABLES for name in table})
}

OLDEST = 7
"""The oldest opset of the default domain that is read."""


def upgrade(call: Call, version: int, builder: Builder) -> Call:
    """The call in the current form, from its form in this version of its domain's opset."""
    while True:
        rule = next(((until, step) for until, step in RULES.get(call.op, ()) if until > version), None)
        if rule is None:
            return call
        version, step = rule
        call = step(call, builder)
