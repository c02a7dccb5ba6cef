"""The loop: describe, derive, attack, judge, and the findings that come of it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import UsageError
from ..core.evidence import Evidence
from ..core.finding import Assessment
from ..core.system import System
from ..core.target import take, to_numpy
from ..store.cells import Store
from ..threats.chains import search
from ..threats.derive import Derivation, derive
from ..threats.load import load
from .bench import Bench, deployed_services, one_class, open_bench, unverified
from .engine import Applied, Show, Work, run_cells
from .findings import blind_spots, collect, evidence_of, question_of
from .plan import Plan, plan
from .profiles import profile
from .risks import known_costs
from .versions import versions
from .watched import watched

ABSENT = "it is not in the store"


def _silent(event: Any) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A description made ready: derived, bound, planned. Nothing has been attacked yet."""

    path: str
    system: System
    derivation: Derivation
    benches: dict[str, Bench]
    plans: dict[str, Plan]
    conflicts: tuple[str, ...]
    budget: str
    seed: int
    deadline_s: float | None
    clean: dict[str, float]
    row_seconds: dict[str, float]
    name: str = ""  # what it is called, where not as the system is
    reproduce: str = ""  # the command that repeats it, where it is no plain assessment
    applied: Applied = ()  # controls by id and parameters, for worker processes

    @property
    def calls(self) -> float:
        return sum(p.calls for p in self.plans.values())

    @property
    def seconds(self) -> float:
        """Expected time on one worker: model rows times their measured bare cost."""
        return sum(p.calls * self.row_seconds.get(c, 0.0) for c, p in self.plans.items())


def prepare(path: str | Path | System, *, budget: str = "standard", seed: int = 0, look: bool = True) -> Prepared:
    """Load, derive, bind, look at what the target shows, and plan.

    Asks the target for a handful of rows, no more; with ``look=False`` nothing at all is sent to a URL.
    """
    system = path if isinstance(path, System) else load(path)
    chosen, deadline = profile(budget)
    derivation = derive(system)
    names = sorted(({t.target for t in derivation.threats} | {b.component for b in system.target}) - {""})
    benches = {name: open_bench(system, name) for name in names}
    conflicts = [f"{name}: {note}" for name, bench in benches.items() if (note := one_class(bench.data))]
    conflicts += [f"{name}: {note}" for name in names if (note := unverified(system.binding(name)))]
    for name in names:
        if look:
            before = benches[name].system
            benches[name], found = _looked_at(benches[name], name)
            conflicts += found
            if benches[name].system is not before:
                output = benches[name].system.fact(f"{name}.model.output")
                system = system.replace_fact(output.path, output.value, "measured")
    if any(bench.system is not system for bench in benches.values()):
        derivation = derive(system)
        benches = {name: replace(bench, system=system) for name, bench in benches.items()}
    clean: dict[str, float] = {}
    row_seconds: dict[str, float] = {}
    for name, bench in benches.items():
        numbers = clean_numbers(bench)
        row_seconds[name] = numbers.pop("row_seconds", 0.0)
        clean |= {f"{name}.{key}": value for key, value in numbers.items()}
    plans = {}
    for name, bench in benches.items():
        plans[name] = plan(bench, [t for t in derivation.threats if t.target == name], chosen, seed)
    return Prepared(
        path=str(path) if not isinstance(path, System) else system.name, system=system, derivation=derivation,
        benches=benches, plans=plans, conflicts=tuple(conflicts), budget=budget, seed=seed, deadline_s=deadline,
        clean=clean, row_seconds=row_seconds,
    )  # fmt: skip


def open_described(path: str, component: str) -> Bench:
    """One component of a description, as a worker process needs it: measured facts applied."""
    return _looked_at(open_bench(load(path), component), component)[0]


def _looked_at(bench: Bench, name: str) -> tuple[Bench, list[str]]:
    """What the target shows beats what the description says: a loud conflict, and the measured fact wins.

    Only a target that answers for itself (a callable, a URL) can contradict its description. Of a bare model the deployed
    output is what the description says, and the service controls make it so.
    """
    model = getattr(bench.target, "model", None)
    if bench.target is None or bench.data is None or not getattr(model, "endpoint", False):
        return bench, []
    from ..targets.conflict import conflicts, shown

    stated = bench.system.component(name).model
    measured = shown(watched(bench.target), take(bench.data.x, np.arange(min(4, len(bench.data.y)))), singles=0)
    said = (stated.output if stated else None) or "unknown"
    messages = conflicts(said, stated.precision_digits if stated else None, measured)
    if not messages and said != "unknown":
        return bench, []
    system = bench.system.replace_fact(f"{name}.model.output", measured.level, "measured")
    return replace(bench, system=system, services=deployed_services(system, name)), [f"{name}: {m}" for m in messages]


def clean_numbers(bench: Bench, most: int = 500) -> dict[str, float]:
    """Accuracy, rejected share and latency on unchanged inputs."""
    if bench.target is None or bench.data is None:
        return {}
    binding = bench.system.binding(bench.component)
    if binding and binding.url:
        return {}
    slow = bench.modality == "bytes"
    x, y = take(bench.data.x, np.arange(min(40 if slow else most, len(bench.data.y)))), to_numpy(bench.data.y)
    target = watched(bench.target)  # or one that hangs would do so before the run begins
    target.respond(take(x, [0]))  # the first call pays for loading
    began = time.perf_counter()
    label = to_numpy(target.respond(x).label)
    took = time.perf_counter() - began
    y = y[: len(label)]
    return {
        "accuracy": float((label == y).mean()), "rejected": float((label == -1).mean()), "rows": float(len(y)),
        "row_seconds": took / len(y),
    }  # fmt: skip


def assess(
    path: str | Path | System,
    *,
    store: Store | str | Path | None = None,
    workers: int = 1,
    seed: int = 0,
    budget: str = "standard",
    show: Show = _silent,
    prepared: Prepared | None = None,
    only_stored: bool = False,
    record: bool = True,
) -> Assessment:
    """Assess a described system.

    Args:
        path: A description file, or a System built in Python.
        store: A `Store`, or a path or URL for one; left out, nothing is kept and nothing is resumed.
        workers: Worker processes. The evidence does not depend on it.
        seed: All randomness comes from it.
        budget: ``quick``, ``standard``, or a number of minutes.
        show: Called with an `Event` whenever something moves.
        prepared: What `prepare` made of `path`, if the caller has it already.
        only_stored: Attack nothing: report what the store holds, the rest as not tested.
        record: Whether the store keeps the assessment too, beside its cells.

    Raises:
        BadSystem: The description cannot be read; carries every problem.
        RunError: The run stopped; what was measured is stored.
    """
    began = time.perf_counter()
    if workers < 1:
        raise UsageError(f"workers={workers} is not allowed; give at least 1")
    own = store if isinstance(store, Store) or store is None else Store(store)
    ready = prepared or prepare(path, budget=budget, seed=seed)
    deadline = None if ready.deadline_s is None else time.monotonic() + ready.deadline_s
    deadline = -1.0 if only_stored else deadline
    source = "" if isinstance(path, System) else str(path)
    evidence: dict[str, dict[str, Evidence]] = {}
    samples: dict[str, dict[str, Any]] = {}
    cut: list[tuple[str, str, str]] = []
    for name, bench in ready.benches.items():
        work = Work(
            store=own, workers=workers, deadline=deadline, source=source, applied=ready.applied, training=ready.deadline_s
        )
        parts = run_cells(bench, ready.plans[name].cells, work, show)
        reason = ABSENT if only_stored else "the time ran out before it"
        found, missing, shots = evidence_of(bench, ready.plans[name], parts, reason)
        evidence[name] = found
        cut += missing
        samples |= shots
    command = ready.reproduce or _command(source, seed, budget, workers)
    result = _assessment(ready, evidence, cut, samples, command, time.perf_counter() - began)
    if own and record and not only_stored:
        own.add_run(result.digest(), result.name, _json(result))
    return result


def _assessment(
    ready: Prepared, evidence: dict[str, dict[str, Evidence]], cut: list[tuple[str, str, str]],
    samples: dict[str, dict[str, Any]], command: str, seconds: float,
) -> Assessment:  # fmt: skip
    untested = [*(u for p in ready.plans.values() for u in p.untested), *cut]
    findings = collect(ready.derivation, ready.system, evidence, untested)
    chained = search(ready.derivation, known_costs(findings))
    where = {threat: key for threat, key in _sampled(findings).items() if key in samples}
    return Assessment(
        name=ready.name or title(ready), path=ready.path, system=ready.system, findings=findings,
        questions=tuple(question_of(q) for q in ready.derivation.questions), conflicts=ready.conflicts,
        untested=tuple({"what": f"{threat}: {attack}", "reason": reason} for threat, attack, reason in untested),
        seed=ready.seed, budget=ready.budget, reproduce=command, versions=versions(), clean=ready.clean,
        hidden=ready.derivation.hidden, chains=chained.chains,
        warnings=(*blind_spots(ready.system), *((chained.left_out,) if chained.left_out else ())),
        samples={threat: samples[key] for threat, key in where.items()},
        personal=any(a.personal.value != "no" for a in ready.system.assets if a.kind in ("training_data", "input_data")),
        seconds=seconds,
    )  # fmt: skip


def title(ready: Prepared) -> str:
    """What the assessed system is called."""
    return ready.system.name or Path(ready.path).stem


def _sampled(findings: Sequence[Any]) -> dict[str, str]:
    return {f.threat: f"{f.threat}|{f.evidence[0].attack}" for f in findings if f.evidence}


def _command(source: str, seed: int, budget: str, workers: int) -> str:
    parts = ["casemate", "assess", source or "SYSTEM", "--seed", str(seed), "--budget", budget, "--workers", str(workers)]
    return shlex.join(parts)


def _json(result: Assessment) -> str:
    import json

    return json.dumps(result.to_dict(), sort_keys=True)
