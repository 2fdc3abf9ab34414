"""What every graph goes through before it is placed: passes from graph to graph, one to a file."""

from heddle.core.passes.bound_counts import COUNTED, bound_counts
from heddle.core.passes.captures import sink_constants
from heddle.core.passes.common_subexpressions import CommonSubexpressions
from heddle.core.passes.dead_code import dead_code
from heddle.core.passes.expand_composites import ExpandComposites
from heddle.core.passes.fold_constants import FoldConstants
from heddle.core.passes.fold_scales import fold_scales
from heddle.core.passes.identities import identities
from heddle.core.passes.infer_shapes import bind_shapes, infer_shapes, specialised
from heddle.core.passes.pipeline import PRIMITIVE, default_passes, optimize, outline_passes
from heddle.core.passes.take_branches import take_branches
from heddle.core.passes.unrolled import unrolled

__all__ = [
    "COUNTED",
    "PRIMITIVE",
    "CommonSubexpressions",
    "ExpandComposites",
    "FoldConstants",
    "bind_shapes",
    "bound_counts",
    "dead_code",
    "default_passes",
    "fold_scales",
    "identities",
    "infer_shapes",
    "optimize",
    "outline_passes",
    "sink_constants",
    "specialised",
    "take_branches",
    "unrolled",
]
