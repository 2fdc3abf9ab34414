"""What commands print: tables and progress for people on a terminal, JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from heddle.core.dtypes import dtype_name
from heddle.core.runtime.memory import MemoryUse
from heddle.core.runtime.summary import Summary

OUT, ERR = Console(), Console(stderr=True)


def print_json(value: Any) -> None:
    """A value as JSON, and nothing else, on standard output."""
    print(json.dumps(value, indent=2))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table; texts are printed as they are, whatever marks they contain."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    OUT.print(table)


def print_regions(summary: Summary) -> None:
    """Where each part of a compiled model runs."""
    rows = [
        (
            region.name,
            region.backend,
            region.device,
            str(len(region.nodes)),
            shorten(", ".join(region.nodes)),
            size(region.code_bytes),
            size(region.constant_bytes),
        )
        for region in summary.regions
    ]
    columns = ("region", "backend", "device", "nodes", "of the model", "code", "constants")
    print_table("", columns, rows)
    for stage in summary.stages:
        OUT.print(stage, highlight=False, markup=False, soft_wrap=True)


def print_arrays(arrays: Iterable[tuple[str, NDArray[Any]]]) -> None:
    """Name, type and a glance at each array."""
    rows = [
        (name, f"{dtype_name(array.dtype)}[{','.join(map(str, array.shape))}]", glance(array)) for name, array in arrays
    ]
    print_table("", ("output", "type", "values"), rows)


def glance(array: NDArray[Any]) -> str:
    """The first values of an array."""
    first = array.reshape(-1)[:6]
    text = ", ".join(f"{float(value):.4g}" if first.dtype.kind in "fV" else str(value) for value in first)
    return text + (", ..." if array.size > len(first) else "")


def print_memory(use: MemoryUse) -> None:
    """What of the host's memory an executable needs."""
    parts = [f"{name} {size(count)}" for name, count in use.json().items() if count and name != "peak"]
    OUT.print(f"memory: {', '.join(parts)}; at most {size(use.peak)} at once", highlight=False)


def size(count: float) -> str:
    """Bytes for people: `3.4 MiB`."""
    if count < 1024:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB"):
        count /= 1024
        if count < 1024:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} GiB"


def shorten(text: str, width: int = 48) -> str:
    """The text, or its beginning and dots."""
    return text if len(text) <= width else text[: width - 3] + "..."


def numbers(arrays: Iterable[tuple[str, NDArray[Any]]]) -> dict[str, dict[str, Any]]:
    """Types and simple figures of arrays, as a value for JSON."""
    found = {}
    for name, array in arrays:
        entry: dict[str, Any] = {"dtype": dtype_name(array.dtype), "shape": list(array.shape)}
        if array.size and array.dtype.kind in "fiub":
            wide = array.astype(np.float64)
            entry |= {"min": float(wide.min()), "max": float(wide.max()), "mean": float(wide.mean())}
        found[name] = entry
    return found


@contextmanager
def progress(label: str) -> Iterator[Any]:
    """A progress bar on standard error while the block runs; gives what `heddle.compile` calls."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[part]}"))
    with Progress(*columns, console=ERR, transient=True) as bar:
        task = bar.add_task(label, total=1, part="")

        def advance(what: str, done: int, total: int) -> None:
            part = f"{done}/{total} regions" if what == "compile" else ""
            bar.update(task, description=f"{label}: {what}", completed=done, total=max(1, total), part=part)

        yield advance
