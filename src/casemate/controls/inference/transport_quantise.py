"""Let only a grid of values through to the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...core.control import control
from ...core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Grid:
    """Round every value to the nearest of `levels` evenly spaced ones; arrays and tensors alike."""

    levels: int
    low: float
    high: float

    def __call__(self, x: Any) -> Any:
        step = (self.high - self.low) / (self.levels - 1)
        return ((x.clip(self.low, self.high) - self.low) / step).round() * step + self.low


@control(
    "inference.transport_quantise",
    knows=("evasion.pgd", "evasion.apgd_ce", "evasion.square"),
    threats=("EV-01", "EV-02", "EV-03", "EV-04"),
    side_effects="detail finer than the grid is lost to honest callers too",
)
class TransportQuantise:
    """Round inputs to a grid before anything else sees them.

    Rounding has no useful gradient, and an attack that took it literally would stop at once: a fake defence. So the
    stage declares a straight-through backward pass, and plain `evasion.pgd` is the attack that knows it (BPDA). A
    change larger than half a step of the grid goes through.

    Args:
        levels: Values of the grid, at least 2; 256 is what an 8-bit image carries.
        low, high: The first and the last of them, in the deployed input's own units.
    """

    levels: int = 256
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.levels, bool) or not isinstance(self.levels, int) or self.levels < 2:
            raise UsageError(f"levels={self.levels!r} is not allowed; give a whole number from 2")
        if not self.low < self.high:
            raise UsageError(f"low={self.low!r}, high={self.high!r}: the grid is empty; low must be below high")

    def harden_target(self, target: Any) -> Any:
        """The target with the grid in front, or behind the sensor where there is one: transport follows it."""
        from ...targets.pipeline import Stage

        if not hasattr(target, "stages") or not hasattr(target, "replace"):
            raise UsageError(f"cannot harden: {type(target).__name__} has no stages; wrap the model with casemate.wrap")
        stages = tuple(target.stages)
        place = max((i + 1 for i, stage in enumerate(stages) if stage.kind == "sensor"), default=0)
        grid = Stage(
            name="transport_quantise",
            kind="quantise",
            forward=Grid(self.levels, self.low, self.high),
            backward="straight_through",
            params={"levels": self.levels, "low": self.low, "high": self.high},
        )
        return target.replace(stages=(*stages[:place], grid, *stages[place:]))
