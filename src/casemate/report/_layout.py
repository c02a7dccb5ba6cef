"""A small layered layout: columns by distance from the sources, lanes by zone, arrows in the gaps between boxes.

Boxes sit on a grid, so they cannot overlap; arrows turn only in the gaps of that grid, so they cannot cross a box.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BOX_W, PAD, HEAD = 136.0, 18.0, 34.0
ROW_GAP = 34.0
_TRACK = 7.0
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Link:
    """An arrow to lay out."""

    id: str
    start: str
    end: str


@dataclass(frozen=True, slots=True)
class Box:
    id: str
    lane: str
    x: float
    y: float
    w: float
    h: float


@dataclass(frozen=True, slots=True)
class Arrow:
    """A routed link; the label belongs at `label`, on the last stretch before its end."""

    id: str
    points: tuple[Point, ...]
    label: Point


@dataclass(frozen=True, slots=True)
class Lane:
    id: str
    y: float
    h: float


@dataclass(frozen=True, slots=True)
class Layout:
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    lanes: tuple[Lane, ...]
    width: float
    height: float


def arrange(
    lane_of: Mapping[str, str], links: Sequence[Link], lanes: Sequence[str], *, first: Sequence[str] = (), gap: float = 118.0
) -> Layout:
    """Place every node of `lane_of` and route every link. Links to nodes that are not there are left out.

    Circles are opened at the arrows that lead back into the nodes of `first`.
    """
    links = [link for link in links if link.start in lane_of and link.end in lane_of]
    layer = layers([*(n for n in first if n in lane_of), *(n for n in lane_of if n not in first)], links)
    slots = _slots(lane_of, links, layer, lanes)
    degree: dict[tuple[str, str], int] = defaultdict(int)
    for link in links:
        degree[("out", link.start)] += 1
        degree[("in", link.end)] += 1
    height = min(150.0, max(56.0, 17.0 * (max(degree.values(), default=0) + 1)))
    bands, y = [], 0.0
    for lane in lanes:
        rows = 1 + max((slots[n] for n in lane_of if lane_of[n] == lane), default=-1)
        if rows:
            size = HEAD + rows * (height + ROW_GAP)
            bands.append(Lane(lane, y, size))
            y += size
    top = {band.id: band.y + HEAD for band in bands}
    last = max(layer.values(), default=0)
    # Room for arrows that come back to the first column, or leave the last one.
    left = PAD + (gap if any(layer[k.end] == 0 for k in links) else 0)
    right = PAD + (gap / 3 + 16 if any(layer[k.start] == last for k in links) else 0)
    boxes = {
        n: Box(n, lane_of[n], left + layer[n] * (BOX_W + gap), top[lane_of[n]] + slots[n] * (height + ROW_GAP), BOX_W, height)
        for n in lane_of
    }
    arrows = _routes(links, boxes, layer, gap, degree)
    return Layout(tuple(boxes.values()), arrows, tuple(bands), left + last * (BOX_W + gap) + BOX_W + right, y)


def layers(nodes: Sequence[str], links: Sequence[Link]) -> dict[str, int]:
    """The column of each node: the longest way from a source, with arrows that close a circle left aside."""
    onward: dict[str, list[str]] = defaultdict(list)
    for link in links:
        onward[link.start].append(link.end)
    order, state, forward = [], dict.fromkeys(nodes, 0), defaultdict(list)
    for root in nodes:
        stack = [(root, iter(onward[root]))] if not state[root] else []
        state[root] = state[root] or 1
        while stack:
            at, rest = stack[-1]
            after = next(rest, None)
            if after is None:
                state[at] = 2
                order.append(at)
                stack.pop()
            elif state[after] != 1:  # 1: on the current way, so this arrow goes back
                forward[at].append(after)
                if not state[after]:
                    state[after] = 1
                    stack.append((after, iter(onward[after])))
    layer = dict.fromkeys(nodes, 0)
    for at in reversed(order):
        for after in forward[at]:
            layer[after] = max(layer[after], layer[at] + 1)
    return layer


def _slots(lane_of: Mapping[str, str], links: Sequence[Link], layer: Mapping[str, int], lanes: Sequence[str]) -> dict[str, int]:
    """The row of each node within its lane, near the rows of its neighbours."""
    near: dict[str, list[str]] = defaultdict(list)
    for link in links:
        near[link.start].append(link.end)
        near[link.end].append(link.start)
    cells: dict[tuple[str, int], list[str]] = defaultdict(list)
    for node in lane_of:
        cells[(lane_of[node], layer[node])].append(node)
    rank = {lane: 100.0 * i for i, lane in enumerate(lanes)}
    slot = {node: i for cell in cells.values() for i, node in enumerate(cell)}
    for _ in range(4):
        for cell in cells.values():
            level = {n: _mean([rank[lane_of[m]] + slot[m] for m in near[n]], rank[lane_of[n]] + slot[n]) for n in cell}
            cell.sort(key=lambda n, level=level: (level[n], n))  # type: ignore[misc]
            slot.update({n: i for i, n in enumerate(cell)})
    return slot


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _routes(
    links: Sequence[Link], boxes: Mapping[str, Box], layer: Mapping[str, int], gap: float, degree: Mapping[tuple[str, str], int]
) -> tuple[Arrow, ...]:
    """Right-angled ways. Ports and tracks are handed out in order, so that parallel arrows stay apart."""
    used: dict[tuple[str, object], int] = defaultdict(int)

    def nth(kind: str, key: object) -> int:
        used[(kind, key)] += 1
        return used[(kind, key)] - 1

    def port(kind: str, box: Box) -> float:
        return box.y + box.h * (nth(kind, box.id) + 1) / (degree[(kind, box.id)] + 1)

    arrows = []
    across = max(1, int((gap / 3) // _TRACK))
    level = max(1, int((ROW_GAP - 12) // _TRACK))
    for link in sorted(links, key=lambda k: (layer[k.start], boxes[k.end].y, boxes[k.start].y, k.id)):
        a, b = boxes[link.start], boxes[link.end]
        start, end = (a.x + a.w, port("out", a)), (b.x, port("in", b))
        out = start[0] + 8 + _TRACK * (nth("x", layer[link.start]) % across)
        points: list[Point]
        if layer[link.end] == layer[link.start] + 1:
            points = [start, (out, start[1]), (out, end[1]), end]
        else:
            # Everything else travels in the gap above the row of its end, and enters from the left like the others.
            way = b.y - 7 - _TRACK * (nth("y", b.y) % level)
            into = b.x - gap + 8 + _TRACK * (nth("x", layer[link.end] - 1) % across)
            points = [start, (out, start[1]), (out, way), (into, way), (into, end[1]), end]
        arrows.append(Arrow(link.id, tuple(points), ((points[-2][0] + end[0]) / 2 - 3, end[1])))
    return tuple(arrows)
