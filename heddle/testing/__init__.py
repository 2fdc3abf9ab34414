"""The conformance kit: finds what a backend does wrong, from the conditions of its own patterns.

In a plugin's tests:

    from heddle.testing import conformance
    test_conformance = conformance("mine")
"""

from heddle.testing.cases import Case, draw_case
from heddle.testing.compare import difference, differences
from heddle.testing.conformance import conformance
from heddle.testing.drawing import ImpossibleError
from heddle.testing.examine import Finding, Outcome, Subject, examine
from heddle.testing.kit import Kit
from heddle.testing.report import LEAST, Report, Score

__all__ = [
    "LEAST",
    "Case",
    "Finding",
    "ImpossibleError",
    "Kit",
    "Outcome",
    "Report",
    "Score",
    "Subject",
    "conformance",
    "difference",
    "differences",
    "draw_case",
    "examine",
]
