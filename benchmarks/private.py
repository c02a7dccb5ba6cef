"""Private training against the attack that knows it: LiRA whose shadows are trained by the defended recipe itself, and what the
defence costs in accuracy.

    python benchmarks/private.py [--shadows 32] [--targets 2]

A 64-wide network on the digits with a tenth of the labels wrong for DP-SGD, PATE and randomised response; a regression on the
breast cancer data for output perturbation, whose noise grows with classes and columns: too few records there for a rate at 1 %.
Writes `benchmarks/results/private.json`.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are loaded

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import casemate as cm
from casemate.attacks import _shadows
from casemate.attacks.privacy.lira import LiRA
from casemate.controls.training.dp_sgd import DPSGD
from casemate.controls.training.output_perturbation import OutputPerturbation
from casemate.controls.training.pate import PATE
from casemate.controls.training.randomised_response import RandomisedResponse
from casemate.core.oracle import Known
from casemate.core.target import Recipe
from casemate.testing import worlds
from casemate.trainers import Softmax

OUT = Path(__file__).parent / "results" / "private.json"
NETWORK = (None, RandomisedResponse(epsilon=3.0), RandomisedResponse(epsilon=1.0), DPSGD(epsilon=8.0), DPSGD(epsilon=3.0), PATE())
LINEAR = (None, OutputPerturbation(epsilon=8.0))


def regression(x: Any, y: Any, seed: int) -> Any:
    """A regression, trained as its stack trains."""
    return cm.wrap(LogisticRegression(C=1 / L2, max_iter=500).fit(x, y))


L2 = 1.0


def cells(seed: int) -> Iterator[tuple[str, Any, Any, Recipe]]:
    """A kind of model, a control, the world it is attacked in, and the recipe it leaves."""
    digits = worlds.leaky(*worlds.digits(noise=0.1), seed=seed)
    x, y = load_breast_cancer(return_X_y=True)
    ill = worlds.leaky(StandardScaler().fit_transform(x), y, seed=seed)
    linear = Recipe(regression, ill.recipe.x, ill.recipe.y, "1", stack=Softmax(l2=L2))
    for kind, world, base, controls in (("network", digits, digits.recipe, NETWORK), ("regression", ill, linear, LINEAR)):
        for control in controls:
            yield kind, control, world, base if control is None else control.harden_recipe(base)


def measured(world: Any, recipe: Recipe, shadows: int, seed: int) -> dict[str, float]:
    """Accuracy on those who were not in the training, and what LiRA finds."""
    target = recipe.fit(recipe.x, recipe.y, seed)
    _shadows.forget()
    began = time.process_time()
    evidence = cm.run(LiRA(shadows=shadows), target, world.case, known=Known(recipe=recipe), seed=seed)
    out = ~np.asarray(world.case.truth, bool)
    right = np.asarray(target.respond(np.asarray(world.case.x)[out]).label) == np.asarray(world.case.y)[out]
    return {
        "accuracy": float(right.mean()),
        "auc": float(evidence.extra["auc"]),
        "tpr": float(evidence.extra["tpr_at_0.01_fpr"].get("tpr", np.nan)),
        "seconds": time.process_time() - began,
    }


def _mean(values: list[float]) -> float | None:
    """The mean; None where the sample is too small for the statistic."""
    return float(np.mean(values)) if np.isfinite(values).all() else None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shadows", type=int, default=32)
    parser.add_argument("--targets", type=int, default=2)
    options = parser.parse_args()
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for seed in range(options.targets):
        for kind, control, world, recipe in cells(seed):
            one = measured(world, recipe, options.shadows, seed)
            found.setdefault((kind, "none" if control is None else repr(control)), []).append(one)
            print(f"{kind:10} {control!r:.60} {one}", flush=True)
    lines = [
        {"model": kind, "control": control, **{key: _mean([one[key] for one in rows]) for key in rows[0]}}
        for (kind, control), rows in found.items()
    ]
    about = {"shadows": options.shadows, "targets": options.targets}
    OUT.write_text(json.dumps({**about, "lines": lines}, indent=1) + "\n")


if __name__ == "__main__":
    main()
