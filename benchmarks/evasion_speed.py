"""Speed, distance and memory of the evasion attacks beside the peers, interleaved in one run on one thread.

    python benchmarks/evasion_speed.py                    # everything, 9 pairs
    python benchmarks/evasion_speed.py --pairs 2 --only pgd,import

Writes `benchmarks/results/evasion.json` and the table of `docs/reference/benchmarks.md`. The peers come with the extra
`peers`; one that is not installed is left out, and said so. Ratios are medians of pairs run one after the other, with the
bounds of a 95 % bootstrap interval, because absolute times drift on a shared machine.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are loaded

import argparse
import json
import logging
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import evasion_parts as parts
import numpy as np
import peers
import torch
from torch import nn

import casemate as cm
from casemate.attacks import APGD, PGD, HopSkipJump, Square
from casemate.core.endpoint import Endpoint
from casemate.core.oracle import Meter, Oracle
from casemate.runs.driver import drive_dialogue, drive_rows

HERE = Path(__file__).parent
Row = dict[str, Any]


def attacked(attack: Any, target: Any, case: Any, budget: Any = None) -> Any:
    """The attack alone, as the driver runs it: no judge, no health check. Returns the trace and the meter."""
    meter = Meter(case.row)
    oracle = Oracle(Endpoint(target), cm.researcher(budget), meter)
    drive = drive_dialogue if attack.info.scope == "dialogue" else drive_rows
    return drive(attack, oracle, case, cm.RowRandom(0)), meter


def interleave(
    sides: dict[str, Callable[[], Any]], pairs: int, *, warm: bool = True
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Seconds of every side in every pair, the order turned over from pair to pair, and what each side returned.

    `warm`: a first round that is not counted; without it where one round is thousands of calls already.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    last: dict[str, Any] = {}
    for pair in range(-1 if warm else 0, pairs):
        for name in list(sides) if pair % 2 else list(sides)[::-1]:
            began = time.perf_counter()
            last[name] = sides[name]()
            if pair >= 0:
                times[name].append(time.perf_counter() - began)
    return times, last


def ratio(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """Median of ours/theirs over pairs, and the bounds of its bootstrap interval."""
    each = np.array(ours) / np.array(theirs)
    draws = np.random.default_rng(0).integers(len(each), size=(4000, len(each)))
    low, high = np.quantile(np.median(each[draws], axis=1), [0.025, 0.975])
    return float(np.median(each)), float(low), float(high)


def line(cell: str, side: str, times: dict[str, list[float]], aim: float, note: str = "", *, ours: str = "casemate") -> Row:
    """One line of the table: how long `ours` took as a share of `side`, and the share aimed at."""
    middle, low, high = ratio(times[ours], times[side])
    seconds = {name: float(np.median(t)) for name, t in times.items() if name in (ours, side)}
    return {
        "cell": cell, "against": side, "ratio": middle, "low": low, "high": high, "aim": aim,
        "met": middle <= aim, "seconds": seconds, "pairs": len(times[side]), "note": note,
    }  # fmt: skip


def pgd(pairs: int, rows: int) -> Iterator[Row]:
    """PGD-40: against the bare loop of the same calls where no row falls, and against peers where rows fall."""
    for name, model, aim in (("adversarially trained CNN", parts.hardened(), 1.0), ("undefended CNN", parts.plain(), 0.5)):
        yield from _pgd(name, model, aim, pairs, rows)


def _pgd(name: str, model: nn.Module, aim: float, pairs: int, rows: int) -> Iterator[Row]:
    x, y = parts.right(model, rows)
    target = cm.wrap(model)
    still = cm.Evade(x, y, cm.Ball("linf", 1e-6))
    sides: peers.Sides = {"casemate": lambda: attacked(PGD(), target, still), "bare loop": lambda: bare(model, x, y, 1e-6)}
    times, _ = interleave(sides, pairs)
    yield line(f"PGD-40, {len(x)} images, {name}, no row falls", "bare loop", times, 1.05)
    case = cm.Evade(x, y, cm.Ball("linf", 0.15))
    sides = {"casemate": lambda: attacked(PGD(), target, case)[0].x, **peers.pgd(model, x, y, 0.15)}
    yield from _beside(f"PGD-40, {len(x)} images, {name}, linf 0.15", sides, model, y, pairs, aim)


def _beside(cell: str, sides: peers.Sides, model: nn.Module, y: torch.Tensor, pairs: int, aim: float) -> Iterator[Row]:
    """A line for each peer: the share of its time, and what stands on both sides."""
    times, last = interleave(sides, pairs)
    for peer in peers.names(sides):
        note = f"robust {parts.share(model, last['casemate'], y):.3f} / {parts.share(model, last[peer], y):.3f}"
        yield line(cell, peer, times, aim, note)


def bare(model: nn.Module, x: torch.Tensor, y: torch.Tensor, radius: float, steps: int = 40) -> torch.Tensor:
    """The calls PGD makes and nothing else: what no library can be faster than."""
    at = x.clone()
    for _ in range(steps):
        leaf = at.detach().requires_grad_(True)
        loss = nn.functional.cross_entropy(model(leaf), y, reduction="none")
        (slope,) = torch.autograd.grad(loss.sum(), leaf)
        at = (at + 0.1 * radius * slope.sign()).clip(x - radius, x + radius).clip(0, 1)
    with torch.no_grad():
        model(at)
    return at


def search(pairs: int, rows: int) -> Iterator[Row]:
    """APGD-CE and Square beside the peers that have them."""
    model = parts.hardened()
    x, y = parts.right(model, min(rows, 100))
    target, case = cm.wrap(model), cm.Evade(x, y, cm.Ball("linf", 0.15))
    for cell, attack, others in (
        ("APGD-CE 100 steps", APGD(), peers.apgd(model, x, y, 0.15)),
        ("Square 300 queries", Square(steps=300), peers.square(model, x, y, 0.15, 300)),
    ):
        sides: peers.Sides = {"casemate": lambda a=attack: attacked(a, target, case)[0].x, **others}  # type: ignore[misc]
        yield from _beside(
            f"{cell}, {len(x)} images, adversarially trained CNN, linf 0.15", sides, model, y, max(2, pairs // 3), 1.0
        )


def resnet(pairs: int, rows: int) -> Iterator[Row]:
    """PGD and APGD on a residual network of a million parameters, undefended and briefly hardened. A row costs it twenty
    times what it costs the reader: few rows, and a third of the pairs."""
    pairs, rows = max(1, pairs // 3), min(rows, 16)
    for name, model, aim in (("hardened ResNet", parts.resnet(hardened=True), 1.0), ("undefended ResNet", parts.resnet(), 0.5)):
        yield from _pgd(name, model, aim, pairs, rows)
    model = parts.resnet(hardened=True)
    x, y = parts.right(model, rows)
    target, case, still = cm.wrap(model), cm.Evade(x, y, cm.Ball("linf", 0.15)), cm.Evade(x, y, cm.Ball("linf", 1e-6))
    sides: peers.Sides = {"casemate": lambda: attacked(APGD(), target, case)[0].x, **peers.apgd(model, x, y, 0.15)}
    yield from _beside(f"APGD-CE 100 steps, {len(x)} images, hardened ResNet, linf 0.15", sides, model, y, pairs, 1.0)
    sides = {"casemate": lambda: attacked(APGD(), target, still), "bare loop": lambda: bare(model, x, y, 1e-6, steps=100)}
    times, _ = interleave(sides, pairs)
    yield line(f"APGD-CE 100 steps, {len(x)} images, hardened ResNet, no row falls", "bare loop", times, 1.05)


def dialogue(pairs: int, rows: int) -> Iterator[Row]:
    """HopSkipJump: what it adds to its queries on a CNN, and its speed on a forest against ART's."""
    model = parts.plain()
    x, y = parts.right(model, min(rows, 100))
    case, budget = cm.Evade(x, y, cm.Ball("l2", np.inf), seek="nearest"), cm.Budget(queries_per_row=500)
    asked = attacked(HopSkipJump(), cm.wrap(model), case, budget)[1].total["queries"]
    block = torch.rand(512, *x.shape[1:])

    def queries_alone() -> None:
        with torch.no_grad():
            for start in range(0, asked, len(block)):
                model(block[: min(len(block), asked - start)])

    sides = {"casemate": lambda: attacked(HopSkipJump(), cm.wrap(model), case, budget), "bare queries": queries_alone}
    times, _ = interleave(sides, max(2, pairs // 3))
    yield line(f"HopSkipJump, {len(x)} rows, CNN, {asked} queries", "bare queries", times, 1.3)
    yield from forest(pairs, rows)


def forest(pairs: int, rows: int) -> Iterator[Row]:
    """Microseconds a query on a forest of 100 trees: many rows at once, as ours runs, and ART's own way."""
    model, x, y = parts.forest(min(rows, 100))
    case, budget = cm.Evade(x, y, cm.Ball("l2", np.inf), seek="nearest"), cm.Budget(queries_per_row=1000)
    theirs = peers.forest(model, x, y, rows=3)
    if theirs is None:
        return
    each: dict[str, list[float]] = {"casemate": [], "ART": []}
    for _ in range(max(2, pairs // 3)):
        began = time.perf_counter()
        meter = attacked(HopSkipJump(), cm.wrap(model), case, budget)[1]
        each["casemate"].append((time.perf_counter() - began) / meter.total["queries"])
        each["ART"].append(theirs())
    note = f"{1e6 * np.median(each['casemate']):.1f} / {1e6 * np.median(each['ART']):.0f} microseconds a query"
    yield line(f"HopSkipJump a query, {len(x)} rows, forest of 100 trees", "ART", each, 1 / 30, note)


def distance(pairs: int, rows: int) -> Iterator[Row]:
    """HopSkipJump's median distance at the queries each peer used. Peers get one row at a time: some couple a batch."""
    del pairs
    model = parts.plain()
    x, y = parts.right(model, min(rows, 100))
    for norm in ("l2", "linf"):
        for steps in (4, 10):
            for peer, (theirs, asked) in peers.hopskipjump(model, x, y, norm, steps).items():
                case = cm.Evade(x, y, cm.Ball(norm, np.inf), seek="nearest")
                trace, _ = attacked(HopSkipJump(), cm.wrap(model), case, cm.Budget(queries_per_row=asked))
                found = case.within.measure(trace.x, x)
                middle = float(np.median(np.where(trace.believed, found, np.inf)))
                yield {
                    "cell": f"HopSkipJump median {norm} distance, {len(x)} rows, {asked} queries a row", "against": peer,
                    "ratio": middle / theirs, "low": None, "high": None, "aim": 1.02, "met": middle <= 1.02 * theirs,
                    "seconds": {}, "pairs": 1, "note": f"{middle:.3f} / {theirs:.3f}",
                }  # fmt: skip


def memory(pairs: int, rows: int) -> Iterator[Row]:
    """Peak beyond inputs and claims, 50,000 rows against 5,000: attacks of each scope, each in processes of its own."""
    del pairs, rows
    for name in parts.STREAMED:
        few, many = parts.peak(5_000, name), parts.peak(50_000, name)
        yield {
            "cell": f"memory beyond inputs and claims, {name}, 50,000 rows", "against": "5,000 rows", "ratio": many / few,
            "low": None, "high": None, "aim": 1.1, "met": many <= 1.1 * few, "seconds": {}, "pairs": 1,
            "note": f"{many / 2**20:.0f} / {few / 2**20:.0f} MiB",
        }  # fmt: skip


def importing(pairs: int, rows: int) -> Iterator[Row]:
    """Seconds of `import casemate`, beyond an empty interpreter."""
    del rows
    times, _ = interleave({"casemate": lambda: parts.python("import casemate"), "python": lambda: parts.python("pass")}, pairs)
    own = float(np.median(np.array(times["casemate"]) - np.array(times["python"])))
    yield {
        "cell": "import casemate", "against": "0.15 s", "ratio": own / 0.15, "low": None, "high": None, "aim": 1.0,
        "met": own <= 0.15, "seconds": {"casemate": own}, "pairs": pairs, "note": f"{own * 1000:.0f} ms",
    }  # fmt: skip


CELLS = {
    "pgd": pgd, "search": search, "resnet": resnet, "dialogue": dialogue, "distance": distance, "memory": memory,
    "import": importing,
}  # fmt: skip


def write(lines: list[Row]) -> None:
    """The results as JSON, and as the table of the documentation, losses included."""
    machine = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": 1,
        "cores": os.cpu_count(),
    }
    out = HERE / "results" / "evasion.json"
    out.parent.mkdir(exist_ok=True)
    # Cells that this run did not measure stay as they were: each line says with how many pairs it was made.
    before = json.loads(out.read_text())["lines"] if out.exists() else []
    fresh = {(row["cell"], row["against"]) for row in lines}
    lines = [row for row in before if (row["cell"], row["against"]) not in fresh] + lines
    out.write_text(json.dumps({"machine": machine, "absent": peers.absent(), "lines": lines}, indent=1) + "\n")
    table = ["| what | against | ours as a share | 95 % | pairs | aim | met | note |", "|---|---|---|---|---|---|---|---|"]
    for row in lines:
        bounds = "" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
        met = "yes" if row["met"] else "**no**"
        table.append(
            f"| {row['cell']} | {row['against']} | {row['ratio']:.3f} | {bounds} | {row['pairs']} "
            f"| {row['aim']:.3f} | {met} | {row['note']} |"
        )
    about = "One thread, sides interleaved, medians of pairs with a 95 % bootstrap interval. Below 1 casemate is ahead."
    where = ", ".join(f"{name} {value}" for name, value in machine.items())
    text = f"# Benchmarks\n\n{about} Measured with {where}. Repeat with `python benchmarks/evasion_speed.py`.\n\n"
    page = HERE.parent / "docs" / "reference" / "benchmarks.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    # Below the table stands what other scripts measured; it is theirs.
    rest = page.read_text().partition("\n## ") if page.exists() else ("", "", "")
    page.write_text(text + "\n".join(table) + "\n" + rest[1] + rest[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--only", default=",".join(CELLS), help="cells, with commas")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    lines: list[Row] = []
    for name in options.only.split(","):
        with suppress(KeyboardInterrupt):  # what was measured is written
            for row in CELLS[name](options.pairs, options.rows):
                lines.append(row)
                write(lines)
                print(f"{row['cell']} | {row['against']}: {row['ratio']:.3f} (aim {row['aim']:.3f}) {row['note']}", flush=True)
    sys.exit(0)


if __name__ == "__main__":
    main()
