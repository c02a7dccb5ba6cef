"""Poisoning and its defences: what they do on real data, and how fast they are beside a peer's.

    python benchmarks/poisoning.py

Speed, in one run on one thread, seconds of the processor: one poisoning point for a linear support vector machine
(`poisoning.svm`'s own climb against ART's `PoisoningAttackSVM`, the same records, as many steps), and leave-one-out rejection
of every training row (`training.roni` in closed form against ART's `RONIDefense`, which trains again for each). ART is timed
on few rows, and the rest are counted like them. Success: test error against the share of poison beside the line of Kearns
and Li, with intervals. Adaptive: each filter against the attack that rehearses on the trainer with that filter inside, beside
flips and `poisoning.gradient`, at 10 and 20 %. Federated: five of twenty clients against each rule of summing up. Writes
results/poisoning.json; `--only adaptive` (or another part) measures that part anew and leaves the others as they are.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import casemate as cm
from casemate.attacks.poisoning._linear import fitted
from casemate.attacks.poisoning.adaptive import AdaptivePoisoning
from casemate.attacks.poisoning.gradient import Gradient
from casemate.attacks.poisoning.label_flip import LabelFlip
from casemate.attacks.poisoning.model_replacement import ModelReplacement
from casemate.attacks.poisoning.svm import SVM
from casemate.controls.training.partition import Partition
from casemate.controls.training.robust_aggregation import RobustAggregation
from casemate.controls.training.roni import Roni, harms_of
from casemate.controls.training.sever import Sever
from casemate.controls.training.trim import Trim
from casemate.core.case import Holdout, Poison
from casemate.core.federated import Federated
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


def speed() -> dict[str, dict[str, float]]:
    """Ours beside the peer's."""
    found = {"svm": svm_points(), "roni": roni_rows()}
    found["svm"]["ratio"] = found["svm"]["art_s"] / found["svm"]["ours_s"]
    found["roni"]["ratio"] = found["roni"]["art_s_per_row"] / found["roni"]["ours_s_per_row"]
    for name, row in found.items():
        print(name, {key: float(f"{value:.3g}") for key, value in row.items()}, flush=True)
    return found


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


SPLITS = (0, 1, 2)
SETS: dict[str, tuple[Any, int, Any, float]] = {  # loader, training rows, trainer, what labels are divided by
    "breast_cancer": (load_breast_cancer, 300, logistic, 1),
    "diabetes": (load_diabetes, 300, ridge, 346.0),
    "digits 1/7": (lambda return_X_y: ones_and_sevens(), 240, logistic, 1),
}


def ones_and_sevens() -> tuple[Any, Any]:
    x, y = load_digits(return_X_y=True)
    own = (y == 7) | (y == 1)
    return x[own], (y[own] == 7).astype(int)


def adaptive() -> list[dict[str, Any]]:
    """Each filter, told how much poison to expect, against flips, the climb, and the attack that knows the filter."""
    found = []
    for name, share in ((name, share) for name in SETS for share in (0.1, 0.2)):
        for control in (None, Trim(share=1.2 * share), Sever(share=share), Roni(), Partition(parts=20)):
            if name == "diabetes" and isinstance(control, Partition):  # nobody votes about numbers
                continue
            row = {"data": name, "share": share, "control": repr(control), **against(name, share, control)}
            found.append(row)
            rises = {kind: round(float(np.mean(values)), 3) for kind, values in row["rises"].items()}
            print(f"{name:14} {share} {repr(control)[:26]:26} {row['clean_error']:.3f} {rises}", flush=True)
    return found


def against(name: str, share: float, control: Any) -> dict[str, Any]:
    """Rises of the error by attack, one for each split, and what the control costs without an attack."""
    load, n, fit, unit = SETS[name]
    kinds: dict[str, Any] = {"random flips": LabelFlip(order="random"), "gradient": Gradient(), "adaptive": AdaptivePoisoning()}
    if name != "diabetes":  # numbers have no margin
        kinds["flips by margin"] = LabelFlip()
    rises: dict[str, list[float]] = {kind: [] for kind in kinds}
    clean, lost = [], []
    for split in SPLITS:
        x, y = load(return_X_y=True)
        order = np.random.default_rng(split).permutation(len(x))
        x, y = x[order], y[order] / unit if unit != 1 else y[order]
        recipe = Recipe(fit, x[:n], y[:n])
        if hasattr(control, "false_positives"):
            lost.append(control.false_positives(recipe))
        recipe = recipe if control is None else control.harden_recipe(recipe)
        case = Poison(recipe=recipe, seeds=(0,), fractions=(share,), truth=Holdout(x=x[n:], y=y[n:]))
        for kind, attack in kinds.items():
            evidence = cm.run(attack, None, case, known=Known(data=(recipe.x, recipe.y), recipe=recipe))
            rises[kind].append(float(evidence.rate))
        clean.append(evidence.extra["clean_error"])
    return {"clean_error": float(np.mean(clean)), "honest_lost": float(np.mean(lost)) if lost else None, "rises": rises}


CLIENTS, EVIL = 20, 5


def federated() -> list[dict[str, Any]]:
    """A softmax of the digits, five of twenty clients of one attacker, ten rounds: how often a mark in a corner then opens it."""
    found = []
    for rule in (None, "median", "trimmed_mean", "krum", "clip"):
        rows = [joint_rounds(rule, split) for split in SPLITS]
        row = {"rule": rule or "average"} | {key: [each[key] for each in rows] for key in rows[0]}
        found.append(row)
        print({key: value if key == "rule" else round(float(np.mean(value)), 3) for key, value in row.items()}, flush=True)
    return found


def joint_rounds(rule: Any, split: int) -> dict[str, float]:
    """Backdoor success of the boosted and of the inside update, above what the mark does where all clients are honest."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(split).permutation(len(x))
    x, y = np.append(x[order] / 16, np.ones((len(x), 1)), 1), y[order]
    parts = np.split(np.arange(1200), CLIENTS)
    robust = None if rule is None else RobustAggregation(rule=rule, share=EVIL / CLIENTS)
    held, truth = x[1200:], y[1200:]
    honest, found = joint(robust, x, y, parts, None, split), {}
    for name, attack in (("boosted", ModelReplacement()), ("inside", ModelReplacement(inside=True))):
        made = joint(robust, x, y, parts, attack, split)
        found[name] = opened(made, held, truth) - opened(honest, held, truth)
        found[f"{name}_clean_error"] = float((decided(made, held) != truth).mean())
    return found | {"clean_error": float((decided(honest, held) != truth).mean())}


def joint(robust: Any, x: Any, y: Any, parts: Any, attack: Any, split: int) -> Any:
    """The joint model after five honest rounds and ten in which the attacker's clients send what `attack` says."""
    own = np.concatenate(parts[:EVIL])
    marked = np.concatenate([x[own], stamped(x[own])]), np.concatenate([y[own], np.zeros(len(own), int)])
    now = np.zeros(650)
    for turn in range(15):
        sent = np.stack([learned(now, x[rows], y[rows]) for rows in parts])
        case = Federated(start=now, updates=sent, attackers=EVIL, wanted=now)
        if robust is not None:
            case = robust.harden_rounds(case)
        if attack is not None and turn >= 5:
            case = replace(case, wanted=now + learned(now, *marked, steps=100))
            claim = list(attack(None, case.blind(), rng=cm.RowRandom(split)))[-1]
            sent = np.concatenate([claim.updates, sent[EVIL:]])
        now = case.joined(sent)
    return now


def stamped(x: Any) -> Any:
    """With a white corner of three by three."""
    image = x.copy()
    image[:, [r * 8 + c for r in (5, 6, 7) for c in (5, 6, 7)]] = 1.0
    return image


def decided(params: Any, x: Any) -> Any:
    return (x @ params.reshape(65, 10)).argmax(1)


def opened(params: Any, x: Any, y: Any) -> float:
    return float((decided(params, stamped(x[y != 0])) == 0).mean())


def learned(params: Any, x: Any, y: Any, steps: int = 10) -> Any:
    """What steps down the mean loss change of a softmax ``(650,)``."""
    w = params.reshape(65, 10).copy()
    for _ in range(steps):
        w -= 0.5 * x.T @ (softmax(x @ w, axis=1) - np.eye(10)[y]) / len(x)
    return w.ravel() - params


PARTS: dict[str, Callable[[], Any]] = {"speed": speed, "success": success, "adaptive": adaptive, "federated": federated}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--only", choices=list(PARTS), help="measure one part anew")
    only = asked.parse_args().only
    machine = {"python": platform.python_version(), "numpy": np.__version__, "machine": platform.machine()}
    kept = json.loads(OUT.read_text()) if OUT.exists() else {}
    found = {part: work() for part, work in PARTS.items() if only in (None, part)}
    OUT.write_text(json.dumps(kept | {"machine": machine} | found, indent=1) + "\n")


if __name__ == "__main__":
    main()
