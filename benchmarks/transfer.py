"""How much transfers: from stand-ins of several sizes, by every combination of the template, and how many answers it takes.

    python benchmarks/transfer.py [--seeds 5]

Digits of 8 x 8 pixels, a deployed network trained on one half of the training rows, stand-ins trained on the other half (the
adversary has similar data and not the same) or on the deployed network's answers. Writes results/transfer.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

import casemate as cm
from casemate.attacks import Transfer, TransferSimilar, TransferSurrogate
from casemate.attacks.evasion._surrogate import Surrogate

OUT = Path(__file__).parent / "results" / "transfer.json"
RADIUS, ROWS = 0.12, 120
WIDTHS = (1, 4, 16, 48)
NAMES = ("FGSM", "BIM", "MI", "NI", "DI", "TI", "SI", "VMI")


def deep(seed: int, width: int = 8) -> nn.Module:
    """The deployed network: three convolutions on the picture at twice its size."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Upsample(scale_factor=2), nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(32 * width, 10),
    )  # fmt: skip


def fitted(net: nn.Module, x: Any, y: Any, seed: int, epochs: int = 15) -> nn.Module:
    """Trained by Adam."""
    optimiser, generator = torch.optim.Adam(net.parameters(), 3e-3), torch.Generator().manual_seed(seed)
    x, y = torch.as_tensor(x), torch.as_tensor(y)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(64):
            optimiser.zero_grad()
            functional.cross_entropy(net(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return net.eval().requires_grad_(False)


class World:
    """One deployed network, one parent, and the data of either side."""

    def __init__(self, seed: int) -> None:
        digits = load_digits()
        order = np.random.default_rng(seed).permutation(len(digits.target))
        x, y = (digits.images[order] / 16).astype(np.float32)[:, None], digits.target[order].astype(np.int64)
        self.theirs, self.ours = (x[:750], y[:750]), (x[750:1500], y[750:1500])
        self.target = cm.wrap(fitted(deep(seed), *self.theirs, seed), name="deployed")
        self.parent = cm.wrap(fitted(deep(seed + 100, 6), *self.ours, seed), name="parent")
        self.case = cm.Evade(x[1500 : 1500 + ROWS], y[1500 : 1500 + ROWS], cm.Ball("linf", RADIUS))

    def rate(self, attack: Any, budget: cm.Budget | None = None, data: bool = True) -> float:
        """Share of rows broken."""
        known = cm.Known(parent=self.parent, data=self.ours if data else None)
        found = cm.run(attack, self.target, self.case, known=known, budget=budget)
        return float(found.rows["broken"][found.rows["right"]].mean())

    def skill(self, width: int, members: int) -> float:
        """How often the stand-in of that size is right on the rows attacked."""
        from dataclasses import replace

        from casemate.core.endpoint import Endpoint
        from casemate.core.oracle import Meter, Oracle

        oracle = Oracle(Endpoint(self.target), cm.researcher(), Meter(self.case.row), cm.Known(data=self.ours))
        made: Surrogate = replace(TransferSimilar(), width=width, members=members).trained(oracle, self.case, cm.RowRandom(0))
        return float((made.labels(self.case.x) == self.case.y).mean())


def measured(seed: int) -> list[dict[str, Any]]:
    """All lines of one world."""
    world, lines = World(seed), []

    def line(what: str, of: Any, **more: Any) -> None:
        lines.append({"seed": seed, "what": what, "of": of, **more})

    line("white box", "PGD", rate=world.rate("evasion.pgd"))
    line("baseline", "noise", rate=world.rate("evasion.noise"))
    for name in NAMES:
        # The published kernel of 15 pixels is for pictures of 299; on 8 it would leave nothing but the mean.
        small = {"translation": 1} if name == "TI" else {}
        line("parent", name, rate=world.rate(Transfer.named(name, **small)))
    for members in (1, 3):
        for width in WIDTHS:
            attack = TransferSimilar(width=width, members=members)
            line(f"similar data, {members} stand-ins", width, rate=world.rate(attack), accuracy=world.skill(width, members))
    for queries in (1, 3, 10, 30):
        for data in (False, True):
            attack = TransferSurrogate(queries=queries)
            line(f"answers, {'with' if data else 'no'} data", queries, rate=world.rate(attack, data=data))
    return lines


def summary(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds, and the standard error of each."""
    found = []
    for what, of in dict.fromkeys((row["what"], row["of"]) for row in lines):
        same = [row for row in lines if (row["what"], row["of"]) == (what, of)]
        rates = np.array([row["rate"] for row in same])
        error = rates.std(ddof=1) / len(rates) ** 0.5 if len(rates) > 1 else None
        line = {"what": what, "of": of, "rate": rates.mean(), "error": error}
        if "accuracy" in same[0]:
            line["accuracy"] = float(np.mean([row["accuracy"] for row in same]))
        found.append(line)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    torch.set_num_threads(1)
    began, lines = time.perf_counter(), list[dict[str, Any]]()
    for seed in range(parser.parse_args().seeds):
        lines += measured(seed)
    machine = {"python": platform.python_version(), "torch": torch.__version__, "cores": os.cpu_count()}
    about = {"radius": RADIUS, "rows": ROWS, "seconds": round(time.perf_counter() - began, 1), "machine": machine}
    OUT.write_text(json.dumps({**about, "summary": summary(lines), "lines": lines}, indent=1) + "\n")
    for row in summary(lines):
        skill = f"  stand-in right on {row['accuracy']:.3f}" if "accuracy" in row else ""
        bar = "#" * round(40 * row["rate"])
        print(f"{row['what']:>26} {row['of']!s:>6}  {row['rate']:.3f} +- {row['error'] or 0:.3f} {bar:40}{skill}")


if __name__ == "__main__":
    main()
