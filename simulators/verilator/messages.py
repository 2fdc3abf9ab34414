"""Verilator's messages as values, and as text with the source line that each is about."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_HEAD = re.compile(
    r"%(?P<level>Error|Warning)(?:-(?P<code>\w+))?: (?:(?P<file>[^:\n]+):(?P<line>\d+):(?P<column>\d+): )?(?P<text>.*)"
)


@dataclass(frozen=True)
class Message:
    """One finding: `code` is Verilator's name of the rule (WIDTHTRUNC), empty for plain errors."""

    level: str
    code: str
    file: str
    line: int
    column: int
    text: str
    excerpt: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.file else ""
        rule = f" [{self.code}]" if self.code else ""
        return f"{place}{self.level}: {self.text}{rule}" + (f"\n{self.excerpt}" if self.excerpt else "")


def parse_messages(output: str) -> tuple[Message, ...]:
    """The findings in what Verilator printed, in its order, without its advice how to silence them."""
    found: list[Message] = []
    pending: re.Match[str] | None = None
    excerpt: list[str] = []

    def finish() -> None:
        if pending is not None and not pending["text"].startswith("Exiting due to"):
            found.append(
                Message(
                    pending["level"].lower(), pending["code"] or "", pending["file"] or "", int(pending["line"] or 0),
                    int(pending["column"] or 0), pending["text"], "\n".join(excerpt),
                )
            )  # fmt: skip

    for line in output.splitlines():
        head = _HEAD.match(line)
        if head:
            finish()
            pending, excerpt = head, []
        elif pending is not None and re.match(r"\s*\d* \| ", line):
            excerpt.append(line)
    finish()
    return tuple(found)


def show_messages(messages: Iterable[Message], limit: int = 20) -> str:
    """The findings as text, the errors before the warnings; past `limit` only their number."""
    ordered = sorted(messages, key=lambda message: message.level != "error")
    shown = [str(message) for message in ordered[:limit]]
    if len(ordered) > limit:
        shown.append(f"... and {len(ordered) - limit} more")
    return "\n".join(shown)
