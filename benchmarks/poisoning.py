"""Poisoning and its defences: what they do on real data, and how fast they are beside a peer's.

    python benchmarks/poisoning.py

Speed, in one run on one thread, seconds of the processor: one poisoning point for a linear support vector machine
(`poisoning.svm`'s own climb against ART's `PoisoningAttackSVM`, the same records, as many steps), and leave-one-out rejection
of every training row (`training.roni` in closed form against ART's `RONIDefense`, which trains again for each). ART is timed
on few rows, and the rest are counted like them. Success: test error against the share of poison beside the line of Kearns
and Li, with intervals. Writes results/poisoning.json.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import casemate as cm
from casemate.attacks.poisoning._linear import fitted
from casemate.attacks.poisoning.gradient import Gradient
from casemate.attacks.poisoning.label_flip import LabelFlip
from casemate.attacks.poisoning.svm import SVM
from casemate.controls.training.partition import Partition
from casemate.controls.training.roni import Roni, harms_of
from casemate.controls.training.sever import Sever
from casemate.controls.training.trim import Trim
from casemate.core.case import Holdout, Poison
from casemate.core.oracle import Known
from casemate.core.target import Recipe

OUT = Path(__file__).parent / "results" / "poisoning.json"
STEPS, REPEATS = 10, 5


def seconds(work: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Of the processor; the best of a few."""
    found = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)


def data() -> tuple[Any, Any, Any, Any]:
    x, y = load_digits(return_X_y=True)
    own = (y == 7) | (y == 1)
    order = np.random.default_rng(0).permutation(int(own.sum()))
    x, y = (x[own] / 16)[order], (y[own] == 7).astype(int)[order]
    return x[:100], y[:100], x[100:200], y[100:200]


def svm_points() -> dict[str, float]:
    """One record under a turned label, so many steps: ours, and ART's."""
    from art.attacks.poisoning import PoisoningAttackSVM
    from art.estimators.classification.scikitlearn import ScikitlearnSVC

    x, y, vx, vy = data()
    t, vt = 2.0 * y[:, None] - 1, 2.0 * vy[:, None] - 1
    point, label = x[:1].copy(), -t[:1]

    def ours() -> None:
        a, model = point.copy(), None
        for _ in range(STEPS):
            model = fitted("svm", 1.0, np.concatenate([x, a]), np.concatenate([t, label]), model)
            slope, _ = model.slopes(a, label, (vx, vt))
            a = (a + 0.1 * slope / max(float(np.linalg.norm(slope)), 1e-30)).clip(0, 1)

    hot = np.eye(2)
    art = ScikitlearnSVC(model=SVC(kernel="linear"), clip_values=(0, 1))
    art.fit(x, hot[y])
    peer = PoisoningAttackSVM(art, 0.1, 1e9, x, hot[y], vx, hot[vy], STEPS, verbose=False)
    other = hot[[1 - y[0]]]
    theirs = seconds(lambda: peer.generate_attack_point(point[0].copy(), other), repeats=1)
    return {"ours_s": seconds(ours), "art_s": theirs, "steps": STEPS}


def roni_rows() -> dict[str, float]:
    """Every row left out once: ours all of them, ART's the first twenty."""
    from art.defences.detector.poison import RONIDefense
    from art.estimators.classification.scikitlearn import ScikitlearnLogisticRegression

    x, y = load_breast_cancer(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    hot, few = np.eye(2), 20
    t = 2 * hot[y] - 1
    ours = seconds(lambda: harms_of(x[:400], t[:400], x[400:], t[400:], 1.0)) / 400
    art = ScikitlearnLogisticRegression(model=LogisticRegression(max_iter=200), clip_values=(-10, 20))
    art.fit(x[:400], hot[y[:400]])
    def right(truth: Any, shown: Any) -> float:
        return float((np.argmax(truth, 1) == np.argmax(shown, 1)).mean())

    peer = RONIDefense(art, x[:few], hot[y[:few]], x[400:], hot[y[400:]], perf_func=right, calibrated=False)
    started = time.process_time()
    peer.detect_poison()
    return {"ours_s_per_row": ours, "art_s_per_row": (time.process_time() - started) / few}


def logistic(x: Any, y: Any, seed: int) -> Any:
    return cm.wrap(make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(x, y))


def ridge(x: Any, y: Any, seed: int) -> Any:
    return cm.wrap(make_pipeline(StandardScaler(), Ridge()).fit(x, y))


def success() -> list[dict[str, Any]]:
    """Errors with and without defences."""
    found = []
    for name, load, n in (("breast_cancer", load_breast_cancer, 300), ("digits", load_digits, 900)):
        x, y = load(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(x))
        x, y = x[order], y[order]
        recipe = Recipe(logistic, x[:n], y[:n])
        case = Poison(recipe=recipe, seeds=(0,), fractions=(0.02, 0.05, 0.1), truth=Holdout(x=x[n:], y=y[n:]))
        for control in (None, Trim(share=0.12), Sever(share=0.1), Roni(), Partition(parts=20)):
            own = case if control is None else replace(case, recipe=control.harden_recipe(recipe))
            alarms = control.false_positives(recipe) if hasattr(control, "false_positives") else None
            for attack in attacks(name):
                evidence = cm.run(attack, None, own, known=Known(data=(recipe.x, recipe.y)))
                row = {
                    "data": name, "control": repr(control), "attack": repr(attack), "alarms_on_clean": alarms,
                    "clean_error": evidence.extra["clean_error"], "rise": evidence.rate,
                    "interval": [evidence.interval.low, evidence.interval.high], "curve": evidence.curves["test error"],
                    "kearns_li": evidence.extra["kearns_li"], "random_flips": evidence.baseline.rate,
                }  # fmt: skip
                found.append(row)
                print(f"{name:14} {repr(control)[:20]:20} {attack.info.id:20} {evidence.rate:+.3f} {evidence.interval}")
    return found


def attacks(name: str) -> tuple[Any, ...]:
    """One gradient attack suits both classes of two and of ten, at the price each asks."""
    flips = (LabelFlip(order="random"), LabelFlip())
    return (*flips, Gradient(), Gradient(quiet=0.9), SVM()) if name == "breast_cancer" else (*flips, Gradient(family="ridge"))


def main() -> None:
    speed = {"svm": svm_points(), "roni": roni_rows()}
    speed["svm"]["ratio"] = speed["svm"]["art_s"] / speed["svm"]["ours_s"]
    speed["roni"]["ratio"] = speed["roni"]["art_s_per_row"] / speed["roni"]["ours_s_per_row"]
    for name, row in speed.items():
        print(name, {key: float(f"{value:.3g}") for key, value in row.items()}, flush=True)
    machine = {"python": platform.python_version(), "numpy": np.__version__, "machine": platform.machine()}
    OUT.write_text(json.dumps({"machine": machine, "speed": speed, "success": success()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
