"""Models, data and measurements of the evasion benchmark."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "examples" / "cheques"))
import cheques  # noqa: E402 - an example, not a package


class Whole(nn.Module):
    """The cheque reader from scanner image to logits, as one module."""

    def __init__(self, reader: nn.Module) -> None:
        super().__init__()
        self.reader = reader

    def forward(self, x: Tensor) -> Tensor:
        return cheques.logits(self.reader, x)


@cache
def plain() -> nn.Module:
    """The undefended reader."""
    return Whole(cheques.deployed()).eval().requires_grad_(False)


@cache
def hardened(epochs: int = 10, radius: float = 0.15) -> nn.Module:
    """The reader trained on its own PGD examples; kept beside this file, because it takes a minute or two."""
    path = HERE / ".cache" / f"hardened-{epochs}-{radius}.pt"
    model = Whole(cheques.Reader())
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model.eval().requires_grad_(False)
    torch.manual_seed(0)
    splits = cheques.load()
    x, y = torch.cat([splits.parent.x, splits.train.x]), torch.cat([splits.parent.y, splits.train.y])
    model = Whole(cheques.pretrain(x, y))
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            worst = _climbed(model, x[rows], y[rows], radius)
            optimiser.zero_grad()
            functional.cross_entropy(model(worst), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    path.parent.mkdir(exist_ok=True)
    torch.save(model.state_dict(), path)
    return model.eval().requires_grad_(False)


def _climbed(model: nn.Module, x: Tensor, y: Tensor, radius: float, steps: int = 7) -> Tensor:
    at = (x + radius * (2 * torch.rand_like(x) - 1)).clip(0, 1)
    for _ in range(steps):
        leaf = at.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(functional.cross_entropy(model(leaf), y), leaf)
        at = (at + radius / 4 * slope.sign()).clip(x - radius, x + radius).clip(0, 1)
    return at.detach()


def right(model: nn.Module, rows: int) -> tuple[Tensor, Tensor]:
    """Held-out images the model reads correctly."""
    part = cheques.load().holdout
    with torch.no_grad():
        keep = model(part.x).argmax(1) == part.y
    return part.x[keep][:rows], part.y[keep][:rows]


def share(model: nn.Module, x: Any, y: Tensor) -> float:
    """Share of `x` still read correctly."""
    with torch.no_grad():
        return float((model(torch.as_tensor(x)).argmax(1) == y).float().mean())


def forest(rows: int) -> tuple[Any, Any, Any]:
    """A random forest of 100 trees on the scikit-learn digits, in [0, 1], with rows it reads correctly."""
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier

    x, y = load_digits(return_X_y=True)
    x = x / 16
    model = RandomForestClassifier(100, random_state=0).fit(x[:1000], y[:1000])
    held, truth = x[1000:], y[1000:]
    keep = model.predict(held) == truth
    return model, held[keep][:rows], truth[keep][:rows]


# VmHWM, not ru_maxrss: that one survives exec, and would be the peak of the process that starts this one.
_HIGH = "int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1]) * 1024"
_PEAK = """
import sys
sys.path.insert(0, {here!r})
import numpy as np, torch
torch.set_num_threads(1)
import casemate as cm, evasion_parts as parts
from casemate.attacks import PGD
n = {rows}
x, y = parts.right(parts.plain(), 500)
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(x[0].numel(), 10)).eval()  # quick: memory is the subject
y = model(x).argmax(1)
x, y = x.repeat(-(-n // len(x)), 1, 1, 1)[:n].clone(), y.repeat(-(-n // len(y)))[:n]
case = cm.Evade(x, y, cm.Ball("linf", 0.05))
cm.run(PGD(steps=2), model, case.only(np.arange(500)))
before = {high}
evidence = cm.run(PGD(steps=2), model, case)
after = {high}
print(before, after, x.numel() * 4, evidence.claims.x.nbytes)
"""


def peak(rows: int) -> float:
    """Bytes of peak memory beyond inputs and claims (and beyond python and torch) of PGD on so many rows."""
    out = python(_PEAK.format(here=str(HERE), rows=rows, high=_HIGH))
    _, after, inputs, claims = map(float, out.split())
    base = float(python(f"import torch, casemate.runs.api; print({_HIGH})"))
    return after - base - inputs - claims


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout
