"""ALMA, EAD, JSMA, sigma-zero and PDPGD beside the peers that have them: median distance and time at the same steps.

    python benchmarks/nearest_2.py                       # everything, 100 images, 3 pairs
    python benchmarks/nearest_2.py --pairs 1 --rows 50 --only alma

Writes `benchmarks/results/nearest_2.json`. Every attack gets the same images and the same steps as its peer; a failed row
counts as infinitely far. Times are interleaved, on one thread, and their ratio is the median of pairs.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are loaded

import argparse
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import evasion_parts as parts
import numpy as np
import peers
import torch
from evasion_speed import HERE, Row, attacked, interleave, ratio
from torch import Tensor, nn

import casemate as cm
from casemate.attacks.evasion.alma import ALMA
from casemate.attacks.evasion.ead import EAD
from casemate.attacks.evasion.jsma import JSMA
from casemate.attacks.evasion.pdpgd import PDPGD
from casemate.attacks.evasion.sigma_zero import SigmaZero

OUT = HERE / "results" / "nearest_2.json"
STEPS = 300


def sides_of(name: str, model: nn.Module, x: Tensor, y: Tensor, norm: str) -> tuple[Any, peers.Sides]:
    """Our attack, and the peers' as callables that return changed inputs."""
    return {"alma": _alma, "pdpgd": _pdpgd, "sigma_zero": _sigma, "ead": _ead, "jsma": _jsma}[name](model, x, y, norm)


def _alma(model: nn.Module, x: Tensor, y: Tensor, norm: str) -> tuple[Any, peers.Sides]:
    sides: peers.Sides = {}
    if peers._library("adv_lib"):
        from adv_lib.attacks import alma

        sides["adv-lib"] = lambda: alma(model, x, y, num_steps=STEPS, distance=norm)
    return ALMA(steps=STEPS), sides


def _pdpgd(model: nn.Module, x: Tensor, y: Tensor, norm: str) -> tuple[Any, peers.Sides]:
    sides: peers.Sides = {}
    if peers._library("adv_lib"):
        from adv_lib.attacks.primal_dual_gradient_descent import pdgd, pdpgd

        order = {"linf": np.inf, "l2": 2, "l1": 1, "l0": 0}[norm]
        step = {"proximal_operator": 23} if norm == "l0" else {}  # what its own documentation prefers
        sides["adv-lib"] = lambda: pdpgd(model, x, y, order, num_steps=STEPS, **step)
        if norm == "l2":
            sides["adv-lib pdgd"] = lambda: pdgd(model, x, y, num_steps=STEPS)
    return PDPGD(steps=STEPS), sides


def _sigma(model: nn.Module, x: Tensor, y: Tensor, norm: str) -> tuple[Any, peers.Sides]:
    sides: peers.Sides = {}
    if peers._library("adv_lib"):
        from adv_lib.attacks.sigma_zero import sigma_zero

        sides["adv-lib"] = lambda: sigma_zero(model, x, y, num_steps=STEPS)
    return SigmaZero(steps=STEPS), sides


def _ead(model: nn.Module, x: Tensor, y: Tensor, norm: str) -> tuple[Any, peers.Sides]:
    sides: peers.Sides = {}
    if fb := peers._library("foolbox"):
        attack = fb.attacks.EADAttack(binary_search_steps=5, steps=200, decision_rule="L1", abort_early=False)
        wrapped = fb.PyTorchModel(model, bounds=(0, 1), device="cpu")
        sides["foolbox"] = lambda: attack.run(wrapped, x, fb.criteria.Misclassification(y))
    if ta := peers._library("torchattacks"):
        other = ta.EADL1(model, max_iterations=200, binary_search_steps=5, abort_early=False)
        sides["torchattacks"] = lambda: other(x, y)
    return EAD(steps=200, searches=5), sides


def _jsma(model: nn.Module, x: Tensor, y: Tensor, norm: str) -> tuple[Any, peers.Sides]:
    sides: peers.Sides = {}
    if peers._library("art"):
        from art.attacks.evasion import SaliencyMapMethod

        wrapped = peers._art(model, x)
        with torch.no_grad():  # it takes targets only: the best other class, as ours does
            second = model(x).topk(2, 1).indices[:, 1]
        run = SaliencyMapMethod(wrapped, theta=1.0, gamma=1.0, batch_size=len(x), verbose=False)
        sides["ART"] = lambda: torch.as_tensor(run.generate(x.numpy(), y=np.eye(10)[second]), dtype=x.dtype)
    return JSMA(), sides


def sizes(model: nn.Module, claims: Tensor, x: Tensor, y: Tensor, norm: str) -> Tensor:
    """The size of each row's change ``(n,)``, infinite where the model still reads it correctly."""
    change = (claims.double() - x.double()).flatten(1)
    if norm == "l0":
        found = (change != 0).sum(1).double()
    else:
        found = torch.linalg.vector_norm(change, {"linf": torch.inf, "l2": 2, "l1": 1}[norm], dim=1)
    with torch.no_grad():
        wrong: Tensor = model(claims).argmax(1) != y
        return torch.where(wrong, found, torch.inf)


def compare(name: str, norm: str, kind: str, model: nn.Module, rows: int, pairs: int) -> Iterator[Row]:
    """One line for each peer: our median distance and time as shares of its."""
    x, y = parts.right(model, rows)
    target, case = cm.wrap(model), cm.Evade(x, y, cm.Ball(norm, np.inf), seek="nearest")
    attack, others = sides_of(name, model, x, y, norm)
    ours: Callable[[], Any] = lambda: torch.as_tensor(attacked(attack, target, case)[0].x)  # noqa: E731
    times, last = interleave({"casemate": ours, **others}, pairs)
    found = {side: sizes(model, claims.detach(), x, y, norm) for side, claims in last.items()}
    for peer in peers.names(others):
        middle, low, high = ratio(times["casemate"], times[peer])
        mine, theirs = (float(found[side].quantile(0.5)) for side in ("casemate", peer))
        yield {
            "cell": f"{name} {norm}, {len(x)} images, {kind} CNN", "against": peer, "median": [mine, theirs],
            "mean": [float(found[side][found[side].isfinite()].mean()) for side in ("casemate", peer)],
            "failed": [int(found[side].isinf().sum()) for side in ("casemate", peer)],
            "distance": mine / theirs, "distance_met": mine <= 1.01 * theirs, "ratio": middle, "low": low, "high": high,
            "time_met": middle <= 1.0, "seconds": [float(np.median(times[side])) for side in ("casemate", peer)], "pairs": pairs,
        }  # fmt: skip


CELLS = (
    *(("alma", n) for n in ("l2", "l1")), ("sigma_zero", "l0"), ("jsma", "l0"),
    *(("pdpgd", n) for n in ("linf", "l2", "l1", "l0")), ("ead", "l1"),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--only", default=",".join(dict(CELLS)), help="attacks, with commas")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    lines: list[Row] = json.loads(OUT.read_text())["lines"] if OUT.exists() else []
    for name, norm in CELLS:
        for kind, model in (("adversarially trained", parts.hardened()), ("undefended", parts.plain())):
            if name not in options.only.split(","):
                continue
            for row in compare(name, norm, kind, model, options.rows, options.pairs):
                lines = [old for old in lines if (old["cell"], old["against"]) != (row["cell"], row["against"])] + [row]
                about = {"torch": torch.__version__, "threads": 1, "cores": os.cpu_count()}
                OUT.write_text(json.dumps({"machine": about, "lines": lines}, indent=1) + "\n")
                print(f"{row['cell']} | {row['against']}: distance {row['distance']:.3f} {row['median']}, "
                      f"time {row['ratio']:.3f}, failed {row['failed']}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
