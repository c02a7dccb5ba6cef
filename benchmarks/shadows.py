"""Many models at once against the same models one after the other.

    python benchmarks/shadows.py [--quick]

Networks: `train_many(MLP(...))` against a plain loop in torch that trains the same networks, with the same steps on batches of
the same size, as one would write it: data as tensors, one gather a batch, `torch.optim.SGD` in its fastest setting. Regressions:
`train_many(Softmax())` against scikit-learn's `LogisticRegression` at its defaults and at the precision ours has. Also where a
stack gains nothing, which is what the rule in `many.stacks` is made of. One thread, seconds of the processor, ratios within one
run; of slow loops a few models are trained and the rest are counted like them. Writes results/shadows.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional

from casemate.trainers import MLP, Softmax, many, train_many
from casemate.trainers.cache import memory

OUT = Path(__file__).parent / "results" / "shadows.json"
SHAPES = [
    (64, (32,), 32), (256, (32,), 32), (64, (16,), 32), (64, (64,), 32), (64, (128,), 32), (64, (128,), 128), (16, (512,), 32),
    (16, (512,), 128), (16, (1024,), 128),
]  # fmt: skip


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Of the processor, and what came out."""
    memory.clear()
    started = time.process_time()
    made = work()
    return time.process_time() - started, made


def loop(learner: MLP, x: Any, y: Any, weights: Any, classes: int) -> Any:
    """The same networks one after the other; their accuracy on all rows."""
    inputs, labels, right = torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y), []
    for seed, own in enumerate(weights):
        torch.manual_seed(seed)
        sizes = (x.shape[1], *learner.hidden, classes)
        layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        net = nn.Sequential(*layers[:-1])
        steps = torch.optim.SGD(net.parameters(), learner.step, learner.momentum, fused=True)
        mine = torch.as_tensor(np.flatnonzero(own))
        for _ in range(learner.epochs):
            for rows in mine[torch.randperm(len(mine))].split(learner.batch):
                steps.zero_grad()
                functional.cross_entropy(net(inputs[rows]), labels[rows]).backward()  # type: ignore[no-untyped-call]
                steps.step()
        with torch.no_grad():
            right.append(float((net(inputs).argmax(1) == labels)[own == 0].float().mean()))
    return right


def networks(epochs: int) -> list[dict[str, Any]]:
    """Stacks of several shapes."""
    data = load_digits()
    x, y, lines = data.data / 16, data.target, []
    for members, hidden, batch in SHAPES:
        weights = (np.random.default_rng(0).random((members, len(x))) < 0.5).astype(int)
        passes = max(1, epochs * 64 // max(64, *hidden))
        learner, few = MLP(hidden, epochs=passes, batch=batch), min(members, 8)
        many.WIDE = 1 << 30  # a stack, whether it pays or not
        ours, out = seconds(lambda: train_many(learner, x, y, weights, seeds=range(members), ask=x))  # noqa: B023
        theirs, right = seconds(lambda: loop(learner, x, y, weights[:few], 10))  # noqa: B023
        mine = [float((z.argmax(1) == y)[own == 0].mean()) for z, own in zip(out.logits[0], weights, strict=True)]
        line: dict[str, Any] = {
            "models": members, "hidden": list(hidden), "batch": batch, "epochs": passes, "stacked_s": ours,
            "one_by_one_s": theirs * members / few, "ratio": theirs * members / few / ours,
            "accuracy_stacked": float(np.mean(mine)), "accuracy_one_by_one": float(np.mean(right)),
        }  # fmt: skip
        lines.append(line)
        times = f"{ours:6.2f} s, one by one {line['one_by_one_s']:6.2f} s, x {line['ratio']:.1f}"
        shape = f"{members:4d} x {'-'.join(map(str, hidden)):5s} batch {batch:3d}"
        print(f"{shape}: {times}; unseen rows right {np.mean(mine):.3f} {np.mean(right):.3f}")
    return lines


def regressions() -> list[dict[str, Any]]:
    """The stack of logistic regressions."""
    lines = []
    for name, load, members in (("breast cancer", load_breast_cancer, 128), ("digits", load_digits, 32)):
        data = load()
        x, y = (data.data - data.data.mean(0)) / (data.data.std(0) + 1e-9), data.target
        weights = (np.random.default_rng(0).random((members, len(x))) < 0.5).astype(int)
        ours, out = seconds(lambda: train_many(Softmax(), x, y, weights, seeds=range(members), ask=x))  # noqa: B023
        for tol in (1e-4, 1e-9):

            def theirs(tol: float = tol, weights: Any = weights, x: Any = x, y: Any = y) -> Any:
                made = [LogisticRegression(tol=tol, max_iter=10_000).fit(x[own > 0], y[own > 0]) for own in weights]
                return np.stack([model.decision_function(x) for model in made])

            took, found = seconds(theirs)
            logits = out.logits[0]
            same = logits[..., 1] - logits[..., 0] if found.ndim == 2 else logits - logits.mean(2, keepdims=True)
            found = found if found.ndim == 2 else found - found.mean(2, keepdims=True)
            apart = float(np.abs(same - found).max())
            line = {"data": name, "models": members, "tol": tol, "stacked_s": ours, "one_by_one_s": took, "ratio": took / ours}
            lines.append(line | {"apart": apart})
            print(f"{members:4d} regressions on {name}: {ours:.3f} s, scikit-learn at tol {tol:g} {took:.3f} s, "
                  f"x {took / ours:.1f}; apart {apart:.1e}")  # fmt: skip
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the passes; writes nothing")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    small = (np.eye(4), np.arange(4) % 2, np.ones((2, 4)))
    train_many(MLP((4,), epochs=1), *small, seeds=[0, 1], ask=small[0])  # libraries load what they load at first use
    loop(MLP((4,), epochs=1), *small, 2)
    found = {"networks": networks(2 if quick else 20), "regressions": regressions()}
    found |= {"python": platform.python_version(), "torch": torch.__version__, "threads": 1}
    if not quick:
        OUT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
