"""Proves that a plan is legal: everything is computed once, in order, from what is there, and nothing is lost."""

from __future__ import annotations

from heddle.core.errors import GraphError
from heddle.core.ir import Graph, Value, verify
from heddle.core.pattern import FREE
from heddle.partition.plan import Plan, key_of


def verify_plan(plan: Plan, graph: Graph) -> Plan:
    """Return the plan when it is a legal partition of the graph; else raise GraphError with the plan in its notes.

    Legal: each body obeys the rules of graphs; each region reads only inputs and what earlier regions give, so that
    regions are convex and there is no cycle among them; each node is in one region, free ones in one or more;
    matches lie inside their region; the outputs are given; put together, the regions are the graph.
    """
    try:
        _verify_regions(plan)
        _verify_whole(plan, graph)
    except GraphError as error:
        error.add_note(f"in the plan:\n{plan}")
        raise
    return plan


def _verify_regions(plan: Plan) -> None:
    given: set[Value] = {*plan.inputs, *plan.constants}
    computed: dict[str, str] = {}
    for region in plan.regions:
        verify(region.body)
        for value in region.body.inputs:
            if value not in given:
                raise GraphError(f"region {region.name} reads {value}, which no region before it gives")
        for node in region.body.nodes:
            key = key_of(node)
            if key in computed and node.op not in FREE:
                raise GraphError(f"%{key} ({node.op}) is computed twice: by {computed[key]} and by {region.name}")
            computed[key] = region.name
        bodies = {key_of(node) for node in region.body.nodes}
        for match in region.matches:
            for node in match.nodes:
                if key_of(node) not in bodies:
                    raise GraphError(
                        f"region {region.name}: its match of {match.pattern.name} covers %{key_of(node)}, "
                        "which the region does not compute"
                    )
        given.update(region.body.outputs)
    for value in plan.outputs:
        if value not in given:
            raise GraphError(f"output {value} is given by no region")


def _verify_whole(plan: Plan, graph: Graph) -> None:
    computed = {key_of(node) for region in plan.regions for node in region.body.nodes}
    for node in graph.nodes:
        if key_of(node) not in computed:
            raise GraphError(f"%{key_of(node)} ({node.op}) is computed by no region")
    if plan.inline() != graph:
        raise GraphError("the regions, put together, are not the graph that was partitioned")
