"""Membership inference end to end: what each attack finds on three sets, and what it costs.

    python benchmarks/membership.py                      # minutes
    python benchmarks/membership.py --sets digits --only privacy.lira --targets 3

The sets are those of the study: the digits of scikit-learn, the same with a tenth of the labels wrong, and synthetic purchases.
Each target is a 64-64-10 network (64-wide on purchases) trained on half of the records. Attacks share 64 shadow models, and the
first to run on a target is charged for them: `privacy.lira` runs first, on shadows trained afresh. Beside the clock stands the
processor's own time, which other work on the machine does not stretch. Writes `benchmarks/results/membership.json`.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are loaded

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import casemate as cm
from casemate.attacks import _shadows
from casemate.attacks.privacy.entropy import ModifiedEntropy
from casemate.attacks.privacy.lira import LiRA
from casemate.attacks.privacy.loss_threshold import LossThreshold
from casemate.attacks.privacy.rmia import RMIA
from casemate.attacks.privacy.shadow import ShadowModel
from casemate.core.oracle import Known
from casemate.testing import worlds

HERE = Path(__file__).parent
Data = tuple[Any, Any]
# What the study measured: area under the curve and true positives at 1 % false ones, of LiRA and of the loss.
SETS: dict[str, tuple[Callable[[], Data], dict[str, tuple[float, float]]]] = {
    "digits": (worlds.digits, {"privacy.lira": (0.627, 0.066), "privacy.loss_threshold": (0.523, 0.009)}),
    "digits, 10 % label noise": (
        lambda: worlds.digits(noise=0.1), {"privacy.lira": (0.688, 0.128), "privacy.loss_threshold": (0.573, 0.011)}
    ),
    "purchases": (
        lambda: worlds.purchases(1500), {"privacy.lira": (0.860, 0.263), "privacy.loss_threshold": (0.693, 0.013)}
    ),
}  # fmt: skip
ATTACKS: tuple[Any, ...] = (LiRA(), LiRA(online=False), RMIA(), ModifiedEntropy(), ShadowModel(), LossThreshold())
LIMIT = 15.0  # seconds of LiRA end to end on the digits


def name_of(attack: Any) -> str:
    return f"{attack.info.id}, offline" if getattr(attack, "online", True) is False else str(attack.info.id)


def measure(data: Data, targets: int, only: set[str]) -> list[dict[str, Any]]:
    """One line for each attack: means over targets, each with the spread between targets."""
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    for seed in range(targets):
        world = worlds.leaky(*data, seed=seed)
        _shadows.forget()
        for attack in ATTACKS:
            if only and attack.info.id not in only:
                continue
            clock, work = time.perf_counter(), time.process_time()
            extra = cm.run(attack, world.target, world.case, known=Known(recipe=world.recipe), seed=seed).extra
            spent = (time.perf_counter() - clock, time.process_time() - work)
            tpr = extra["tpr_at_0.01_fpr"]["tpr"]
            found.setdefault(name_of(attack), []).append((extra["auc"], tpr, *spent))
    lines = []
    for name, rows in found.items():
        auc, tpr, clock, work = np.array(rows).T
        lines.append({
            "attack": name, "targets": len(rows), "auc": auc.mean(), "auc_sd": auc.std(), "tpr_at_1": tpr.mean(),
            "tpr_sd": tpr.std(), "seconds": clock.mean(), "cpu_seconds": work.mean(),
        })  # fmt: skip
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", default=",".join(SETS), help="names, separated by commas; the label-noise set is 'noise'")
    parser.add_argument("--only", default="", help="attack ids, separated by commas")
    parser.add_argument("--targets", type=int, default=3)
    options = parser.parse_args()
    wanted = [part.strip() for part in options.sets.split(",")]
    result: dict[str, Any] = {}
    for name, (make, study) in SETS.items():
        if name not in wanted and not ("noise" in name and any("noise" in part for part in wanted)):
            continue
        lines = measure(make(), options.targets, set(filter(None, options.only.split(","))))
        for line in lines:
            if line["attack"] in study:
                line["study_auc"], line["study_tpr_at_1"] = study[line["attack"]]
            beside = f"  (study {line['study_auc']:.3f}, {line['study_tpr_at_1']:.3f})" if "study_auc" in line else ""
            print(
                f"{name:26} {line['attack']:24} area {line['auc']:.3f} +- {line['auc_sd']:.3f}  "
                f"tpr at 1 % {line['tpr_at_1']:.3f} +- {line['tpr_sd']:.3f}{beside}  "
                f"{line['seconds']:.1f} s, {line['cpu_seconds']:.1f} s of processor", flush=True,
            )  # fmt: skip
        result[name] = lines
    lira = [line for line in result.get("digits", []) if line["attack"] == "privacy.lira"]
    if lira:
        print(f"LiRA end to end on the digits: {lira[0]['cpu_seconds']:.1f} s of processor, at most {LIMIT:g} s asked")
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "membership.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
