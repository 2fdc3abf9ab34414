"""Decides which backend computes which part of a graph, and explains the decision."""

from heddle.partition.demands import Demands
from heddle.partition.place import PLACES, plan
from heddle.partition.plan import Plan
from heddle.partition.pricing import PlanPrice, RegionPrice
from heddle.partition.verify import verify_plan

__all__ = ["PLACES", "Demands", "Plan", "PlanPrice", "RegionPrice", "plan", "verify_plan"]
