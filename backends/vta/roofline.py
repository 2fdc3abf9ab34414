"""Layers beside what the array and the memory allow: a roofline as SVG, and a page with it and a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from heddle.backends.vta.timeline import LayerTime

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 420, 60, 46, 20
COLOURS = {"conv": "#2a6fbb", "depthwise": "#c2571a", "other": "#777777"}


def roofline_svg(layers: Sequence[LayerTime], bytes_per_cycle: int) -> str:
    """Multiply-accumulates per cycle over multiply-accumulates per byte of traffic, both logarithmic, as SVG.

    The roof is the bandwidth of the memory, then the peak of the array. Layers without multiply-accumulates are left
    out; the title of each dot names its layer.
    """
    dots = [layer for layer in layers if layer.macs and layer.cycles]
    peak = max((layer.peak for layer in dots), default=1)
    lowest = min([1.0, *(layer.macs / layer.cycles for layer in dots)])
    xs = [layer.intensity for layer in dots] + [peak / bytes_per_cycle]
    low, high = math.floor(math.log2(min(xs))) - 1, math.ceil(math.log2(max(xs))) + 1
    floor, top = math.floor(math.log2(lowest)) - 1, math.ceil(math.log2(peak)) + 0.3

    def x(intensity: float) -> float:
        return LEFT + (math.log2(intensity) - low) / (high - low) * (WIDTH - LEFT - 20)

    def y(rate: float) -> float:
        return HEIGHT - BOTTOM - (math.log2(rate) - floor) / (top - floor) * (HEIGHT - BOTTOM - TOP)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">']
    parts.append(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>')
    for power in range(low, high + 1):
        parts.append(_line(x(2.0**power), y(2.0**floor), x(2.0**power), TOP, "#eeeeee"))
        parts.append(_text(x(2.0**power), HEIGHT - BOTTOM + 14, _number(power), "middle"))
    for power in range(floor, math.floor(top) + 1):
        parts.append(_line(LEFT, y(2.0**power), WIDTH - 20, y(2.0**power), "#eeeeee"))
        parts.append(_text(LEFT - 6, y(2.0**power) + 3, _number(power), "end"))
    ridge, start = peak / bytes_per_cycle, max(2.0**low, 2.0**floor / bytes_per_cycle)
    parts.append(_line(x(start), y(start * bytes_per_cycle), x(ridge), y(peak), "black"))
    parts.append(_line(x(ridge), y(peak), WIDTH - 20, y(peak), "black"))
    for layer in dots:
        colour = COLOURS["depthwise" if layer.depthwise else layer.kind if layer.kind in COLOURS else "other"]
        title = f"{layer.name}: {layer.cycles} cycles, {100 * layer.utilisation:.1f}% of peak"
        parts.append(
            f'<circle cx="{x(layer.intensity):.1f}" cy="{y(layer.macs / layer.cycles):.1f}" r="4" fill="{colour}" '
            f'fill-opacity="0.7"><title>{escape(title)}</title></circle>'
        )
    parts.append(_text((LEFT + WIDTH) / 2, HEIGHT - 10, "multiply-accumulates per byte of memory traffic", "middle"))
    parts.append(_text(LEFT, TOP - 6, f"multiply-accumulates per cycle (peak {peak})", "start"))
    return "\n".join([*parts, "</svg>"])


def page(title: str, layers: Sequence[LayerTime], bytes_per_cycle: int) -> str:
    """A page of HTML that needs nothing else: the roofline, and each layer's cycles, waiting and traffic."""
    cycles, macs = sum(layer.cycles for layer in layers), sum(layer.macs for layer in layers)
    peak = max((layer.peak for layer in layers), default=1)
    heads = (
        "layer", "nodes", "kind", "cycles", "% of peak", "array", "ALU", "waits for data",
        "for room", "read", "written",
    )  # fmt: skip
    rows = [
        (
            layer.name, ", ".join(layer.nodes), "depthwise" if layer.depthwise else layer.kind, f"{layer.cycles:,}",
            f"{100 * layer.utilisation:.1f}" if layer.macs else "", f"{layer.gemm:,}", f"{layer.alu:,}",
            f"{layer.wait_load:,}", f"{layer.wait_store:,}", f"{layer.read_bytes:,}", f"{layer.written_bytes:,}",
        )
        for layer in layers
    ]  # fmt: skip
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
    return (
        f"<!doctype html><meta charset='utf-8'><title>{escape(title)}</title>"
        "<style>body{font:14px sans-serif;margin:2em}td,th{padding:2px 8px;text-align:right}"
        "td:nth-child(-n+3),th:nth-child(-n+3){text-align:left}svg{max-width:900px}</style>"
        f"<h1>{escape(title)}</h1><p>{cycles:,} cycles, {macs:,} multiply-accumulates, "
        f"{100 * macs / max(cycles * peak, 1):.1f}% of the array's peak.</p>"
        f"{roofline_svg(layers, bytes_per_cycle)}"
        f"<table><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>\n{body}</table>\n"
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="11" text-anchor="{anchor}">{escape(text)}</text>'


def _number(power: int) -> str:
    return str(2**power) if power >= 0 else f"1/{2**-power}"
