"""One definition per operator: its type rule and its meaning in numpy, a file per family."""

from heddle.core.ops import activation as activation
from heddle.core.ops import arithmetic as arithmetic
from heddle.core.ops import attention as attention
from heddle.core.ops import bounded as bounded
from heddle.core.ops import cast as cast
from heddle.core.ops import contrib as contrib
from heddle.core.ops import control as control
from heddle.core.ops import convolution as convolution
from heddle.core.ops import generators as generators
from heddle.core.ops import indexing as indexing
from heddle.core.ops import logic as logic
from heddle.core.ops import loss as loss
from heddle.core.ops import matmul as matmul
from heddle.core.ops import movement as movement
from heddle.core.ops import normalization as normalization
from heddle.core.ops import pooling as pooling
from heddle.core.ops import quantization as quantization
from heddle.core.ops import recurrent as recurrent
from heddle.core.ops import reduction as reduction
from heddle.core.ops import resizing as resizing
from heddle.core.ops import sampling as sampling
from heddle.core.ops import sequences as sequences
from heddle.core.ops import slicing as slicing
from heddle.core.ops import sorting as sorting
from heddle.core.ops import spectral as spectral
from heddle.core.ops import text as text
from heddle.core.ops.registry import (
    OPERATORS,
    REQUIRED,
    Operand,
    Operator,
    Reduction,
    attributes_of,
    evaluate_node,
    infer_node,
    operator,
    trace,
)

__all__ = [
    "OPERATORS",
    "REQUIRED",
    "Operand",
    "Operator",
    "Reduction",
    "attributes_of",
    "evaluate_node",
    "infer_node",
    "operator",
    "trace",
]
