"""How near the attacks on trees come to the smallest change, and how long they take.

    python benchmarks/trees.py                       # 100 trees of five kinds, 10 rows, at most 10 s of solver a row
    python benchmarks/trees.py --rows 30 --seconds 60 --models forest,xgboost --norms linf
    python benchmarks/trees.py --trees 5,20          # small ones: the solver proves nearly every row

For each model and norm: the time of `evasion.leaf_tuple` a row (setup told apart), its distance as a multiple of that of
`evasion.tree_milp`, how many rows the latter proved smallest in its time, and the bound of `tree_bound.certify` as a share of
the smallest distance known. Where the solver ran out of time the ratio is to the best change that is known, and the last
column tells how far the proven bound lies below it. Seconds are of the processor, on one thread, so that a busy machine
matters less; the solver's limit is by the clock. The data come with scikit-learn (breast cancer, every column in [0, 1]).
Writes `benchmarks/results/trees.json`.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

import casemate as cm
from casemate.attacks.evasion._aims import aims_of
from casemate.attacks.evasion._boxes import cells_of, view
from casemate.attacks.evasion.leaf_tuple import shortest
from casemate.attacks.evasion.tree_bound import certify
from casemate.attacks.evasion.tree_milp import solve

HERE = Path(__file__).parent
OUT = HERE / "results" / "trees.json"


def models(trees: int) -> dict[str, Any]:
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier

    found: dict[str, Any] = {
        "forest": RandomForestClassifier(trees, max_depth=6, random_state=0),
        "boosted": GradientBoostingClassifier(n_estimators=trees, max_depth=3, random_state=0),
        "histogram": HistGradientBoostingClassifier(max_iter=trees, max_leaf_nodes=8, random_state=0),
    }
    if importlib.util.find_spec("xgboost"):
        import xgboost

        found["xgboost"] = xgboost.XGBClassifier(n_estimators=trees, max_depth=4, n_jobs=1)
    if importlib.util.find_spec("lightgbm"):
        import lightgbm

        found["lightgbm"] = lightgbm.LGBMClassifier(n_estimators=trees, num_leaves=8, n_jobs=1, verbose=-1)
    return found


def data() -> tuple[Any, Any]:
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return (x - x.min(0)) / (x.max(0) - x.min(0)), y


def measure(name: str, trees: int, norm: Any, rows: int, seconds: float) -> dict[str, Any]:
    x, y = data()
    target: Any = cm.wrap(models(trees)[name].fit(x[100:], y[100:]))
    began = time.process_time()
    ensemble = target.structure()
    cells = cells_of(ensemble)
    setup = time.process_time() - began
    ball, x = cm.Ball(norm, np.inf), x[:rows]
    own, found, took, exact, spent = ensemble.decide(x), [], [], [], []
    for row, label in zip(x, own, strict=True):
        began = time.process_time()
        found.append(shortest(view(cells, row, ball), aims_of(cm.Wrong(), label, ensemble), np.inf, 0, 4, cm.RowRandom(0), 0)[1])
        took.append(1000 * (time.process_time() - began))
        began = time.perf_counter()
        exact.append(solve(ensemble, row, label, ball, seconds=seconds))
        spent.append(time.perf_counter() - began)
    began = time.process_time()
    bound = certify(ensemble, x, own, norm=norm)
    certified = 1000 * (time.process_time() - began) / rows
    best = np.array([one.distance for one in exact])
    ratio = np.array(found) / best
    return {
        "model": name, "trees": trees, "norm": norm, "leaves": len(cells.tree), "setup_ms": 1000 * setup, "rows": rows,
        "leaf_tuple_ms": statistics.median(took), "ratio_mean": float(ratio.mean()), "ratio_median": float(np.median(ratio)),
        "ratio_worst": float(ratio.max()), "milp_s": statistics.median(spent), "proven": sum(one.optimal for one in exact),
        "bound_ms": certified, "bound_share": float((bound / best).mean()),
        "bound_kept": bool((bound <= best * (1 + 1e-9)).all()),
        "gap_mean": float(np.mean([1 - one.bound / one.distance for one in exact])),
    }  # fmt: skip


def write(line: dict[str, Any]) -> None:
    """The line in its place among the results; what was not measured again stays."""
    OUT.parent.mkdir(exist_ok=True)
    before = json.loads(OUT.read_text())["lines"] if OUT.exists() else []
    key = [line[part] for part in ("model", "trees", "norm")]
    # Lines of before there were small ensembles do not say how many trees: 100.
    kept = [old for old in before if [old["model"], old.get("trees", 100), old["norm"]] != key]
    head = {"machine": platform.processor() or platform.machine(), "python": platform.python_version()}
    OUT.write_text(json.dumps({**head, "lines": [*kept, line]}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--models", default="")
    parser.add_argument("--norms", default="linf,l2,l1,l0")
    parser.add_argument("--trees", default="100", help="trees (rounds of boosting) of each ensemble, with commas")
    asked = parser.parse_args()
    chosen = [name for name in models(1) if not asked.models or name in asked.models.split(",")]
    for trees, name, norm in itertools.product(map(int, asked.trees.split(",")), chosen, asked.norms.split(",")):
        line = measure(name, trees, norm, asked.rows, asked.seconds)
        write(line)
        print(
            f"{name:10} {trees:4} trees {norm:5} leaf_tuple {line['leaf_tuple_ms']:6.1f} ms a row, {line['ratio_mean']:.3f} x "
            f"(median {line['ratio_median']:.3f}, worst {line['ratio_worst']:.3f}) | milp {line['milp_s']:6.2f} s, proven "
            f"{line['proven']}/{line['rows']} | bound {line['bound_share']:.2f} in {line['bound_ms']:.0f} ms | "
            f"gap {line['gap_mean']:.3f}",
            flush=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
