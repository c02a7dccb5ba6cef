"""Models, data and measurements of the evasion benchmark."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
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
        logits: Tensor = cheques.logits(self.reader, x)
        return logits


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
        for rows in torch.randperm(len(x)).split(64):  # type: ignore[no-untyped-call]
            worst = _climbed(model, x[rows], y[rows], radius)
            optimiser.zero_grad()
            functional.cross_entropy(model(worst), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    path.parent.mkdir(exist_ok=True)
    torch.save(model.state_dict(), path)
    return model.eval().requires_grad_(False)


class Block(nn.Module):
    """Two convolutions beside a way past them; with `stride` 2 half as high and wide."""

    def __init__(self, inner: int, outer: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outer), nn.BatchNorm2d(outer)])
        self.past: nn.Module = nn.Identity()
        if stride > 1 or inner != outer:
            self.past = nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, inner, h, w)`` to ``(n, outer, h / stride, w / stride)``."""
        within = functional.relu(self.norms[0](self.first(x)))
        return functional.relu(self.norms[1](self.second(within)) + self.past(x))


class ResNet(nn.Module):
    """Six blocks of growing width with batch normalisation: images ``(n, 1, 28, 28)`` to logits ``(n, 10)``."""

    def __init__(self, width: int = 40) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        widths = [width, 2 * width, 4 * width]
        pairs = zip([width, *widths], widths, strict=False)
        self.blocks = nn.Sequential(*(
            part for i, (inner, outer) in enumerate(pairs) for part in (Block(inner, outer, 2 if i else 1), Block(outer, outer))
        ))  # fmt: skip
        self.head = nn.Linear(widths[-1], 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return logits


@cache
def resnet(hardened: bool = False, epochs: int = 4, radius: float = 0.15) -> nn.Module:
    """A residual network of 1.08 million parameters on the reader's images, in evaluation mode; kept beside this file.

    `hardened`: trained on for as many epochs on one random step and one gradient step of its own. It is no strong defence,
    but not every row falls at once.
    """
    path = HERE / ".cache" / f"resnet-{epochs}{f'-hardened-{radius}' if hardened else ''}.pt"
    model = Whole(ResNet())
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model.eval().requires_grad_(False)
    torch.manual_seed(0)
    if hardened:
        model.load_state_dict(resnet().state_dict())
    splits = cheques.load()
    x, y = torch.cat([splits.parent.x, splits.train.x]), torch.cat([splits.parent.y, splits.train.y])
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=2e-3, total_steps=epochs * -(-len(x) // 64))
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):  # type: ignore[no-untyped-call]
            seen = _climbed(model.eval(), x[rows], y[rows], radius, steps=1, stride=1.25) if hardened else x[rows]
            model.train()
            optimiser.zero_grad()
            functional.cross_entropy(model(seen), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    path.parent.mkdir(exist_ok=True)
    torch.save(model.state_dict(), path)
    return model.eval().requires_grad_(False)


def _climbed(model: nn.Module, x: Tensor, y: Tensor, radius: float, steps: int = 7, stride: float = 0.25) -> Tensor:
    at = (x + radius * (2 * torch.rand_like(x) - 1)).clip(0, 1)
    for _ in range(steps):
        leaf = at.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(functional.cross_entropy(model(leaf), y), leaf)
        at = (at + stride * radius * slope.sign()).clip(x - radius, x + radius).clip(0, 1)
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
    from sklearn.ensemble import RandomForestClassifier

    return _digits(RandomForestClassifier(100, random_state=0), rows)


def boosted(rows: int, rounds: int = 30) -> Iterator[tuple[str, Any, Any, Any]]:
    """Boosted ensembles of `rounds` trees for each of ten classes on the same digits: name, model, rows it reads correctly.

    XGBoost's and LightGBM's are left out where they are not installed.
    """
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier

    yield "histogram", *_digits(HistGradientBoostingClassifier(max_iter=rounds, max_leaf_nodes=8, random_state=0), rows)
    yield "boosted", *_digits(GradientBoostingClassifier(n_estimators=rounds, max_depth=3, random_state=0), rows)
    if importlib.util.find_spec("xgboost"):
        import xgboost

        yield "xgboost", *_digits(xgboost.XGBClassifier(n_estimators=rounds, max_depth=4, n_jobs=1), rows)
    if importlib.util.find_spec("lightgbm"):
        import lightgbm

        yield "lightgbm", *_digits(lightgbm.LGBMClassifier(n_estimators=rounds, num_leaves=8, n_jobs=1, verbose=-1), rows)


def _digits(model: Any, rows: int) -> tuple[Any, Any, Any]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = x / 16
    model.fit(x[:1000], y[:1000])
    held, truth = x[1000:], y[1000:]
    keep = model.predict(held) == truth
    return model, held[keep][:rows], truth[keep][:rows]


# VmHWM, not ru_maxrss: that one survives exec, and would be the peak of the process that starts this one.
_HIGH = "int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1]) * 1024"
# One attack of each scope over many rows: the attack, what is allowed it, and in which ball. Short, because memory is the
# subject and not strength; in the small balls some rows fall and some stand to the end.
STREAMED = {
    "PGD": ("PGD(steps=2)", "None", "cm.Ball('linf', 0.05)"),
    "Square": ("Square(steps=20)", "None", "cm.Ball('linf', 0.002)"),
    "HopSkipJump (dialogue)": ("HopSkipJump()", "cm.Budget(queries_per_row=30)", "cm.Ball('l2', np.inf), seek='nearest'"),
    "noise, FGSM, PGD, APGD-CE, Square (cascade)": (
        "Standard(skip=('evasion.apgd_t', 'evasion.fab_t'), settings=(('evasion.apgd_ce', (('steps', 5),)), "
        "('evasion.square', (('steps', 10),))))", "None", "cm.Ball('linf', 0.002)",
    ),
}  # fmt: skip
_PEAK = """
import sys
sys.path.insert(0, {here!r})
import numpy as np, torch
torch.set_num_threads(1)
import casemate as cm, evasion_parts as parts
from casemate.attacks import PGD, HopSkipJump, Square
from casemate.attacks.suite.standard import Standard
n = {rows}
x, y = parts.right(parts.plain(), 500)
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(x[0].numel(), 10)).eval()  # quick: memory is the subject
y = model(x).argmax(1)
x, y = x.repeat(-(-n // len(x)), 1, 1, 1)[:n].clone(), y.repeat(-(-n // len(y)))[:n]
case = cm.Evade(x, y, {within})
cm.run({attack}, model, case.only(np.arange(500)), budget={budget})
evidence = cm.run({attack}, model, case, budget={budget})
print({high}, x.numel() * 4, evidence.claims.x.nbytes, evidence.claims.broken.mean())
"""


def peak(rows: int, name: str = "PGD") -> float:
    """Bytes of peak memory beyond inputs and claims (and beyond python and torch) of an attack of `STREAMED` on so many rows."""
    attack, budget, within = STREAMED[name]
    out = python(_PEAK.format(here=str(HERE), rows=rows, high=_HIGH, attack=attack, budget=budget, within=within))
    after, inputs, claims, _ = map(float, out.split())
    base = float(python(f"import torch, casemate.runs.api; print({_HIGH})"))
    return after - base - inputs - claims


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout
