"""The intermediate representation: values, nodes and graphs; their text form; the rules that every graph obeys."""

from heddle.core.ir.graph import Attribute, Graph, Node, Value
from heddle.core.ir.names import Names
from heddle.core.ir.parser import parse
from heddle.core.ir.passes import Pass, Phase
from heddle.core.ir.types import Dim, OptionalType, SequenceType, TensorType, Type, dtype_name, dtype_named, tensor
from heddle.core.ir.verify import verify

__all__ = [
    "Attribute",
    "Dim",
    "Graph",
    "Names",
    "Node",
    "OptionalType",
    "Pass",
    "Phase",
    "SequenceType",
    "TensorType",
    "Type",
    "Value",
    "dtype_name",
    "dtype_named",
    "parse",
    "tensor",
    "verify",
]
