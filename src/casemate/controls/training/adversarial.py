"""Train on the worst inputs nearby."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ...core.constraint import Ball
from ...core.control import control
from ...core.errors import UsageError, need
from ...core.target import Recipe, Target
from ._network import keywords

if TYPE_CHECKING:
    import torch


@control(
    "training.adversarial",
    knows=("evasion.pgd", "evasion.apgd_ce", "evasion.square"),
    threats=("EV-01", "EV-02", "EV-03", "EV-04"),
    side_effects="training takes about steps + 1 times as long, and clean accuracy falls",
    trains=True,
)
class Adversarial:
    """Train on PGD examples inside a ball (Madry et al. 2018, arXiv:1706.06083).

    The ball lies in the deployed input space: the recipe's ``fit`` must take a keyword ``perturb`` and call it as
    ``x = perturb(net, x, y)`` on each batch, with `net` from deployed inputs to logits, resizing and normalising
    included. The attack sees the network as deployed, in evaluation mode, so batch statistics are neither used nor
    moved by it.

    Args:
        radius: Of the ball, in the deployed input's own units.
        norm: ``linf`` or ``l2``.
        steps: Of PGD, for each batch.
        stride: Step length, as a share of the radius.
        low, high: The domain of every input value.
    """

    radius: float = 0.1
    norm: Literal["linf", "l2"] = "linf"
    steps: int = 7
    stride: float = 0.25
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        Ball(self.norm, self.radius, self.low, self.high)
        if self.norm not in ("linf", "l2"):
            raise UsageError(f"norm={self.norm!r} is not allowed here; give 'linf' or 'l2'")
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 1:
            raise UsageError(f"steps={self.steps!r} is not allowed; give a whole number from 1")
        if not self.stride > 0:
            raise UsageError(f"stride={self.stride!r} is not allowed; give a share of the radius above 0")

    def fits(self, recipe: Recipe) -> str:
        """Why it cannot be used with that recipe; empty where it can."""
        return "" if "perturb" in keywords(recipe.fit) else "the recipe has no hook for it: fit takes no keyword perturb"

    def harden_recipe(self, recipe: Recipe) -> Recipe:
        """The same recipe on perturbed batches.

        Raises:
            UsageError: The recipe takes no perturb hook.
        """
        if not isinstance(recipe, Recipe) or self.fits(recipe):
            raise UsageError(
                "cannot harden: the recipe takes no perturb hook; give its fit a keyword perturb=None and call "
                "x = perturb(net, x, y) on each batch, where net maps deployed inputs to logits"
            )
        return replace(recipe, fit=Hardened(recipe.fit, self), version=f"{recipe.version}+{self!r}", stack=None)


@dataclass(frozen=True, slots=True)
class Hardened:
    """A `fit` with the hook filled in. A value, not a closure, so that worker processes can be handed it."""

    fit: Callable[..., Target]
    control: Adversarial

    def __call__(self, x: Any, y: Any, seed: int) -> Target:
        return self.fit(x, y, seed, perturb=Perturb(self.control, seed))


class Perturb:
    """The hook of one training run: ``(net, x, y) -> x`` with its own generator, so that the seed alone decides."""

    def __init__(self, control: Adversarial, seed: int) -> None:
        torch = need("torch", "torch", "adversarial training")
        self._control = control
        self._random = torch.Generator().manual_seed(seed & 0x7FFF_FFFF_FFFF_FFFF)

    def __call__(self, net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The worst inputs PGD finds around `x`. Leaves the net, its buffers, flags and gradients as they were."""
        training = {part: part.training for part in net.modules()} if hasattr(net, "modules") else {}
        for part in training:
            part.training = False
        try:
            return self._climb(net, x.detach(), y)
        finally:
            for part, flag in training.items():
                part.training = flag

    def _climb(self, net: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        import torch

        control = self._control
        ball = Ball(control.norm, control.radius, control.low, control.high)
        at: torch.Tensor = ball.project(x + self._noise(x), x)
        for _ in range(control.steps):
            at = at.detach().requires_grad_(True)
            loss = torch.nn.functional.cross_entropy(net(at), y, reduction="sum")
            (slope,) = torch.autograd.grad(loss, at)
            at = ball.project(at.detach() + control.stride * control.radius * _direction(slope, control.norm), x)
        return at.detach()

    def _noise(self, x: torch.Tensor) -> torch.Tensor:
        # Drawn on the CPU in one order, whatever the device: the seed alone decides.
        import torch

        noise = torch.rand(x.shape, generator=self._random, dtype=torch.float64) * 2 - 1
        return (noise * self._control.radius).to(x)


def _direction(slope: torch.Tensor, norm: str) -> torch.Tensor:
    if norm == "linf":
        return slope.sign()
    size: torch.Tensor = slope.flatten(1).square().sum(1).sqrt().clamp_min(1e-30)
    return slope / size.reshape(-1, *([1] * (slope.ndim - 1)))
