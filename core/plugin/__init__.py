"""The contract with backends: what they are, what they receive, how they are found."""

from heddle.core.plugin.backend import API_LEVEL, Backend, Cost, NoOptions, Region

__all__ = ["API_LEVEL", "Backend", "Cost", "NoOptions", "Region"]
