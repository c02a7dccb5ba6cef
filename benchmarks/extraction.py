"""What extraction costs beside its queries, and what the choice of queries is worth.

    python benchmarks/extraction.py                  # both tables
    python benchmarks/extraction.py --only overhead

The first table gives, for each attack, the time of a whole extraction as a multiple of what its queries and its fits
take alone. Every model is a scikit-learn one behind the adapter that a deployed one gets. Its calls are timed as the attack
makes them, in the batches it chose; so are the calls of the functions that train or solve. Nothing else counts as cost: the
ledger, the choice of questions, reading answers and building the copy are all overhead. Where a model answers a query in
microseconds, the ratio is mostly the price of Python beside so little work, so `own_us_a_query` says what is added in
microseconds, and `at_1ms` what the ratio comes to where every query takes a millisecond: worked out from the other two, not
measured. Each figure is of the run with the median ratio. The second table gives the agreement of copies
of one network at equal queries, for each strategy of `extraction.learning`, over several seeds: random is the baseline. Ratios
are of one run on one thread; seconds are of the processor. The data come with scikit-learn. Writes
`benchmarks/results/extraction.json`.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import casemate as cm
from casemate.attacks.extraction import _net, cryptanalytic, equation, learning
from casemate.attacks.extraction.cryptanalytic import Cryptanalytic
from casemate.attacks.extraction.equation import EquationSolving
from casemate.attacks.extraction.jacobian import JacobianAugmentation
from casemate.attacks.extraction.learning import LearningExtraction
from casemate.attacks.extraction.lowd_meek import LowdMeek
from casemate.attacks.extraction.tree_paths import TreePaths
from casemate.core.adversary import researcher
from casemate.core.case import Copy, Holdout
from casemate.core.endpoint import Endpoint
from casemate.core.oracle import Meter, Oracle
from casemate.core.random import RowRandom
from casemate.runs.driver import drive_set

HERE = Path(__file__).parent
# Where the fits of each attack happen: module and function.
FITS = ((equation, "solve"), (learning, "_fit"), (cryptanalytic, "solve"), (_net, "fit"))


class Clock:
    """Seconds spent inside what is watched."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._inside = False

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **options: Any) -> Any:
            if self._inside:
                return function(*args, **options)
            self._inside, began = True, time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                self.seconds += time.perf_counter() - began
                self._inside = False

        return watched


class Timed:
    """A target whose calls are timed."""

    def __init__(self, target: Any, clock: Clock) -> None:
        self._target, self.respond = target, clock.around(target.respond)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)


@contextmanager
def timed_fits(clock: Clock) -> Iterator[None]:
    kept = [(module, name, getattr(module, name)) for module, name in FITS]
    for module, name, function in kept:
        setattr(module, name, clock.around(function))
    try:
        yield
    finally:
        for module, name, function in kept:
            setattr(module, name, function)


def settings() -> dict[str, tuple[Any, Any, Copy]]:
    """For each attack: itself, a model that it is for, and a case."""
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeRegressor

    def case(x: Any, y: Any, queries: int) -> Copy:
        return Copy(pool=x[: len(x) // 2], queries=queries, truth=Holdout(x=x[len(x) // 2 :], y=y[len(x) // 2 :]))

    (cx, cy), (dx, dy), (rx, ry) = (load(return_X_y=True) for load in (load_breast_cancer, load_digits, load_diabetes))
    dx = dx / 16
    linear = make_pipeline(StandardScaler(), LogisticRegression()).fit(cx, cy)
    many, net = LogisticRegression(max_iter=300).fit(dx, dy), MLPClassifier((64,), max_iter=60, random_state=0).fit(dx, dy)
    tree = DecisionTreeRegressor(max_depth=8, random_state=0).fit(rx, ry + np.random.default_rng(0).normal(0, 1e-3, len(ry)))
    scaled = StandardScaler().fit_transform(cx)  # a score of risk; its inputs come scaled, as far as an attacker sees
    relu = MLPRegressor(hidden_layer_sizes=(24,), max_iter=200, random_state=0).fit(scaled, cy)
    return {
        "extraction.equation": (EquationSolving(), many, case(dx, dy, 1000)),
        "extraction.lowd_meek": (LowdMeek(), linear, case(cx, cy, 2000)),
        "extraction.tree_paths": (TreePaths(), tree, case(rx, ry, 20_000)),
        "extraction.jacobian": (JacobianAugmentation(), net, case(dx, dy, 2000)),
        "extraction.learning": (LearningExtraction(), net, case(dx, dy, 2000)),
        "extraction.cryptanalytic": (Cryptanalytic(), relu, case(scaled, cy, 20_000)),
    }


def once(attack: Any, model: Any, case: Copy, seed: int) -> tuple[float, float, int]:
    """Seconds of a whole extraction, seconds of its queries and fits, and queries."""
    clock, meter = Clock(), Meter(np.arange(case.queries + 4096))
    target: Any = cm.wrap(model) if not hasattr(model, "respond") else model
    oracle = Oracle(Endpoint(Timed(target, clock)), researcher(), meter)
    with timed_fits(clock), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        began = time.perf_counter()
        drive_set(attack, oracle, case, RowRandom(seed))
        return time.perf_counter() - began, clock.seconds, meter.total["queries"]


def overhead(repeats: int) -> list[dict[str, Any]]:
    rows = []
    for name, (attack, model, case) in settings().items():
        once(attack, model, replace(case, queries=64), 0)  # imports and first calls
        runs = sorted((once(attack, model, case, seed) for seed in range(repeats)), key=lambda run: run[0] / run[1])
        whole, bare, queries = runs[(repeats - 1) // 2]
        rows.append({
            "attack": name, "queries": queries, "seconds": whole, "bare_seconds": bare, "ratio": whole / bare,
            "own_us_a_query": 1e6 * (whole - bare) / queries, "at_1ms": (whole + 1e-3 * queries) / (bare + 1e-3 * queries),
        })  # fmt: skip
        found = "{ratio:6.2f} x its queries and fits, {own_us_a_query:6.1f} us a query, {at_1ms:6.3f} at 1 ms".format(**rows[-1])
        print(f"{name:28} {queries:7} queries  {whole:7.3f} s  {found}", flush=True)
    return rows


def strategies(seeds: int) -> list[dict[str, Any]]:
    _, model, case = settings()["extraction.learning"]
    rows = []
    for strategy in learning.STRATEGIES:
        for queries in (100, 200, 400):
            attack: Any = LearningExtraction(strategy=strategy, learners=("network",))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made = [cm.run(attack, model, replace(case, queries=queries), seed=seed) for seed in range(seeds)]
            rates = [float(evidence.rate) for evidence in made]
            rows.append({"strategy": strategy, "queries": queries, "agreement": rates})
            span = f"{statistics.mean(rates):.3f} ({min(rates):.3f}-{max(rates):.3f})"
            print(f"{strategy:12} {queries:5} queries  agreement {span}", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("overhead", "strategies"))
    parser.add_argument("--repeats", type=int, default=5, help="runs of each attack")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each strategy")
    asked = parser.parse_args()
    found: dict[str, Any] = {"python": platform.python_version(), "numpy": np.__version__}
    if asked.only != "strategies":
        found["overhead"] = overhead(asked.repeats)
    if asked.only != "overhead":
        found["strategies"] = strategies(asked.seeds)
    out = HERE / "results" / "extraction.json"
    known = json.loads(out.read_text()) if out.exists() and asked.only else {}
    out.write_text(json.dumps(known | found, indent=1) + "\n")


if __name__ == "__main__":
    main()
