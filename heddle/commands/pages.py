"""What commands write of a plan: a page for a browser, an ONNX model of its regions."""

from __future__ import annotations

from pathlib import Path

from heddle.core.files import write_whole
from heddle.core.frontend.export import export_calls, export_regions
from heddle.outline import Outline
from heddle.outline_page import outline_page
from heddle.partition import Explanation, page


def write_page(path: Path, explanation: Explanation | Outline) -> None:
    """Write the explanation of a model as one page for a browser."""
    write_whole(path, page(explanation) if isinstance(explanation, Explanation) else outline_page(explanation))


def write_regions(path: Path, explanation: Explanation | Outline) -> None:
    """Write an ONNX model whose nodes are the regions of a plan, or of the plans of all parts and what joins them."""
    if isinstance(explanation, Outline):
        model = export_calls(explanation.calls, explanation.functions)
    else:
        plan = explanation.plan
        model = export_regions(plan.inline(), [(region.backend, region.body) for region in plan.regions])
    write_whole(path, model.SerializeToString())
