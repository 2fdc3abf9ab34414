"""Decides which backend computes which part of a graph, and explains the decision."""

from heddle.partition.demands import Demands
from heddle.partition.explain import Account, Alternative, Counterfactual, Explanation, Obstacle, explain
from heddle.partition.page import page
from heddle.partition.place import PLACES, plan
from heddle.partition.plan import Plan
from heddle.partition.pricing import PlanPrice, RegionPrice
from heddle.partition.verify import verify_plan

__all__ = [
    "PLACES",
    "Account",
    "Alternative",
    "Counterfactual",
    "Demands",
    "Explanation",
    "Obstacle",
    "Plan",
    "PlanPrice",
    "RegionPrice",
    "explain",
    "page",
    "plan",
    "verify_plan",
]
