"""The hook of a private training: it makes a torch optimiser and loader private through Opacus, and watches both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import UsageError, need
from ...core.target import Target, count
from ...judges.accountant import gaussian_sampled, noise_for
from ._sampling import Batches, replaceable, why_not_poisson

if TYPE_CHECKING:
    from .dp_sgd import DPSGD

FEWEST = 20  # expected rows in a batch: an empty one then comes once in five hundred million


@dataclass(frozen=True, slots=True)
class HookedFit:
    """A `fit` with the hook filled in. What was drawn and stepped is checked when it returns."""

    fit: Callable[..., Target]
    control: DPSGD

    def __call__(self, x: Any, y: Any, seed: int) -> Target:
        hook = Private(self.control, count(x), seed)
        target = self.fit(x, y, seed, private=hook)
        hook.finish()
        return target


class Private:
    """``(net, optimiser, loss, loader) -> (net, optimiser, loss, loader)``, all to be used in place of the ones given.

    Args:
        control: What is asked for.
        rows: Training rows.
        seed: Of batches and noise.
    """

    def __init__(self, control: DPSGD, rows: int, seed: int) -> None:
        self.epochs = control.epochs
        self._control, self._rows, self._seed = control, rows, seed
        self._size = control.batch_of(rows)
        self._batches: Batches | None = None
        self._steps = 0
        self._module: Any = None

    @property
    def noise(self) -> float:
        """The noise multiplier."""
        control = self._control
        return noise_for(control.epsilon, control.delta, self._size / self._rows, control.steps_of(self._rows))

    def __call__(self, net: Any, optimiser: Any, loss: Any, loader: Any) -> tuple[Any, Any, Any, Any]:
        """The private four.

        Raises:
            UsageError: The loader's sampler is not one that Poisson sampling may replace, or the net mixes rows.
            MissingExtra: Opacus is not installed.
        """
        opacus = need("opacus", "dp", "private training of a recipe with a `private` hook")
        why = replaceable(loader)
        if not why and len(loader.dataset) != self._rows:
            why = f"the loader holds {len(loader.dataset)} rows, and fit was given {self._rows}"
        if not why and self._size < FEWEST:
            why = f"batch={self._size} is too small, as a batch may then come out empty; give {FEWEST} or more"
        if why:
            raise UsageError(f"cannot train privately: {why}")
        found = opacus.validators.ModuleValidator.validate(net, strict=False)
        if found:
            raise UsageError(f"cannot train privately: {'; '.join(str(each) for each in found)}")
        return self._made(opacus, net, optimiser, loss, self._loader(loader))

    def _loader(self, loader: Any) -> Any:
        import torch

        control, rng = self._control, np.random.default_rng([self._seed, 0xD9])
        self._batches = Batches(self._rows, self._size, control.steps_of(self._rows), rng)
        return torch.utils.data.DataLoader(loader.dataset, batch_sampler=self._batches, collate_fn=loader.collate_fn)

    def _made(self, opacus: Any, net: Any, optimiser: Any, loss: Any, loader: Any) -> tuple[Any, Any, Any, Any]:
        import warnings

        import torch

        noise = torch.Generator().manual_seed(self._seed & 0x7FFF_FFFF_FFFF_FFFF)
        mode = self._control.mode
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that its randomness is not for cryptography: a seed must decide here
            made = opacus.PrivacyEngine(accountant="rdp").make_private(
                module=net, optimizer=optimiser, criterion=loss, data_loader=loader, noise_multiplier=self.noise,
                max_grad_norm=self._control.clip, poisson_sampling=False, noise_generator=noise, grad_sample_mode=mode,
            )  # fmt: skip
        self._module, private = made[0], made[1]
        private.expected_batch_size = self._size
        private.attach_step_hook(self._stepped)
        return self._module, private, made[2] if mode == "ghost" else loss, loader

    def _stepped(self, _: Any) -> None:
        self._steps += 1
        given = 0 if self._batches is None else len(self._batches.sizes)
        if self._steps > given:
            raise UsageError(f"step {self._steps} after {given} private batches: use the loader that private() gave")

    def finish(self) -> None:
        """Check what was drawn and how many steps were taken; take the hooks off the net.

        Raises:
            UsageError: The hook was not used, or not as accounted.
        """
        if self._batches is None or not self._steps:
            raise UsageError("fit was given private= and took no private step; see training.dp_sgd for how it is used")
        why = why_not_poisson(self._batches.counts, self._batches.sizes, self._size / self._rows)
        if why:
            raise UsageError(f"the batches used are not those accounted: {why}")
        self._module.remove_hooks()

    @property
    def spent(self) -> float:
        """Epsilon of the steps that were really taken."""
        if not self._steps:
            return 0.0
        return gaussian_sampled(self._size / self._rows, self.noise, self._steps, self._control.delta).epsilon
