"""The same attacks by other libraries, each a callable that returns its claims. One not installed is left out."""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from torch import Tensor, nn

LIBRARIES = ("adv_lib", "foolbox", "torchattacks", "art")
Sides = dict[str, Callable[[], Any]]


def absent() -> list[str]:
    """Libraries that cannot be imported here."""
    return [name for name in LIBRARIES if _library(name) is None]


def names(sides: Sides) -> list[str]:
    """The peers among the sides of a comparison."""
    return [name for name in sides if name != "casemate"]


def _library(name: str) -> Any:
    if name == "adv_lib" and "torchvision" not in sys.modules:
        # It imports torchvision and visdom for distances and plots that nothing here uses, and neither installs beside
        # the torch pinned here: empty modules do.
        for absent_module in ("torchvision", "torchvision.models", "torchvision.transforms", "visdom"):
            sys.modules[absent_module] = MagicMock()
    with contextlib.suppress(Exception):  # a peer that cannot be imported is absent, whatever its reason
        return importlib.import_module(name)
    return None


def pgd(model: nn.Module, x: Tensor, y: Tensor, radius: float) -> Sides:
    """PGD-40 from the input itself, a tenth of the radius a step."""
    sides: Sides = {}
    if _library("adv_lib"):
        from adv_lib.attacks import pgd_linf

        sides["adv-lib"] = lambda: pgd_linf(model, x, y, ε=radius, steps=40, random_init=False, absolute_step_size=radius / 10)
    if fb := _library("foolbox"):
        attack = fb.attacks.LinfPGD(steps=40, abs_stepsize=radius / 10, random_start=False)
        wrapped = fb.PyTorchModel(model, bounds=(0, 1), device="cpu")
        sides["foolbox"] = lambda: attack(wrapped, x, y, epsilons=radius)[1]
    if ta := _library("torchattacks"):
        sides["torchattacks"] = lambda: ta.PGD(model, eps=radius, alpha=radius / 10, steps=40, random_start=False)(x, y)
    if _library("art"):
        from art.attacks.evasion import ProjectedGradientDescent

        run = ProjectedGradientDescent(
            _art(model, x), eps=radius, eps_step=radius / 10, max_iter=40, batch_size=len(x), verbose=False
        )
        sides["ART"] = lambda: run.generate(x.numpy(), y=np.eye(10)[y.numpy()])
    return sides


def apgd(model: nn.Module, x: Tensor, y: Tensor, radius: float) -> Sides:
    """APGD on cross-entropy, 100 steps."""
    sides: Sides = {}
    if _library("adv_lib"):
        from adv_lib.attacks.auto_pgd import apgd as run

        sides["adv-lib"] = lambda: run(model, x, y, eps=radius, norm=float("inf"), n_iter=100)
    if ta := _library("torchattacks"):
        sides["torchattacks"] = lambda: ta.APGD(model, norm="Linf", eps=radius, steps=100)(x, y)
    return sides


def square(model: nn.Module, x: Tensor, y: Tensor, radius: float, steps: int) -> Sides:
    """Square with the schedule counted as published."""
    ta = _library("torchattacks")
    if not ta:
        return {}
    attack = ta.Square(model, norm="Linf", eps=radius, n_queries=steps, resc_schedule=False)
    return {"torchattacks": lambda: attack(x, y)}


class _Counted(nn.Module):
    """Counts the rows it is asked about."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.rows = model, 0

    def forward(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        return self.model(x.float())


def hopskipjump(model: nn.Module, x: Tensor, y: Tensor, norm: str, steps: int) -> dict[str, tuple[float, int]]:
    """Median distance (infinite for a failed row) and queries a row of each peer that has the attack."""
    found: dict[str, tuple[float, int]] = {}
    for name, run in (("foolbox", _foolbox), ("ART", _art_jump)):
        counted = _Counted(model).eval()
        claims = run(counted, x, y, norm, steps)
        if claims is None:
            continue
        change = (claims - x).flatten(1)
        size = change.norm(dim=1) if norm == "l2" else change.abs().amax(1)
        with torch.no_grad():
            wrong = model(claims).argmax(1) != y
        size[~wrong] = torch.inf
        found[name] = (float(size.quantile(0.5)), counted.rows // len(x))
    return found


def _foolbox(model: nn.Module, x: Tensor, y: Tensor, norm: str, steps: int) -> Tensor | None:
    fb = _library("foolbox")
    if not fb:
        return None
    wrapped = fb.PyTorchModel(model, bounds=(0, 1), device="cpu")
    claims = x.clone()
    for i in range(len(x)):
        attack = fb.attacks.HopSkipJumpAttack(steps=steps, constraint=norm)
        with contextlib.suppress(ValueError):  # no start found: the row failed
            claims[i : i + 1] = attack.run(wrapped, x[i : i + 1], fb.criteria.Misclassification(y[i : i + 1]))
    return claims


def _art_jump(model: nn.Module, x: Tensor, y: Tensor, norm: str, steps: int) -> Tensor | None:
    if not _library("art"):
        return None
    from art.attacks.evasion import HopSkipJump

    order = 2 if norm == "l2" else np.inf
    run = HopSkipJump(_art(model, x), norm=order, max_iter=steps, init_eval=100, verbose=False)
    return torch.as_tensor(run.generate(x.numpy(), y=np.eye(10)[y.numpy()]), dtype=x.dtype)


def forest(model: Any, x: Any, y: Any, rows: int) -> Callable[[], float] | None:
    """Seconds a query of ART's HopSkipJump on a scikit-learn forest, on a few rows: it works on one at a time anyway."""
    if not _library("art"):
        return None
    from art.attacks.evasion import HopSkipJump
    from art.estimators.classification import SklearnClassifier

    wrapped = SklearnClassifier(model, clip_values=(0, 1))
    asked = 0
    predict = wrapped.predict

    def counting(x: Any, **options: Any) -> Any:
        nonlocal asked
        asked += len(x)
        return predict(x, **options)

    wrapped.predict = counting

    def run() -> float:
        nonlocal asked
        asked = 0
        began = time.perf_counter()
        HopSkipJump(wrapped, max_iter=5, verbose=False).generate(x[:rows], y=np.eye(10)[y[:rows]])
        return (time.perf_counter() - began) / asked

    return run


def _art(model: nn.Module, x: Tensor) -> Any:
    from art.estimators.classification import PyTorchClassifier

    return PyTorchClassifier(model, nn.CrossEntropyLoss(), tuple(x.shape[1:]), 10, clip_values=(0, 1), device_type="cpu")
