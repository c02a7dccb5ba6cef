"""What a naive evaluation says of each fake defence, and what casemate says. Writes docs/explanation/fake-defences.md."""

from __future__ import annotations

import datetime
import platform
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

import casemate as cm
from casemate.testing.fakes import Fake, fakes, naive

ROWS, RADIUS = 50, 0.2
PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "fake-defences.md"
HEAD = """# Fake defences

Eight defences that do not defend, all around one undefended network of 12,000 parameters on 8 x 8 digits (it falls to
PGD-40 in {bare} of the {rows} rows below). On the left, what a script of ten lines would print: PGD on cross-entropy, its last
point asked once, a refusal counted as resistance. On the right, what `suite.standard` of casemate says of the same rows at the
same radius (linf {radius:g} in [0, 1]): its verdict, the share that fell, the attacks that took them, and the health lines that
failed. None of them may come out as `resisted`; `tests/runs/test_fakes.py` sees to it.

| defence | claims | naive: robust | casemate | by | health lines that failed |
|---|---|---|---|---|---|
"""
TAIL = """
Why the left column is wrong:

{why}

Made by `python benchmarks/fake_defences.py` on {date}, python {python}, torch {torch}.
"""


def digits(seed: int = 0) -> tuple[nn.Module, nn.Module, np.ndarray, np.ndarray]:
    """A network and a detector of what fools it, and test rows both handle rightly: ``(n, 1, 8, 8)`` in [0, 1]."""
    from sklearn.datasets import load_digits

    torch.manual_seed(seed)
    data = load_digits()
    x = torch.tensor(data.images[:, None] / 16, dtype=torch.float32)
    y = torch.tensor(data.target)
    net = fit(nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)), x[:1200], y[:1200])
    near = x[:1200]
    case = cm.Evade(near, y[:1200], cm.Ball("linf", RADIUS), seek="nearest")
    fooled = torch.as_tensor(cm.run(cm.attacks.PGD(), net, case).claims.x)
    both = torch.cat([near, fooled])
    which = torch.cat([torch.zeros(len(near)), torch.ones(len(fooled))]).long()
    detector = fit(nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)), both, which)
    rest, truth = x[1200:], y[1200:]
    with torch.no_grad():
        right = (net(rest).argmax(1) == truth) & (detector(rest).argmax(1) == 0)
    return net, detector, rest[right][:ROWS].numpy(), truth[right][:ROWS].numpy()


def fit(net: nn.Module, x: torch.Tensor, y: torch.Tensor, epochs: int = 120) -> nn.Module:
    """Full-batch Adam: small data, a second or two."""
    best = torch.optim.Adam(net.parameters(), 0.005)
    for _ in range(epochs):
        best.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        best.step()
    return net.requires_grad_(False).eval()


def line(fake: Fake, x: np.ndarray, y: np.ndarray) -> tuple[str, cm.Evidence]:
    """One row of the table."""
    stood = naive(fake, x, y, RADIUS)
    evidence = cm.run("suite.standard", fake.target, cm.Evade(x, y, cm.Ball("linf", RADIUS)))
    stages = [s["attack"].partition(".")[2] for s in evidence.extra["stages"] if s["fell"]]
    failed = [f"{c.number} {c.name}" for c in evidence.health if c.ok is False]
    said = f"**{evidence.verdict}**, {evidence.rate:.0%} fell"
    return f"| {fake.name} | {fake.claim} | {stood:.0%} | {said} | {', '.join(stages)} | {'; '.join(failed) or '–'} |", evidence


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    net, detector, x, y = digits()
    bare = cm.run(cm.attacks.PGD(), net, cm.Evade(x, y, cm.Ball("linf", RADIUS))).rate
    made = fakes(net, detector)
    lines = []
    for fake in made:
        lines.append(line(fake, x, y)[0])
        print(lines[-1])
    why = "\n".join(f"- **{fake.name}**: {fake.why}." for fake in made)
    PAGE.write_text(
        HEAD.format(bare=f"{bare:.0%}", rows=len(x), radius=RADIUS) + "\n".join(lines) + "\n"
        + TAIL.format(why=why, date=datetime.date.today(), python=platform.python_version(), torch=torch.__version__)
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
