"""What every graph goes through before it is placed: passes from graph to graph, one to a file."""

from heddle.core.passes.captures import sink_constants
from heddle.core.passes.common_subexpressions import CommonSubexpressions
from heddle.core.passes.dead_code import dead_code
from heddle.core.passes.expand_composites import ExpandComposites
from heddle.core.passes.fold_constants import FoldConstants
from heddle.core.passes.fold_scales import fold_scales
from heddle.core.passes.identities import identities
from heddle.core.passes.infer_shapes import bind_shapes, infer_shapes
from heddle.core.passes.pipeline import PRIMITIVE, default_passes, optimize

__all__ = [
    "PRIMITIVE",
    "CommonSubexpressions",
    "ExpandComposites",
    "FoldConstants",
    "bind_shapes",
    "dead_code",
    "default_passes",
    "fold_scales",
    "identities",
    "infer_shapes",
    "optimize",
    "sink_constants",
]
