"""The outline of a model that is compiled part by part as one HTML page that needs nothing else."""

from __future__ import annotations

from html import escape

from heddle.outline import Outline, StageAccount
from heddle.partition import Explanation, page

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Heddle: what runs when</title>
<style>
  :root { color-scheme: light; font: 14px/1.45 system-ui, sans-serif; color: #1d2530; background: #fff }
  body { margin: 1rem } h1 { font-size: 1rem } li { margin: .4rem 0; overflow-wrap: anywhere }
  summary { cursor: pointer } .wait { color: #566070 }
  iframe { width: 100%; height: 40rem; border: 1px solid #d5dae1; margin-top: .4rem }
</style>
</head>
<body>
"""


def outline_page(outline: Outline) -> str:
    """A page with every stage in order, and inside each part that is known the page of its own plan."""
    stages = "\n".join(map(_stage, outline.stages))
    return f"{_HEAD}<h1>{escape(str(outline).splitlines()[0])}</h1>\n<ol>\n{stages}\n</ol>\n</body>\n</html>\n"


def _stage(stage: StageAccount) -> str:
    where = "".join(f"{escape(step)}: " for step in stage.path)
    text = where + escape(stage.title)
    if stage.waits:
        text += f' <span class="wait">compiled when {escape(" and ".join(stage.waits))}</span>'
    if isinstance(stage.known, Explanation):
        frame = f'<iframe title="{escape(stage.title)}" srcdoc="{escape(page(stage.known))}"></iframe>'
        text = f"<details><summary>{text}</summary>{frame}</details>"
    return f"<li>{text}</li>"
