"""Decides which backend computes which part of a graph, and explains the decision."""

from heddle.partition.place import plan
from heddle.partition.plan import Plan
from heddle.partition.verify import verify_plan

__all__ = ["Plan", "plan", "verify_plan"]
