"""AutoAttack beside its reference: the same definition, strength and seconds, on the cheque reader, on one thread.

    python benchmarks/autoattack.py                            # 48 images, three pairs, each with a seed of its own
    python benchmarks/autoattack.py --rows 500 --only strength # the claim about 500 rows: the better part of an hour
    python benchmarks/autoattack.py --only ways                # layouts, compilers, precisions, batch sizes of single calls
    python benchmarks/autoattack.py --only half,threads        # PGD and APGD with bfloat16 slopes; on two threads
    python benchmarks/autoattack.py --only resnet --rows 4 --pairs 1

Writes `benchmarks/results/autoattack.json`. The undefended networks are attacked at a radius of 0.3, the trained reader at
0.15, the trained residual network at 0.2, all linf. The reference is the package `pyautoattack`. The floor is what the run's
own model calls take with nothing around them: as many, of the same kind and size.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are loaded

import argparse
import copy
import json
import logging
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import evasion_parts as parts
import numpy as np
import peers
import torch
from evasion_speed import attacked, interleave, line, ratio
from torch import Tensor, nn
from torch.nn import functional

import casemate as cm
from casemate.attacks import APGD, PGD, AutoAttack
from casemate.core.endpoint import Endpoint
from casemate.core.oracle import Meter, Oracle
from casemate.core.target import Response, Slope
from casemate.runs.cascade import drive_cascade
from casemate.targets.pipeline import Pipeline

HERE = Path(__file__).parent
Row = dict[str, Any]
Calls = list[tuple[str, int]]


def models() -> Iterator[tuple[str, nn.Module, float]]:
    """The reader without a defence and with one, and the radius for each."""
    yield "undefended", parts.plain(), 0.3
    yield "adversarially trained", parts.hardened(), 0.15


def ours(model: nn.Module, x: Tensor, y: Tensor, radius: float, seed: int = 0) -> Any:
    """AutoAttack standard as the driver runs it: no judge, no health check."""
    case = cm.Evade(x, y, cm.Ball("linf", radius))
    oracle = Oracle(Endpoint(cm.wrap(model)), cm.researcher(), Meter(case.row))
    return drive_cascade(AutoAttack(), oracle, case, cm.RowRandom(seed))


def theirs(model: nn.Module, x: Tensor, y: Tensor, radius: float, seed: int = 0) -> Tensor:
    """The reference, in one batch."""
    from pyautoattack import AutoAttack as Reference

    run = Reference(model, norm="Linf", eps=radius, seed=seed, version="standard")
    claims: Tensor = run.run_standard_evaluation(x, y, batch_size=len(x))[0]
    return claims


@contextmanager
def recorded() -> Iterator[Calls]:
    """The model calls made inside: ``gradient`` or ``forward``, and how many rows."""
    calls: Calls = []
    kept = Pipeline.gradient, Pipeline.respond

    def noted(kind: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Pipeline, x: Any, *args: Any, **options: Any) -> Any:
            calls.append((kind, len(x)))
            return method(self, x, *args, **options)

        return call

    Pipeline.gradient, Pipeline.respond = noted("gradient", kept[0]), noted("forward", kept[1])  # type: ignore[method-assign]
    try:
        yield calls
    finally:
        Pipeline.gradient, Pipeline.respond = kept  # type: ignore[method-assign]


def floor(model: nn.Module, x: Tensor, y: Tensor, calls: Calls, layout: torch.memory_format) -> None:
    """The same calls with nothing around them."""
    laid = x.to(memory_format=layout)
    for kind, size in calls:
        part = laid[:size]
        if kind == "forward":
            with torch.no_grad():
                model(part)
        else:
            slope(model, part, y[:size])


def slope(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """One forward and one backward pass to the input."""
    leaf = x.detach().requires_grad_(True)
    value = functional.cross_entropy(model(leaf).float(), y, reduction="none")
    return torch.autograd.grad(value.sum(), leaf)[0]


def speed(options: argparse.Namespace) -> Iterator[Row]:
    """Seconds against the reference and against the floor; what stood on both sides is in the note."""
    for name, model, radius in models():
        yield from _speed(f"{name} CNN", model, radius, options.rows, options.pairs)


def resnet(options: argparse.Namespace) -> Iterator[Row]:
    """The same on a residual network of a million parameters. A row that stands costs half a minute a side: few rows, the
    floor in one layout, and no round to warm up. At a radius of 0.2, because nearly every row stands at 0.15."""
    for name, model, radius in (("undefended", parts.resnet(), 0.3), ("hardened", parts.resnet(hardened=True), 0.2)):
        yield from _speed(f"{name} ResNet", model, radius, options.rows, options.pairs, large=True)


def _speed(name: str, model: nn.Module, radius: float, rows: int, pairs: int, *, large: bool = False) -> Iterator[Row]:
    x, y = parts.right(model, rows)
    with recorded() as calls:
        ours(model, x, y, radius)
    made, plain = list(calls), "its own calls, default layout"
    sides: dict[str, Callable[[], Any]] = {
        "casemate": lambda: ours(model, x, y, radius).x,
        "pyautoattack": lambda: theirs(model, x, y, radius),
        "its own calls alone": lambda: floor(model, x, y, made, torch.channels_last),
    }
    if not large:
        sides[plain] = lambda: floor(model, x, y, made, torch.contiguous_format)
    times, last = interleave(sides, pairs, warm=not large)
    stand = [parts.share(model, last[side], y) for side in ("casemate", "pyautoattack")]
    cell = f"AutoAttack standard, {len(x)} images, {name}, linf {radius:g}"
    note = f"robust {stand[0]:.3f} / {stand[1]:.3f}; {len(made)} calls, {sum(size for _, size in made)} rows"
    aims = {"pyautoattack": 0.2 if name.startswith("undefended") else 0.8, "its own calls alone": 1.05, plain: 1.05}
    for side in peers.names(sides):
        yield line(cell, side, times, aims[side], note)


def strength(options: argparse.Namespace) -> Iterator[Row]:
    """Rows left standing over three seeds: how many more than the reference, of how many."""
    for name, model, radius in models():
        x, y = parts.right(model, options.rows)
        left = []
        for seed in range(3):
            mine = int((~ours(model, x, y, radius, seed).believed).sum())
            other = round(parts.share(model, theirs(model, x, y, radius, seed), y) * len(x))
            left.append((mine, other))
        behind = max(mine - other for mine, other in left)
        allowed = max(1, round(2 * len(x) / 500))
        yield {
            "cell": f"AutoAttack standard, rows left of {len(x)}, {name} CNN, linf {radius:g}, three seeds",
            "against": "pyautoattack", "ratio": float(behind), "low": None, "high": None, "aim": float(allowed),
            "met": behind <= allowed, "seconds": {}, "pairs": 3, "note": ", ".join(f"{a} / {b}" for a, b in left),
        }  # fmt: skip


def ways(options: argparse.Namespace) -> Iterator[Row]:
    """Microseconds a row of other ways to run the same model: a share of the plain way's, forward and with a gradient."""
    model = parts.hardened()
    x, y = parts.right(model, 512)
    for size in (16, 64, 128, 256, 512):
        for layout in (torch.contiguous_format, torch.channels_last):
            yield from _way(f"{str(layout).split('.')[1]}, {size} rows", model, model, x[:size], y[:size], layout, options.pairs)
    x, y = x[:128], y[:128]
    folded = torch.jit.freeze(torch.jit.trace(copy.deepcopy(model), x))  # type: ignore[no-untyped-call]
    yield from _way("torch.jit.freeze", model, folded, x, y, torch.contiguous_format, options.pairs)
    half = copy.deepcopy(model).to(torch.bfloat16)
    yield from _way("bfloat16", model, lambda x: half(x.to(torch.bfloat16)), x, y, torch.channels_last, options.pairs)
    for layout in (torch.contiguous_format, torch.channels_last):
        torch._dynamo.reset()
        compiled = torch.compile(model, dynamic=False)
        began = time.perf_counter()
        slope(compiled, x.to(memory_format=layout), y)
        name = f"torch.compile {str(layout).split('.')[1]} ({time.perf_counter() - began:.0f} s to compile)"
        yield from _way(name, model, compiled, x, y, layout, options.pairs)


@dataclass(frozen=True, slots=True)
class Half(Pipeline):
    """A target whose slopes come from a bfloat16 copy. A row that the copy sees fall counts only once the model itself, in
    full precision, says so too; looks without a slope are the model's own."""

    coarse: Any = None

    def gradient(self, x: Any, y: Any, loss: Any, *, rows: Any = None, draw: int = 0) -> Slope:
        slope: Slope = self.coarse.gradient(x, y, loss, rows=rows, draw=draw)
        seen = slope.response
        doubtful = (seen.label != y).nonzero()[:, 0]
        if not len(doubtful):
            return slope
        exact = self.respond(x[doubtful])
        pairs = zip((seen.label, seen.scores, seen.logits), (exact.label, exact.scores, exact.logits), strict=True)
        return replace(slope, response=Response(*(old.index_copy(0, doubtful, new) for old, new in pairs)))


class Coarse(nn.Module):
    """A network in bfloat16 behind a door of float32: inputs are rounded after the stages before it, logits come out whole."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.door = nn.Parameter(torch.empty(0), requires_grad=False)  # the first parameter says which precision goes in
        self.net = copy.deepcopy(net).to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.net(x.to(torch.bfloat16)).float()
        return logits


def subjects(rows: int) -> Iterator[tuple[str, nn.Module, float, int]]:
    """The models of `half` and `threads`: name, model, radius, rows."""
    for name, model, radius in (("undefended", parts.plain(), 0.15), ("adversarially trained", parts.hardened(), 0.15)):
        yield f"{name} CNN", model, radius, 4 * rows
    yield "hardened ResNet", parts.resnet(hardened=True), 0.15, max(1, rows // 3)


def half(options: argparse.Namespace) -> Iterator[Row]:
    """PGD and APGD with bfloat16 slopes and full-precision acceptance, beside the same in float32: time, and what stands."""
    for name, model, radius, rows in subjects(options.rows):
        x, y = parts.right(model, rows)
        case, whole = cm.Evade(x, y, cm.Ball("linf", radius)), cm.wrap(model)
        coarse = cm.wrap(parts.Whole(Coarse(model.get_submodule("reader"))))
        mixed = Half(whole.model, whole.stages, whole.decision, coarse)
        for attack in (PGD(), APGD()):
            times, last = interleave({
                "casemate": lambda a=attack, t=mixed, c=case: attacked(a, t, c)[0].x,  # type: ignore[misc]
                "float32": lambda a=attack, t=whole, c=case: attacked(a, t, c)[0].x,  # type: ignore[misc]
            }, options.pairs)  # fmt: skip
            left = [round(parts.share(model, last[side], y) * len(x)) for side in ("casemate", "float32")]
            cell = f"{attack.info.id}, bfloat16 slopes, {len(x)} images, {name}, linf {radius:g}"
            yield line(cell, "float32", times, 1.0, f"left {left[0]} / {left[1]} of {len(x)}")


def threads(options: argparse.Namespace) -> Iterator[Row]:
    """PGD-40 on two threads beside one, where no row falls. Needs two cores of its own."""
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("threads: this process may use 1 core only; run it where it may use 2 (taskset -c 0,1)")

    def side(number: int, run: Callable[[], Any]) -> Callable[[], Any]:
        def on() -> Any:
            torch.set_num_threads(number)
            try:
                return run()
            finally:
                torch.set_num_threads(1)

        return on

    for name, model, _, rows in subjects(options.rows):
        x, y = parts.right(model, rows)
        target, case = cm.wrap(model), cm.Evade(x, y, cm.Ball("linf", 1e-6))
        run = partial(attacked, PGD(), target, case)
        times, _ = interleave({"casemate": side(2, run), "one thread": side(1, run)}, options.pairs)
        each = " / ".join(f"{1e6 * float(np.median(t)) / len(x) / 41:.0f}" for t in times.values())
        note = f"{each} microseconds a row and step"
        yield line(f"evasion.pgd, two threads, {len(x)} images, {name}, no row falls", "one thread", times, 1.0, note)


def _way(name: str, model: nn.Module, other: Any, x: Tensor, y: Tensor, layout: torch.memory_format, pairs: int) -> Iterator[Row]:
    laid = x.to(memory_format=layout)

    def forward(net: Any, x: Tensor) -> Callable[[], Any]:
        def run() -> None:
            with torch.no_grad():
                net(x)

        return run

    for kind, sides in (
        ("forward", {"casemate": forward(other, laid), "plain": forward(model, x)}),
        ("gradient", {"casemate": lambda: slope(other, laid, y), "plain": lambda: slope(model, x, y)}),
    ):
        times, _ = interleave(sides, 5 * pairs)
        middle, low, high = ratio(times["casemate"], times["plain"])
        each = 1e6 * float(np.median(times["casemate"])) / len(x)
        yield {
            "cell": f"{kind}, {name}", "against": "plain", "ratio": middle, "low": low, "high": high, "aim": 1.0,
            "met": middle <= 1, "seconds": {}, "pairs": 5 * pairs, "note": f"{each:.0f} microseconds a row",
        }  # fmt: skip


CELLS: dict[str, Callable[[argparse.Namespace], Iterator[Row]]] = {
    "speed": speed, "ways": ways, "strength": strength, "resnet": resnet, "half": half, "threads": threads,
}  # fmt: skip


def write(lines: list[Row]) -> None:
    """The results as JSON; cells this run did not measure stay as they were."""
    out = HERE / "results" / "autoattack.json"
    machine = {"python": platform.python_version(), "torch": torch.__version__, "threads": 1, "cores": os.cpu_count(),
               "load": os.getloadavg()[0]}  # fmt: skip
    before = json.loads(out.read_text())["lines"] if out.exists() else []
    fresh = {(row["cell"], row["against"]) for row in lines}
    kept = [row for row in before if (row["cell"], row["against"]) not in fresh]
    out.write_text(json.dumps({"machine": machine, "lines": kept + lines}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--only", default="speed,ways", help=f"of {', '.join(CELLS)}, with commas")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    lines: list[Row] = []
    for name in options.only.split(","):
        for row in CELLS[name](options):
            lines.append(row)
            write(lines)
            print(f"{row['cell']} | {row['against']}: {row['ratio']:.3f} (aim {row['aim']:.3f}) {row['note']}", flush=True)


if __name__ == "__main__":
    main()
