"""Markup made of escaped parts: the only place where an element is written by hand."""

from __future__ import annotations

from markupsafe import Markup, escape

from .words import clean


def tag(name: str, *children: str | Markup, **attributes: object) -> Markup:
    """An element. Text is cleaned and escaped; underscores in attribute names become dashes, a trailing one is dropped."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(clean(_written(value)))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(child if isinstance(child, Markup) else escape(clean(child)) for child in children)
    return Markup(f"<{name}{written}>{inner}</{name}>")  # noqa: S704 - every part was escaped above


def _written(value: object) -> object:
    return f"{round(value, 1):g}" if isinstance(value, float) else value


def path(points: list[tuple[float, float]], *, close: bool = False) -> str:
    """Path data of straight segments."""
    text = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f"{text} Z" if close else text


def rounded(points: list[tuple[float, float]], radius: float = 7) -> str:
    """Path data of a right-angled route with round corners."""
    if len(points) < 3:
        return path(points)
    text = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for before, at, after in zip(points, points[1:], points[2:], strict=False):
        a, b = _toward(at, before, radius), _toward(at, after, radius)
        text += f" L{a[0]:.1f} {a[1]:.1f} Q{at[0]:.1f} {at[1]:.1f} {b[0]:.1f} {b[1]:.1f}"
    return text + f" L{points[-1][0]:.1f} {points[-1][1]:.1f}"


def _toward(at: tuple[float, float], other: tuple[float, float], radius: float) -> tuple[float, float]:
    length = abs(other[0] - at[0]) + abs(other[1] - at[1])
    step = min(radius, length / 2) / length if length else 0
    return at[0] + (other[0] - at[0]) * step, at[1] + (other[1] - at[1]) * step
