"""`heddle cache`: the compiled objects that are kept on disk, to list and to clean."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from heddle.commands.arguments import AsJson
from heddle.commands.display import OUT, print_json, print_table, size
from heddle.core import cache

app = typer.Typer(no_args_is_help=True, help="Show and clean the cache of compiled objects.")


@app.command("list")
def list_(json: AsJson = False) -> None:
    """List the objects, the least recently used first.

    HEDDLE_CACHE_DIR says where the cache is, HEDDLE_CACHE_BYTES how large it may become.

    Example:

        heddle cache list
    """
    entries = cache.entries()
    total = sum(entry.size for entry in entries)
    if json:
        objects = [{"key": entry.key, "bytes": entry.size, "used": entry.used} for entry in entries]
        print_json({"directory": str(cache.directory()), "bytes": total, "limit": cache.limit(), "objects": objects})
        return
    if entries:
        rows = [
            (entry.key[:16], size(entry.size), datetime.fromtimestamp(entry.used, UTC).strftime("%Y-%m-%d %H:%M:%S"))
            for entry in entries
        ]
        print_table("", ("object", "size", "last used (UTC)"), rows)
    OUT.print(
        f"{len(entries)} objects, {size(total)} of at most {size(cache.limit())}, in {cache.directory()}",
        highlight=False,
        markup=False,
    )


@app.command()
def clean(
    keep: int = typer.Option(0, min=0, help="Keep the most recently used objects up to so many bytes."),
    json: AsJson = False,
) -> None:
    """Remove objects; they are compiled again when they are needed.

    Example:

        heddle cache clean --keep 100000000
    """
    removed = cache.evict(keep) if keep else cache.clean()
    if json:
        print_json({"directory": str(cache.directory()), "removed": removed})
        return
    OUT.print(f"removed {removed} objects from {cache.directory()}", highlight=False, markup=False, soft_wrap=True)
