"""The explanation of a plan as one HTML page that needs nothing else."""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files

from heddle.partition.drawing import layers
from heddle.partition.explain import Explanation
from heddle.partition.plan import key_of


def page(explanation: Explanation) -> str:
    """A page with the graph coloured by backend, zoom, search, and the account of each node."""
    graph = explanation.plan.inline()
    places = layers(graph)
    edges = [
        [key_of(graph.producers[value]), key_of(node)]
        for node in graph.nodes
        for value in dict.fromkeys(node.operands)
        if value in graph.producers
    ]
    data = {
        **explanation.to_json(),
        "summary": str(explanation.plan).splitlines()[0],
        "places": {key: [round(column, 2), layer] for key, (column, layer) in places.items()},
        "edges": edges,
    }
    # "</" would end the script element that carries the data.
    text = json.dumps(data, sort_keys=True).replace("</", "<\\/")
    template = (files("heddle.partition") / "page.html").read_text(encoding="utf-8")
    title = escape(graph.name or "a model")
    return template.replace("{{title}}", title).replace("{{data}}", text)
