"""Many models at once against the same models one after the other.

    python benchmarks/shadows.py [--quick]

Networks: `train_many(MLP(...))` against a plain loop in torch that trains the same networks, with the same steps on batches of
the same size, as one would write it: data as tensors, one gather a batch, `torch.optim.SGD` in its fastest setting. Regressions:
`train_many(Softmax())` against scikit-learn's `LogisticRegression`, at its default precision, where the losses of ours are no
higher, and at our default. Also where a stack gains nothing, which is what the rule in `many.stacks` is made of. One thread,
seconds of the processor, ratios within one run; of slow loops a few models are trained and the rest are counted like them.
Writes results/shadows.json.
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
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional

from casemate.trainers import MLP, Softmax, many, newton, train_many
from casemate.trainers.cache import memory

OUT = Path(__file__).parent / "results" / "shadows.json"
REPEATS = 3  # of regressions
# Of scikit-learn, and of ours beside it: at the same slope as its default ours would end above its loss now and then.
TOLS = [(1e-4, 5e-5), (1e-9, 1e-9)]
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


def losses(coefficients: Any, x: Any, y: Any, weights: Any) -> NDArray[Any]:
    """What each regression minimises, for coefficients ``(N, d + 1, k)``, on its own rows."""
    found = []
    for made, own in zip(coefficients, weights, strict=True):
        logits = x[own > 0] @ made[:-1] + made[-1]
        loss = np.logaddexp.reduce(logits, 1) - logits[np.arange(len(logits)), y[own > 0]]
        # Two classes as (-w / 2, w / 2) pay |w|^2 / 2; scikit-learn's one vector w pays |w|^2.
        found.append(loss.sum() + 0.5 * np.square(made[:-1]).sum() * (2 if made.shape[1] == 2 else 1))
    return np.array(found)


def one_by_one(x: Any, y: Any, weights: Any, tol: float) -> tuple[Any, Any]:
    """scikit-learn's logits on all rows ``(N, n, k)``, those of a row adding up to 0, and its coefficients ``(N, d + 1, k)``."""
    made = [LogisticRegression(tol=tol, max_iter=10_000).fit(x[own > 0], y[own > 0]) for own in weights]
    answers = np.stack([model.decision_function(x) for model in made])
    found = np.stack([np.concatenate([model.coef_, model.intercept_[:, None]], 1).T for model in made])
    if answers.ndim == 2:
        return np.stack([-answers / 2, answers / 2], 2), np.concatenate([-found / 2, found / 2], 2)
    return answers - answers.mean(2, keepdims=True), found


def regressions() -> list[dict[str, Any]]:
    """The stack of logistic regressions: at like losses, and ours at its default against theirs."""
    lines = []
    for name, load, members in (("breast cancer", load_breast_cancer, 128), ("digits", load_digits, 32)):
        data = load()
        x, y = (data.data - data.data.mean(0)) / (data.data.std(0) + 1e-9), data.target
        weights = (np.random.default_rng(0).random((members, len(x))) < 0.5).astype(int)
        # One of ours and one of theirs in turn, and the fastest of each: others may be at work on the machine.
        ours, rest = dict.fromkeys(TOLS, float("inf")), dict.fromkeys(TOLS, float("inf"))
        ends: dict[tuple[float, float], tuple[float, float]] = {}
        for _ in range(REPEATS):
            for pair in TOLS:
                learner = Softmax(tol=pair[1])
                took, out = seconds(lambda: train_many(learner, x, y, weights, seeds=range(members), ask=x))  # noqa: B023
                ours[pair] = min(ours[pair], took)
                took, (answers, theirs) = seconds(lambda: one_by_one(x, y, weights, pair[0]))  # noqa: B023
                rest[pair] = min(rest[pair], took)
                logits = out.logits[0] - out.logits[0].mean(2, keepdims=True)
                mine, _ = newton.fit(learner, x, y, weights, int(y.max()) + 1)
                over = losses(mine[:, :-1], x, y, weights) - losses(theirs, x, y, weights)
                ends[pair] = float(np.abs(logits - answers).max()), float(over.max())
        for pair in TOLS:
            ratio, default, (apart, over) = rest[pair] / ours[pair], rest[pair] / ours[TOLS[-1]], ends[pair]
            lines.append({
                "data": name, "models": members, "tol": pair[0], "our_tol": pair[1], "stacked_s": ours[pair],
                "one_by_one_s": rest[pair], "ratio": ratio, "ratio_of_our_default": default, "apart": apart,
                "loss_above_theirs_at_most": over,
            })  # fmt: skip
            print(f"{members:4d} regressions on {name}: {ours[pair]:.3f} s at tol {pair[1]:g}, scikit-learn {rest[pair]:.3f} s "
                  f"at {pair[0]:g}, x {ratio:.1f} (ours at its default x {default:.1f}); apart {apart:.1e}, "
                  f"loss above theirs at most {over:.1e}")  # fmt: skip
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
