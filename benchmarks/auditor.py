"""Does the auditor keep its word? Mechanisms whose epsilon is known, audited over and over: how often a 95 % lower bound lies
above the truth, by how the threshold was chosen. `naive best, invalid` is what many scripts do.

    python benchmarks/auditor.py [--runs 400]

Writes `benchmarks/results/auditor.json`.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binom

from casemate.judges.epsilon import ALPHA, Bound, Choice, audit, epsilon_of_mu, one_run, one_run_gaussian

CHOICES: tuple[Choice, ...] = ("split", "bonferroni", "explicit", "naive best, invalid")
GRID = np.linspace(-1.0, 2.0, 13)  # thresholds fixed beforehand
DELTA = 1e-5


@dataclass(frozen=True)
class Line:
    """One row of the table: the share of bounds above the truth, the median bound and the median of what could be shown."""

    mechanism: str
    epsilon: float
    n: int
    choice: str
    exceeded: float
    median: float
    cap: float

    def __str__(self) -> str:
        share, bound = f"{100 * self.exceeded:5.2f} %", f"{self.median:6.3f} of {self.cap:6.3f}"
        return f"{self.mechanism:28} {self.epsilon:6.3f} {self.n:6,}  {self.choice:22} {share}   {bound}"


def response(rng: np.random.Generator, epsilon: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Randomised response: the true bit with probability e^eps / (1 + e^eps)."""
    p = 1 / (1 + math.exp(-epsilon))
    return (rng.random(n) < p).astype(float), (rng.random(n) >= p).astype(float)


def laplace(rng: np.random.Generator, epsilon: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """A count of 1 or 0 with Laplace noise of scale 1 / eps."""
    return 1 + rng.laplace(0, 1 / epsilon, n), rng.laplace(0, 1 / epsilon, n)


def calibrate(
    name: str, draw: Callable[..., tuple[np.ndarray, np.ndarray]], epsilon: float, n: int, *, runs: int = 400, seed: int = 0,
    choices: tuple[Choice, ...] = CHOICES,
) -> list[Line]:  # fmt: skip
    """Audit the same `runs` draws of `n` runs in each world by every choice of the threshold."""
    rng, found = np.random.default_rng(seed), {choice: list[Bound]() for choice in choices}
    for run in range(runs):
        inside, outside = draw(rng, epsilon, n)
        for choice in choices:
            cuts = {"bonferroni": GRID, "explicit": 1.0}.get(choice)
            found[choice].append(audit(inside, outside, choice=choice, thresholds=cuts, seed=run))
    return [_line(name, epsilon, n, choice, bounds) for choice, bounds in found.items()]


def calibrate_one_run(epsilon: float, records: int) -> Line:
    """One run that puts each record through randomised response by itself; every record is guessed. Exact, not drawn."""
    right, p = np.arange(records + 1), 1 / (1 + math.exp(-epsilon))
    chance = binom.pmf(right, records, p)
    bounds = {int(v): one_run(records, records, int(v)) for v in right[chance > 1e-9]}
    above = sum(float(chance[v]) for v, bound in bounds.items() if bound.epsilon > epsilon)
    middle = bounds[int(binom.median(records, p))]
    return Line("one run, random. response", epsilon, records, "guesses all (exact)", above, middle.epsilon, middle.cap)


def calibrate_gaussian(mu: float, records: int, guesses: int, *, runs: int = 400, seed: int = 0) -> list[Line]:
    """One run with unit Gaussian noise on each record, mu apart; the surest are guessed. Both one-run bounds."""
    rng, counts = np.random.default_rng(seed), []
    for _ in range(runs):
        put = rng.integers(0, 2, records)
        sure = rng.normal(mu * put, 1) - mu / 2
        named = np.argsort(-np.abs(sure))[:guesses]
        counts.append(int(((sure[named] > 0) == put[named]).sum()))
    epsilon, lines = epsilon_of_mu(mu, DELTA), []
    for name, bound in (("binomial", one_run), ("Gaussian", one_run_gaussian)):
        known = {v: bound(records, guesses, v, delta=DELTA) for v in set(counts)}
        found = [known[v] for v in counts]
        lines.append(_line(f"one run, Gaussian mu={mu:g}", epsilon, records, f"{guesses} guesses, {name}", found))
    return lines


def _line(name: str, epsilon: float, n: int, choice: str, bounds: list[Bound]) -> Line:
    values, caps = np.array([b.epsilon for b in bounds]), np.array([b.cap for b in bounds])
    return Line(name, epsilon, n, choice, float((values > epsilon).mean()), float(np.median(values)), float(np.median(caps)))


def table(runs: int) -> list[Line]:
    """Everything the benchmark prints."""
    lines: list[Line] = []
    for epsilon in (0.5, 1.0, 2.0, 3.0):
        lines += calibrate("randomised response", response, epsilon, 2000, runs=runs)
    for n, epsilon in ((500, 1.0), (2000, 1.0), (2000, 2.0), (2000, 3.0), (8000, 2.0)):
        lines += calibrate("Laplace", laplace, epsilon, n, runs=runs)
    lines += [calibrate_one_run(epsilon, 1000) for epsilon in (0.5, 1.0, 2.0, 3.0)]
    return lines + calibrate_gaussian(1.0, 1000, 100, runs=runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    runs = parser.parse_args().runs
    print(f"{runs} audits each at {100 * (1 - ALPHA):g} %; n runs in each world, or records in one run\n")
    print(f"{'mechanism':28} {'truth':>6} {'n':>6}  {'threshold':22} {'above':>7}   median bound of cap")
    lines = table(runs)
    for line in lines:
        print(line)
    out = Path(__file__).parent / "results" / "auditor.json"
    out.write_text(json.dumps({"runs": runs, "lines": [asdict(line) for line in lines]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
