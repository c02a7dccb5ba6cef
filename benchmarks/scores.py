"""Attacks that see scores beside the peers that have them: rows broken at equal queries, what was asked, and the time.

    python benchmarks/scores.py                   # 40 images, 1000 queries a row
    python benchmarks/scores.py --rows 20 --queries 500 --only square
    python benchmarks/scores.py --speed           # time as a multiple of the bare model calls

Every side may ask each row `queries` times and not once more: a peer has no such cap of its own, so a counter in front of the
model remembers the first success of each row within it, and within the ball. Rows a peer broke are therefore counted at its
best moment. Prints one line for each side; times are of the process, on one thread.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import contextlib
import logging
import time
import warnings
from collections.abc import Callable
from typing import Any

import evasion_parts as parts
import numpy as np
import peers
import torch
from torch import Tensor, nn

import casemate as cm
from casemate.attacks.evasion.nes import NES
from casemate.attacks.evasion.simba import SimBA
from casemate.attacks.evasion.spsa import SPSA
from casemate.attacks.evasion.square import Square
from casemate.attacks.evasion.zoo import ZOO
from casemate.core.adversary import Adversary, Budget, Need
from casemate.core.endpoint import Endpoint
from casemate.core.oracle import Meter, Oracle
from casemate.runs.driver import drive_rows

RADII = {"linf": 0.25, "l2": 2.5}


class Watched(nn.Module):
    """A model that notes, of the one row in hand, when it first fell inside the ball, and after how many queries."""

    def __init__(self, model: nn.Module, ball: cm.Ball, cap: int) -> None:
        super().__init__()
        self.model, self.cap, self.asked, self.fell = model, cap, 0, 0
        # Peers round in the inputs' precision and end a little outside: to them that is inside.
        self.ball = cm.Ball(ball.norm, ball.radius * (1 + 1e-5), ball.low, ball.high)

    def begin(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y, self.asked, self.fell = x, y, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            out: Tensor = self.model(x.float())
        for i in (out.argmax(1) != self.y).nonzero()[:, 0].tolist():
            place = self.asked + i + 1
            if not self.fell and place <= self.cap and bool(self.ball.check(x[i : i + 1].numpy(), self.x.numpy())[0]):
                self.fell = place
        self.asked += len(x)
        if self.fell or self.asked >= self.cap:
            raise _Enough
        return out


class _Enough(Exception):
    """The row fell, or its queries are spent."""


def ours(attack: Any, model: nn.Module, x: Tensor, y: Tensor, ball: cm.Ball, cap: int) -> tuple[int, int]:
    """Rows broken and queries asked, by somebody who sees scores and nothing else."""
    case = cm.Evade(x, y, ball)
    meter = Meter(case.row)
    somebody = Adversary(name="somebody", may=Need.SCORE | Need.LABEL, budget=Budget(queries_per_row=cap))
    trace = drive_rows(attack, Oracle(Endpoint(cm.wrap(model)), somebody, meter), case, cm.RowRandom(0))
    return int(trace.believed.sum()), meter.total["queries"]


Maker = Callable[[Any], Callable[[Tensor, Tensor], Any]]


def theirs(make: Maker, model: nn.Module, x: Tensor, y: Tensor, ball: cm.Ball, cap: int) -> tuple[int, int]:
    """The same of a peer, one row at a time, each until it falls or its queries are spent."""
    watched = Watched(model, ball, cap).eval()
    run = make(watched)
    fell = asked = 0
    for i in range(len(x)):
        watched.begin(x[i : i + 1], y[i : i + 1])
        with contextlib.suppress(_Enough):
            run(x[i : i + 1], y[i : i + 1])
        fell, asked = fell + bool(watched.fell), asked + (watched.fell or min(watched.asked, cap))
    return fell, asked


def sides(norm: str, cap: int) -> dict[str, dict[str, Any]]:
    """What is compared, by method: ours are attacks, the peers' are makers of a runner from a model."""
    radius = RADII[norm]
    found: dict[str, dict[str, Any]] = {
        "square": {"casemate": Square(steps=cap)}, "nes": {"casemate": NES(steps=cap)}, "spsa": {"casemate": SPSA(steps=cap)},
        "simba": {"casemate dct": SimBA(steps=cap), "casemate pixel": SimBA(steps=cap, basis="pixel")},
        "zoo": {"casemate": ZOO(steps=cap)},
    }  # fmt: skip
    if ta := peers._library("torchattacks"):
        name = {"linf": "Linf", "l2": "L2"}[norm]
        found["square"]["torchattacks"] = lambda m: ta.Square(m, norm=name, eps=radius, n_queries=cap, resc_schedule=False)
        if norm == "linf":
            for samples, rate in ((128, 0.01), (16, 0.05)):
                found["spsa"][f"torchattacks nb_sample={samples}, lr={rate}"] = lambda m, s=samples, r=rate: ta.SPSA(
                    m, eps=radius, delta=0.01, lr=r, nb_iter=cap, nb_sample=s, max_batch_size=s
                )
    if peers._library("art"):
        found["square"]["ART"] = lambda m: _art_square(m, norm, radius, cap)
        if norm == "l2":
            for kind, eps in (("dct", 0.2), ("px", 0.2), ("dct", 0.5), ("px", 0.5)):
                found["simba"][f"ART {kind} eps={eps}"] = lambda m, k=kind, e=eps: _art_simba(m, k, e, cap)
            found["zoo"]["ART"] = lambda m: _art_zoo(m, cap)
    return found


class _Softmax(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x).softmax(1)


def _runner(attack: Any) -> Callable[[Tensor, Tensor], Any]:
    return lambda x, y: attack.generate(x.numpy(), y=np.eye(10)[y])


def _art(model: nn.Module) -> Any:
    from art.estimators.classification import PyTorchClassifier

    return PyTorchClassifier(model, nn.CrossEntropyLoss(), (1, 32, 32), 10, clip_values=(0, 1), device_type="cpu")


def _art_square(model: nn.Module, norm: str, radius: float, cap: int) -> Any:
    from art.attacks.evasion import SquareAttack

    order = np.inf if norm == "linf" else 2
    attack = SquareAttack(_art(model), norm=order, max_iter=cap, eps=radius, p_init=0.8, nb_restarts=1, verbose=False)
    return lambda x, y: attack.generate(x.numpy(), y=y.numpy())  # of one-hot rows its criterion makes nothing


def _art_simba(model: nn.Module, kind: str, eps: float, cap: int) -> Any:
    from art.attacks.evasion import SimBA as Theirs

    wrapped = _art(_Softmax(model))
    return _runner(Theirs(wrapped, attack=kind, max_iter=cap, epsilon=eps, order="random", freq_dim=4, stride=7, verbose=False))


def _art_zoo(model: nn.Module, cap: int) -> Any:
    from art.attacks.evasion import ZooAttack

    return _runner(
        ZooAttack(
            _art(_Softmax(model)),
            learning_rate=0.1,
            max_iter=cap,
            binary_search_steps=1,
            initial_const=10.0,
            use_resize=False,
            use_importance=False,
            nb_parallel=32,
            variable_h=0.01,
            verbose=False,
        )
    )


def compare(only: list[str], rows: int, cap: int) -> None:
    """One line for each method, norm and side, on the adversarially trained reader."""
    model = parts.hardened()
    x, y = parts.right(model, rows)
    for norm, radius in RADII.items():
        ball = cm.Ball(norm, radius)
        for method, of in sides(norm, cap).items():
            if method not in only:
                continue
            for name, side in of.items():
                began = time.process_time()
                run = ours if name.startswith("casemate") else theirs
                fell, asked = run(side, model, x, y, ball, cap)
                spent = time.process_time() - began
                print(f"{method} {norm} {radius} | {name} | {fell}/{len(x)} broken | {asked} queries | {spent:.1f} s", flush=True)


def speed(only: list[str], rows: int, pairs: int = 5) -> None:
    """Time as a multiple of the same number of model rows in calls of a hundred, no row falling."""
    model = parts.hardened()
    x, y = parts.right(model, rows)
    makers: dict[str, Any] = {"square": Square(steps=100), "nes": NES(steps=5), "spsa": SPSA(steps=5)}
    makers |= {"simba": SimBA(steps=100), "zoo": ZOO(steps=3)}
    for norm in RADII:
        for name in only:
            ratios = []
            for _ in range(pairs):
                began = time.process_time()
                _, asked = ours(makers[name], model, x, y, cm.Ball(norm, 1e-6), 1000)
                middle = time.process_time()
                with torch.no_grad():
                    for start in range(0, asked, len(x)):
                        model(x[: min(len(x), asked - start)]).softmax(1)
                ratios.append((middle - began) / (time.process_time() - middle))
            print(f"{name} {norm}: {np.median(ratios):.3f} x the bare calls ({min(ratios):.3f} to {max(ratios):.3f})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--only", default="square,nes,spsa,simba,zoo")
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    if options.speed:
        speed(options.only.split(","), 100)
    else:
        compare(options.only.split(","), options.rows, options.queries)


if __name__ == "__main__":
    main()
