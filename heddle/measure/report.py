"""Comparisons for people: rows of a table, Markdown, and a plot of the ratios as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from heddle.measure.compare import Comparison, geometric_mean

_COLOURS = ("#3b6ea5", "#c8773a", "#5b8c5a", "#8a5a8c")
_LABEL, _SCALE, _BAR, _GAP, _TOP = 150, 420, 14, 12, 44


def columns(peers: Sequence[str]) -> tuple[str, ...]:
    """The heads of a table of comparisons."""
    heads = [head for peer in peers for head in (f"{peer} ms", "ratio", "difference")]
    return ("model", "MMAC", "heddle ms", "of peak", *heads)


def row(comparison: Comparison) -> tuple[str, ...]:
    """A comparison as a line of the table."""
    share = "-" if comparison.peak_share is None else f"{comparison.peak_share:.0%}"
    cells = [comparison.model, f"{comparison.work.total / 1e6:.1f}", f"{comparison.seconds['heddle'] * 1e3:.3f}", share]
    for peer in comparison.peers:
        ratio, away = comparison.ratio(peer), comparison.differences[peer]
        cells += [f"{comparison.seconds[peer] * 1e3:.3f}", f"{ratio:.2f}", f"{away:.1e}"]
    return tuple(cells)


def means(comparisons: Sequence[Comparison]) -> dict[str, float]:
    """The geometric mean of the ratios to each peer, of the models that multiply floats."""
    floats = [each for each in comparisons if not each.work.bytes]
    if not floats:
        return {}
    return {peer: geometric_mean([each.ratio(peer) for each in floats]) for peer in floats[0].peers}


def markdown(comparisons: Sequence[Comparison]) -> str:
    """The table in Markdown."""
    heads = columns(comparisons[0].peers)
    lines = [heads, ("---", *("---:" for _ in heads[1:])), *map(row, comparisons)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def svg(comparisons: Sequence[Comparison]) -> str:
    """A plot: how many times as long as Heddle each peer takes, a bar for each; the line is Heddle's own time."""
    peers = comparisons[0].peers
    most = max([1.0, *(each.ratio(peer) for each in comparisons for peer in each.peers)])
    scale, step = _SCALE / most, max(1, len(peers)) * _BAR + _GAP
    width, height = _LABEL + _SCALE + 60, _TOP + step * len(comparisons) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_LABEL}" y="16">time relative to Heddle (longer: Heddle is faster)</text>',
    ]
    for number, peer in enumerate(peers):
        x = _LABEL + 130 * number
        parts.append(f'<rect x="{x}" y="24" width="10" height="10" fill="{_COLOURS[number % len(_COLOURS)]}"/>')
        parts.append(f'<text x="{x + 15}" y="33">{escape(peer)}</text>')
    for line, each in enumerate(comparisons):
        top = _TOP + line * step
        middle = top + max(1, len(peers)) * _BAR / 2 + 4
        parts.append(f'<text x="{_LABEL - 8}" y="{middle:g}" text-anchor="end">{escape(each.model)}</text>')
        for number, peer in enumerate(peers):
            y, ratio = top + number * _BAR, each.ratio(peer)
            fill = _COLOURS[number % len(_COLOURS)]
            parts.append(f'<rect x="{_LABEL}" y="{y}" width="{ratio * scale:.1f}" height="{_BAR - 2}" fill="{fill}"/>')
            parts.append(f'<text x="{_LABEL + ratio * scale + 5:.1f}" y="{y + 11}">{ratio:.2f}</text>')
    mark = _LABEL + scale
    parts.append(f'<line x1="{mark:.1f}" y1="{_TOP - 4}" x2="{mark:.1f}" y2="{height - 4}" stroke="#222222"/>')
    return "\n".join([*parts, "</svg>\n"])
