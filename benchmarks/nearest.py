"""Smallest distances: median size and seconds beside the peers, interleaved in one run on one thread.

    python benchmarks/nearest.py                               # everything, 100 images, 3 rounds
    python benchmarks/nearest.py --pairs 1 --only deepfool,ddn
    python benchmarks/nearest.py --pairs 1 --rows 10 --models resnet --only carlini_wagner

Writes `benchmarks/results/nearest.json`. A peer that is not installed is left out, and said so. Steps are the same on both
sides. A failed row counts as infinitely far. Whether a claim succeeds is asked of the bare model, for all sides alike.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are loaded

import argparse
import json
import logging
import platform
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import evasion_parts as parts
import numpy as np
import peers
import torch
from evasion_speed import attacked, interleave, ratio
from torch import Tensor, nn

import casemate as cm
from casemate.attacks.evasion.carlini_wagner import CarliniWagner
from casemate.attacks.evasion.ddn import DDN
from casemate.attacks.evasion.deepfool import DeepFool
from casemate.attacks.evasion.fmn import FMN

OUT = Path(__file__).parent / "results" / "nearest.json"
ORDER = {"l0": 0.0, "l1": 1.0, "l2": 2.0, "linf": float("inf")}
STRONG, FAST = 1.01, 1.0  # aims: median distance and seconds, as shares of the peer's
Sides = dict[str, Callable[[], Any]]


def deepfool(model: nn.Module, x: Tensor, y: Tensor, norm: str) -> Sides:
    """DeepFool, 50 steps at most."""
    sides: Sides = {}
    if peers._library("adv_lib"):
        from adv_lib.attacks.deepfool import df

        sides["adv-lib"] = lambda: df(model, x, y, steps=50, norm=ORDER[norm])
    if fb := peers._library("foolbox"):
        kind = fb.attacks.L2DeepFoolAttack if norm == "l2" else fb.attacks.LinfDeepFoolAttack
        sides["foolbox"] = _foolbox(fb, kind(steps=50), model, x, y)
    return sides


def ddn(model: nn.Module, x: Tensor, y: Tensor, norm: str) -> Sides:
    """DDN, 100 steps, nothing rounded to levels."""
    sides: Sides = {}
    if peers._library("adv_lib"):
        from adv_lib.attacks import ddn as run

        sides["adv-lib"] = lambda: run(model, x, y, steps=100, levels=None)
        sides["adv-lib, 256 levels"] = lambda: run(model, x, y, steps=100)
    if fb := peers._library("foolbox"):
        sides["foolbox"] = _foolbox(fb, fb.attacks.DDNAttack(steps=100), model, x, y)
    return sides


def fmn(model: nn.Module, x: Tensor, y: Tensor, norm: str) -> Sides:
    """FMN, 100 steps."""
    sides: Sides = {}
    if peers._library("adv_lib"):
        from adv_lib.attacks import fmn as run

        sides["adv-lib"] = lambda: run(model, x, y, ORDER[norm], steps=100)
    if fb := peers._library("foolbox"):
        kinds = {"l0": "L0FMNAttack", "l1": "L1FMNAttack", "l2": "L2FMNAttack", "linf": "LInfFMNAttack"}
        sides["foolbox"] = _foolbox(fb, getattr(fb.attacks, kinds[norm])(steps=100), model, x, y)
    return sides


def carlini_wagner(model: nn.Module, x: Tensor, y: Tensor, norm: str) -> Sides:
    """C&W, 5 searches of 200 steps."""
    sides: Sides = {}
    if peers._library("adv_lib"):
        from adv_lib.attacks import carlini_wagner_l2 as run

        sides["adv-lib"] = lambda: run(model, x, y, binary_search_steps=5, max_iterations=200)
    if fb := peers._library("foolbox"):
        attack = fb.attacks.L2CarliniWagnerAttack(binary_search_steps=5, steps=200)
        sides["foolbox"] = _foolbox(fb, attack, model, x, y)
    return sides


def _foolbox(fb: Any, attack: Any, model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], Any]:
    wrapped = fb.PyTorchModel(model, bounds=(0, 1), device="cpu")
    return lambda: attack.run(wrapped, x, fb.criteria.Misclassification(y))


CELLS: dict[str, tuple[Any, Any, tuple[str, ...]]] = {
    "deepfool": (DeepFool(steps=50), deepfool, ("l2", "linf")),
    "ddn": (DDN(steps=100), ddn, ("l2",)),
    "fmn": (FMN(steps=100), fmn, ("l2", "linf", "l1", "l0")),
    "carlini_wagner": (CarliniWagner(searches=5, steps=200), carlini_wagner, ("l2",)),
}


MODELS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "hardened": ("adversarially trained", parts.hardened), "plain": ("undefended", parts.plain),
    "resnet": ("ResNet", parts.resnet), "resnet-hardened": ("hardened ResNet", lambda: parts.resnet(hardened=True)),
}  # fmt: skip


def middle(model: nn.Module, claims: Any, x: Tensor, y: Tensor, norm: Any) -> tuple[float, float]:
    """The median distance, failed rows at infinity, and the share of rows that succeeded."""
    claims = torch.as_tensor(claims).detach()
    with torch.no_grad():
        won = (model(claims).argmax(1) != y).numpy()
    size = np.where(won, cm.Ball(norm, np.inf).measure(claims, x), np.inf)
    return float(np.median(size)), float(won.mean())


def compare(name: str, chosen: list[str], rows: int, pairs: int) -> Iterator[dict[str, Any]]:
    """One line for each model, norm and peer."""
    attack, others, norms = CELLS[name]
    for kind, made in (MODELS[one] for one in chosen):
        model = made()
        x, y = parts.right(model, rows)
        target = cm.wrap(model)
        for norm in norms:
            case = cm.Evade(x, y, cm.Ball(norm, np.inf), seek="nearest")
            sides = {"casemate": lambda c=case, t=target: attacked(attack, t, c)[0].x, **others(model, x, y, norm)}
            times, last = interleave(sides, pairs)
            own, reached = middle(model, last["casemate"], x, y, norm)
            for peer in peers.names(sides):
                far, share = middle(model, last[peer], x, y, norm)
                seconds, low, high = ratio(times["casemate"], times[peer])
                yield {
                    "attack": name, "model": kind, "norm": norm, "rows": len(x), "against": peer, "pairs": pairs,
                    "distance": own, "theirs": far if np.isfinite(far) else None, "distance_ratio": own / far,
                    "success": reached, "their_success": share, "time_ratio": seconds, "low": low, "high": high,
                    "seconds": {side: float(np.median(times[side])) for side in ("casemate", peer)},
                    "nearer": own <= STRONG * far, "faster": seconds < FAST,
                }  # fmt: skip


def write(lines: list[dict[str, Any]]) -> None:
    """The results as JSON. Lines that this run did not measure stay as they were: each says with how many pairs."""
    machine = {"python": platform.python_version(), "torch": torch.__version__, "threads": 1, "cores": os.cpu_count()}
    before = json.loads(OUT.read_text())["lines"] if OUT.exists() else []
    fresh = {tuple(row[k] for k in ("attack", "model", "norm", "against")) for row in lines}
    kept = [row for row in before if tuple(row[k] for k in ("attack", "model", "norm", "against")) not in fresh]
    absent = [name for name in ("adv_lib", "foolbox") if peers._library(name) is None]
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"machine": machine, "absent": absent, "lines": kept + lines}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--only", default=",".join(CELLS), help="attacks, with commas")
    parser.add_argument("--models", default="hardened,plain", help=f"of {', '.join(MODELS)}, with commas")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    lines: list[dict[str, Any]] = []
    for name in options.only.split(","):
        for row in compare(name, options.models.split(","), options.rows, options.pairs):
            lines.append(row)
            write(lines)
            print(
                f"{row['attack']} {row['norm']}, {row['model']} | {row['against']}: distance {row['distance']:.4f} / "
                f"{row['theirs']} = {row['distance_ratio']:.3f}, success {row['success']:.2f} / {row['their_success']:.2f}, "
                f"seconds {row['time_ratio']:.3f} ({row['low']:.3f} to {row['high']:.3f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
