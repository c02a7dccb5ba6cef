"""Attacks on decisions at equal queries: distances of ours and of the peers, the cost of ours over bare queries, a forest.

    python benchmarks/labels.py                              # everything: minutes
    python benchmarks/labels.py --rows 10 --only ours --caps 1000,5000
    python benchmarks/labels.py --rows 10 --only boosted --caps 1000

Every side is cut at the same number of queries a row, and what counts is the nearest point it had asked by then that is
decided wrongly: a peer that would have handed in a worse one is given the better. Rows are images the reader reads
correctly; the defaults of ours were chosen on other images. Writes `benchmarks/results/labels.json`.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are loaded

import argparse
import importlib
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

import evasion_parts as parts
import numpy as np
import torch
from torch import Tensor, nn

import casemate as cm
from casemate.attacks import CGBA, Boundary, GeoDA, HopSkipJump, RayS, SignOPT, SurFree, Tangent
from casemate.core.endpoint import Endpoint
from casemate.core.oracle import Meter, Oracle
from casemate.runs.driver import drive_dialogue

HERE = Path(__file__).parent
Line = dict[str, Any]
OURS: dict[str, tuple[Any, ...]] = {
    "l2": (HopSkipJump(), Tangent(), CGBA(), SignOPT(), GeoDA(), SurFree(), Boundary()),
    "linf": (HopSkipJump(), RayS(), SignOPT(), GeoDA()),
}


class Spent(Exception):
    """Raised inside a peer once its queries are used up."""


class Watched(nn.Module):
    """A model that counts its queries, remembers the nearest wrong decision by each cap, and stops at the last."""

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor, norm: str, caps: list[int]) -> None:
        super().__init__()
        self.model, self.x, self.y, self.norm, self.caps = model, x, y, norm, caps
        self.asked, self.best = 0, dict.fromkeys(caps, float("inf"))

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(n, 10)``."""
        if self.asked >= self.caps[-1]:
            raise Spent
        x = x.float().reshape(-1, *self.x.shape[1:])
        with torch.no_grad():
            logits: Tensor = self.model(x)
        change = (x - self.x).flatten(1)
        size = change.norm(dim=1) if self.norm == "l2" else change.abs().amax(1)
        # A point outside the domain is no input; rounding to it is forgiven.
        legal = (x.flatten(1).amin(1) >= -1e-5) & (x.flatten(1).amax(1) <= 1 + 1e-5)
        size[(logits.argmax(1) == self.y) | ~legal] = torch.inf
        for cap in self.caps:
            inside = size[: max(0, cap - self.asked)]
            if len(inside):
                self.best[cap] = min(self.best[cap], float(inside.min()))
        self.asked += len(x)
        return logits


def attacked(attack: Any, target: Any, case: Any, cap: int, seed: int = 0) -> tuple[np.ndarray[Any, Any], Meter]:
    """Distances ``(n,)`` at `cap` queries a row, infinite where none was found, and what was charged."""
    meter = Meter(case.row)
    oracle = Oracle(Endpoint(target), cm.researcher(cm.Budget(queries_per_row=cap)), meter)
    trace = drive_dialogue(attack, oracle, case, cm.RowRandom(seed))
    sizes = case.within.measure(np.asarray(trace.x), np.asarray(case.x))
    return np.where(trace.believed, sizes, np.inf), meter


def ours(rows: int, caps: list[int], pairs: int) -> Iterator[Line]:
    """Median distances of ours on the undefended reader."""
    del pairs
    model = parts.plain()
    x, y = parts.right(model, rows)
    target = cm.wrap(model)
    for norm, attacks in OURS.items():
        case = cm.Evade(x, y, cm.Ball(norm, np.inf), seek="nearest")
        for attack in attacks:
            for cap in caps:
                found, _ = attacked(attack, target, case, cap)
                yield _line(f"{norm} {cap}", attack.info.id, found)


def peers(rows: int, caps: list[int], pairs: int) -> Iterator[Line]:
    """The same of the peers, row by row: most work so, and one couples the rows of a batch."""
    del pairs
    model = parts.plain()
    x, y = parts.right(model, rows)
    for norm in ("l2", "linf"):
        for name, run in _peers(norm).items():
            found: dict[int, list[float]] = {cap: [] for cap in caps}
            for i in range(len(x)):
                watched = Watched(model, x[i : i + 1], y[i : i + 1], norm, caps).eval()
                # ValueError: the peer found no start; the row failed.
                with suppress(Spent, ValueError), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
                    run(watched, x[i : i + 1], y[i : i + 1])
                for cap in caps:
                    found[cap].append(watched.best[cap])
            for cap in caps:
                yield _line(f"{norm} {cap}", name, np.array(found[cap]))


def _peers(norm: str) -> dict[str, Callable[[nn.Module, Tensor, Tensor], Any]]:
    """The peers that know the norm, each with its own defaults and no limit but the queries."""
    found: dict[str, Callable[[nn.Module, Tensor, Tensor], Any]] = {}
    with suppress(ImportError):
        fb: Any = importlib.import_module("foolbox")

        def box(attack: Any) -> Callable[[nn.Module, Tensor, Tensor], Any]:
            return lambda m, x, y: attack.run(
                fb.PyTorchModel(m, bounds=(0, 1), device="cpu"), x, fb.criteria.Misclassification(y)
            )

        found["foolbox HopSkipJump"] = box(fb.attacks.HopSkipJumpAttack(steps=1000, constraint=norm))
        if norm == "l2":
            found["foolbox Boundary"] = box(fb.attacks.BoundaryAttack(steps=25_000, tensorboard=False))
    with suppress(ImportError):
        from art.attacks.evasion import BoundaryAttack, GeoDA, HopSkipJump, SignOPTAttack

        order = 2 if norm == "l2" else np.inf

        def toolbox(make: Callable[[Any], Any]) -> Callable[[nn.Module, Tensor, Tensor], Any]:
            return lambda m, x, y: make(_art(m, x)).generate(x.numpy(), y=np.eye(10, dtype=np.float32)[y.numpy()])

        found["ART HopSkipJump"] = toolbox(lambda m: HopSkipJump(m, norm=order, max_iter=1000, verbose=False))
        if hasattr(np, "mat"):  # it uses a name that NumPy 2 took out; nothing of a peer is patched here
            found["ART GeoDA"] = toolbox(lambda m: GeoDA(m, norm=order, max_iter=5000, verbose=False))
        if norm == "l2":
            found["ART SignOPT"] = toolbox(lambda m: SignOPTAttack(m, targeted=False, query_limit=10**6, verbose=False))
            found["ART Boundary"] = toolbox(lambda m: BoundaryAttack(m, targeted=False, max_iter=5000, verbose=False))
    return found


def _art(model: nn.Module, x: Tensor) -> Any:
    from art.estimators.classification import PyTorchClassifier

    return PyTorchClassifier(model, nn.CrossEntropyLoss(), tuple(x.shape[1:]), 10, clip_values=(0, 1), device_type="cpu")


def _line(cell: str, side: str, found: np.ndarray[Any, Any]) -> Line:
    middle = float(np.quantile(found, 0.5, method="inverted_cdf"))
    return {"cell": cell, "side": side, "median": middle, "failed": int(np.isinf(found).sum()), "rows": len(found)}


def bare(rows: int, caps: list[int], pairs: int) -> Iterator[Line]:
    """How long ours take as a share of the bare model calls for as many queries, in batches of 512."""
    model = parts.plain()
    x, y = parts.right(model, max(rows, 100))
    target, block = cm.wrap(model), torch.rand(512, *x.shape[1:])
    for norm, attacks in OURS.items():
        case = cm.Evade(x, y, cm.Ball(norm, np.inf), seek="nearest")
        for attack in attacks:
            shares, asked = [], 0
            for _ in range(pairs):
                began = time.perf_counter()
                asked = attacked(attack, target, case, min(300, *caps))[1].total["queries"]
                middle = time.perf_counter()
                with torch.no_grad():
                    for start in range(0, asked, len(block)):
                        model(block[: min(len(block), asked - start)])
                shares.append((middle - began) / (time.perf_counter() - middle))
            yield {
                "cell": f"{norm}, time over bare queries", "side": attack.info.id, "median": float(np.median(shares)),
                "best": min(shares), "rows": len(x), "queries": asked,
            }  # fmt: skip


def forest(rows: int, caps: list[int], pairs: int) -> Iterator[Line]:
    """Microseconds a query on a forest of 100 trees, 100 rows at once; ART's HopSkipJump on the same, one by one."""
    from peers import forest as art_forest

    model, x, y = parts.forest(100)
    theirs = art_forest(model, x, y, rows=2)
    case, target = cm.Evade(x, y, cm.Ball("l2", np.inf), seek="nearest"), cm.wrap(model)
    del rows, caps
    for attack in (*OURS["l2"], RayS()):
        if attack.info.norms == ("linf",):
            case = cm.Evade(x, y, cm.Ball("linf", np.inf), seek="nearest")
        each, others = [], []
        for _ in range(pairs):
            began = time.perf_counter()
            asked = attacked(attack, target, case, 150)[1].total["queries"]
            each.append((time.perf_counter() - began) / asked)
            others.append(theirs() if theirs else np.nan)
        times = float(np.median(np.array(others) / np.array(each)))
        yield {
            "cell": "forest, microseconds a query", "side": attack.info.id, "median": 1e6 * float(np.median(each)),
            "ART": 1e6 * float(np.median(others)), "times faster": times,
        }  # fmt: skip


def boosted(rows: int, caps: list[int], pairs: int) -> Iterator[Line]:
    """Boosted ensembles: median l2 distance at equal queries beside ART's, then seconds a query beside ART and bare calls."""
    for kind, model, x, y in parts.boosted(100):
        target, few = cm.wrap(model), cm.Evade(x[:rows], y[:rows], cm.Ball("l2", np.inf), seek="nearest")
        for name, make in _art_attacks().items():
            found = [_watched(_art_trees(model), make, x[i], y[i], caps) for i in range(len(few))]
            for k, cap in enumerate(caps):
                yield _line(f"{kind}, l2 {cap}", name, np.array([best[k] for best in found]))
        for attack in OURS["l2"]:
            for cap in caps:
                yield _line(f"{kind}, l2 {cap}", attack.info.id, attacked(attack, target, few, cap)[0])
        yield from _each(kind, model, cm.Evade(x, y, cm.Ball("l2", np.inf), seek="nearest"), pairs)


def _each(kind: str, model: Any, case: Any, pairs: int) -> Iterator[Line]:
    """Microseconds a query of ours, all rows at once; of ART's HopSkipJump, row by row; of the library itself, 512 at once."""
    target, block = cm.wrap(model), np.resize(case.x, (512, case.x.shape[1]))
    theirs = _art_seconds(model, case)
    for attack in OURS["l2"]:
        took: dict[str, list[float]] = {"ours": [], "ART": [], "bare": []}
        for _ in range(pairs):
            began = time.perf_counter()
            asked = attacked(attack, target, case, 150)[1].total["queries"]
            took["ours"].append((time.perf_counter() - began) / asked)
            began = time.perf_counter()
            for _ in range(8):
                model.predict_proba(block)
            took["bare"].append((time.perf_counter() - began) / (8 * len(block)))
            took["ART"].append(theirs() if theirs else np.nan)
        ours, art, alone = (np.array(took[side]) for side in ("ours", "ART", "bare"))
        yield {
            "cell": f"{kind}, microseconds a query", "side": attack.info.id, "median": 1e6 * float(np.median(ours)),
            "ART": 1e6 * float(np.median(art)), "times faster": float(np.median(art / ours)), "rows": len(case),
            "bare": 1e6 * float(np.median(alone)), "over bare": float(np.median(ours / alone)), "pairs": pairs,
        }  # fmt: skip


def _art_attacks() -> dict[str, Callable[[Any], Any]]:
    """ART's attacks on decisions that take ensembles of trees, with no limit but the queries."""
    with suppress(ImportError):
        from art.attacks.evasion import BoundaryAttack, HopSkipJump

        return {
            "ART HopSkipJump": lambda net: HopSkipJump(net, norm=2, max_iter=1000, verbose=False),
            "ART Boundary": lambda net: BoundaryAttack(net, targeted=False, max_iter=5000, verbose=False),
        }
    return {}


def _art_trees(model: Any) -> Any:
    """The ensemble as ART takes it."""
    from art.estimators import classification

    library = type(model).__module__.partition(".")[0]
    if library == "xgboost":
        features = model.n_features_in_
        return classification.XGBoostClassifier(model, clip_values=(0, 1), nb_features=features, nb_classes=10)
    if library == "lightgbm":
        return classification.LightGBMClassifier(model.booster_, clip_values=(0, 1))
    return classification.SklearnClassifier(model, clip_values=(0, 1))


def _watched(net: Any, make: Callable[[Any], Any], one: Any, truth: Any, caps: list[int]) -> list[float]:
    """The nearest wrong decision that an attack of ART's asked for on one row, by each cap."""
    x, y, predict = torch.as_tensor(one[None], dtype=torch.float32), torch.as_tensor(truth[None]), net.predict
    watched = Watched(lambda rows: torch.as_tensor(predict(rows.numpy())), x, y, "l2", caps)  # type: ignore[arg-type]
    net.predict = lambda rows, **options: watched(torch.as_tensor(rows)).numpy()
    # ValueError: no start was found; the row failed.
    with suppress(Spent, ValueError), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        make(net).generate(x.numpy(), y=np.eye(10, dtype=np.float32)[y.numpy()])
    return [watched.best[cap] for cap in caps]


def _art_seconds(model: Any, case: Any) -> Callable[[], float] | None:
    """Seconds a query of ART's HopSkipJump on two rows: it works on one at a time anyway."""
    make = _art_attacks().get("ART HopSkipJump")
    if make is None:
        return None
    net, asked = _art_trees(model), 0
    predict = net.predict

    def counting(rows: Any, **options: Any) -> Any:
        nonlocal asked
        asked += len(rows)
        return predict(rows, **options)

    def run() -> float:
        nonlocal asked
        asked = 0
        attack = make(net)
        attack.max_iter = 5
        began = time.perf_counter()
        attack.generate(case.x[:2].astype(np.float32), y=np.eye(10, dtype=np.float32)[case.y[:2]])
        return (time.perf_counter() - began) / asked

    net.predict = counting
    return run


CELLS = {"ours": ours, "peers": peers, "bare": bare, "forest": forest, "boosted": boosted}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--caps", default="1000,5000", help="queries a row, ascending, with commas")
    parser.add_argument("--only", default=",".join(CELLS), help="cells, with commas")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    out = HERE / "results" / "labels.json"
    caps = [int(cap) for cap in options.caps.split(",")]
    for name in options.only.split(","):
        for line in CELLS[name](options.rows, caps, options.pairs):
            print(json.dumps(line), flush=True)
            before = json.loads(out.read_text()) if out.exists() else []
            kept = [old for old in before if (old["cell"], old["side"]) != (line["cell"], line["side"])]
            out.write_text(json.dumps([*kept, line], indent=1) + "\n")


if __name__ == "__main__":
    main()
