"""The drawing of edgerec's packages, made from the imports in its code.

A package stands below all those that it imports. Only arrows that tell something are drawn: one that a longer way of
arrows already implies is left out, and listed when the mouse is over the package.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeAlias

ROOT: Final = Path(__file__).parents[1]
Graph: TypeAlias = Mapping[str, Sequence[str]]
"""Package -> the packages that it imports, in the order of the table."""
WIDTH, HEIGHT, ROW, MARGIN = 108, 30, 66, 12
STYLE: Final = """
    text { font: 13px system-ui, sans-serif; fill: #24292f; text-anchor: middle }
    rect { fill: #d8f3ee; stroke: #00897b; stroke-width: 1.5 }
    path { fill: none; stroke: #8c959f; stroke-width: 1.3 }
    .climbs { stroke: #cf222e; stroke-width: 2.5 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      rect { fill: #0d3b36; stroke: #4db6ac }
      path { stroke: #6e7681 }
    }
"""


def order() -> list[str]:
    """The packages in the order of CONTRIBUTING's table."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return [name.removesuffix(".py") for name in re.findall(r"^\| `([\w.]+)` \|", text, re.MULTILINE)]


def imports(package: Path = ROOT / "edgerec") -> Graph:
    """Who imports whom, anywhere in a module."""
    names = order()
    imported: dict[str, set[str]] = {name: set() for name in names}
    for path in package.rglob("*.py"):
        importer = path.relative_to(package).with_suffix("").parts[0]
        if importer in imported:
            imported[importer] |= {name for name in _imported(path) if name != importer}
    return {name: [other for other in names if other in imported[name]] for name in names}


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        for module in modules:
            root, _, rest = module.partition(".")
            if root == "edgerec" and rest:
                yield rest.partition(".")[0]


def drawing(graph: Graph) -> str:
    """The graph as SVG. An import of a package further down the table is red."""
    rank = {name: i for i, name in enumerate(graph)}
    down = {name: [other for other in others if rank[other] < rank[name]] for name, others in graph.items()}
    arrows = _telling(down)
    layers = _layers(down, arrows)
    widest = max(map(len, layers))
    place = {
        node: (MARGIN + (WIDTH + 18) * (i + (widest - len(layer)) / 2) + WIDTH / 2, MARGIN + ROW * depth + HEIGHT / 2)
        for depth, layer in enumerate(layers)
        for i, node in enumerate(layer)
    }
    lines = [_arrow([place[node] for node in way]) for way in _ways(down, arrows)]
    lines += [
        _arrow([place[name,], place[other,]], "climbs")
        for name, others in graph.items()
        for other in others
        if rank[other] > rank[name]
    ]
    boxes = [_box(name, *place[name,], graph[name]) for name in graph]
    size = f"{2 * MARGIN + widest * (WIDTH + 18) - 18:g} {2 * MARGIN + ROW * len(layers) - ROW + HEIGHT:g}"
    body = "\n".join(f"  {line}" for line in (*lines, *boxes))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}">\n  <style>{STYLE}  </style>\n{body}\n</svg>\n'
    )


Node: TypeAlias = tuple[str, ...]
"""(package,), or (importer, imported, depth) where an arrow passes a layer."""


def _telling(graph: Graph) -> Graph:
    """Without the imports that others imply."""

    @cache
    def reached(name: str) -> frozenset[str]:
        return frozenset(graph[name]).union(*map(reached, graph[name]))

    return {
        name: [other for other in others if not any(other in reached(third) for third in others if third != other)]
        for name, others in graph.items()
    }


def _depths(graph: Graph) -> dict[str, int]:
    depths: dict[str, int] = {}
    for name, others in graph.items():
        depths[name] = 1 + max((depths[other] for other in others), default=-1)
    return depths


def _ways(graph: Graph, arrows: Graph) -> list[list[Node]]:
    """Each arrow from importer to imported, through every layer between."""
    depths = _depths(graph)
    return [
        [(name,), *((name, other, str(d)) for d in range(depths[name] - 1, depths[other], -1)), (other,)]
        for name, others in arrows.items()
        for other in others
    ]


def _layers(graph: Graph, arrows: Graph) -> list[list[Node]]:
    """Nodes by depth, each near those that it is joined with (sweeps of barycentres; Sugiyama et al., 1981)."""
    depths = _depths(graph)
    layers: list[list[Node]] = [[] for _ in range(1 + max(depths.values()))]
    joined: dict[Node, list[Node]] = {(name,): [] for name in graph}
    for name, depth in depths.items():
        layers[depth].append((name,))
    for way in _ways(graph, arrows):
        for node in way[1:-1]:
            layers[int(node[2])].append(node)
        for one, other in pairwise(way):
            joined.setdefault(one, []).append(other)
            joined.setdefault(other, []).append(one)
    for _ in range(24):
        for layer in (*layers, *reversed(layers)):
            at = {node: i - len(row) / 2 for row in layers for i, node in enumerate(row)}
            layer.sort(key=lambda node: sum(at[other] for other in joined[node]) / max(1, len(joined[node])))
    return layers


def _arrow(points: Sequence[tuple[float, float]], kind: str = "") -> str:
    (x, y), *rest = points
    path = f"M{x:g} {y - HEIGHT / 2:g}"
    for i, (to_x, to_y) in enumerate(rest, 1):
        start, end = y - HEIGHT / 2, to_y + HEIGHT / 2
        middle = (start + end) / 2
        path += f"C{x:g} {middle:g} {to_x:g} {middle:g} {to_x:g} {end:g}"
        if i < len(rest):
            path += f"V{to_y - HEIGHT / 2:g}"
        x, y = to_x, to_y
    path += "m-4 6l4 -6l4 6"
    return f'<path class="{kind}" d="{path}"/>' if kind else f'<path d="{path}"/>'


def _box(name: str, x: float, y: float, imported: Sequence[str]) -> str:
    title = f"{name} imports {', '.join(imported) or 'nothing'}"
    box = f'<rect x="{x - WIDTH / 2:g}" y="{y - HEIGHT / 2:g}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
    return f'<g><title>{title}</title>{box}<text x="{x:g}" y="{y + 5:g}">{name}</text></g>'
