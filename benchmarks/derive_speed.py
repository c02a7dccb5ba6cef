"""How long deriving threats takes and how much memory it needs, beside pytm on a model of the same size.

    python benchmarks/derive_speed.py                     # 40, 1,000 and 1,000 tangled components, 5 pairs
    python benchmarks/derive_speed.py --pairs 9 --sizes 40,1000-tangled

Every measurement is a fresh process; the two sides take turns, and the order is turned over from pair to pair. Seconds
are of the work alone, after the imports, by the clock and by the processor (on a busy machine the first is mostly
waiting); memory is the peak resident set of the whole process, interpreter included.
The whole command (`casemate threats FILE`: start, load, derive, chains, the list) has a line of its own, so that nothing
around deriving can grow unseen.
Writes `benchmarks/results/derive_speed.json`. pytm comes with the extra `peers`; where it is not installed it is left out,
and said so.

How long it takes depends on how much is connected, because the answer does. `large_system.description` has products that
mostly keep to themselves; `large_system.tangled` is the same with every flow between two components drawn from all, so
that nearly every principal reaches nearly every component: ten times the threats. The aim is stated for the size, so it
is held against both.

What is the same: the number of components and flows, from one description (`large_system`), in the same order between
the same ends; zones become boundaries. Every component becomes the nearest of pytm's Server, Datastore, Process and
ExternalEntity, principals become Actors.

What is not: pytm has about a hundred conditions on one element each (a Python expression on its attributes), of which
only a few speak of machine learning, and it says which of them hold. It has no access rows, no unknown facts and no
reach: a flow is an element with attributes. casemate has its 42 rules, asks each of every component and principal, follows
the flows both ways, and says what it would have to know. So the ratio is that of two tools on the same system, not
of two programs for the same task. Both find thousands of things; the numbers are in the lines.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import large_system
import yaml

HERE = Path(__file__).parent
SIZES = ("40", "1000", "1000-tangled")
# The most seconds and bytes that deriving may take, by the number of components.
AIM_SECONDS = {40: 0.1, 1000: 2.0}
AIM_MIB = {1000: 300.0}
Row = dict[str, Any]


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def casemate_side(path: str) -> Row:
    """Load the description and derive from it, each on its own clock."""
    from casemate.threats.derive import derive
    from casemate.threats.load import load
    from casemate.threats.rules import catalogue, instances

    rules = catalogue()
    before = peak_mib()
    began = time.perf_counter()
    system = load(path)
    loaded, cpu = time.perf_counter(), time.process_time()
    found = derive(system, rules)
    done, cpu = time.perf_counter(), time.process_time() - cpu
    peak = peak_mib()
    return {
        "load": loaded - began, "seconds": done - loaded, "cpu": cpu, "peak": peak, "imported": before, "rules": len(rules),
        "components": len(system.components), "flows": len(system.flows), "principals": len(system.principals),
        "access": len(system.access), "instances": sum(1 for rule in rules for _ in instances(rule, system)),
        "found": f"{len(found.threats)} threats, {len(found.hidden)} hidden, {len(found.undecided)} undecided, "
                 f"{len(found.questions)} questions",
    }  # fmt: skip


def pytm_side(path: str) -> Row:
    """Build the same elements and resolve: building is what loading is for the other side."""
    import pytm

    description = yaml.load(Path(path).read_text(), Loader=yaml.CSafeLoader)
    kinds = {
        "data_source": pytm.Datastore, "label_source": pytm.ExternalEntity, "feature_store": pytm.Datastore,
        "model_artifact": pytm.Datastore, "registry": pytm.Datastore, "server": pytm.Server, "edge_runtime": pytm.Server,
        "log_store": pytm.Datastore, "human_review": pytm.ExternalEntity, "dependency_set": pytm.Datastore,
    }  # fmt: skip
    tm = pytm.TM(description["system"]["name"])
    before = peak_mib()
    began = time.perf_counter()
    zones = {zone["id"]: pytm.Boundary(zone["id"]) for zone in description["zones"]}
    elements: dict[str, Any] = {}
    for component in description["components"]:
        made = elements[component["id"]] = kinds.get(component["kind"], pytm.Process)(component["id"])
        if "zone" in component:
            made.inBoundary = zones[component["zone"]]
    for principal in description["principals"]:
        elements[principal["id"]] = pytm.Actor(principal["id"])
    for flow in description["flows"]:
        pytm.Dataflow(elements[flow["from"]], elements[flow["to"]], f"{flow['from']}->{flow['to']}")
    tm.check()
    built, cpu = time.perf_counter(), time.process_time()
    tm.resolve()
    done, cpu = time.perf_counter(), time.process_time() - cpu
    return {
        "load": built - began, "seconds": done - built, "cpu": cpu, "peak": peak_mib(), "imported": before,
        "rules": len(pytm.TM._threats), "components": len(description["components"]), "flows": len(description["flows"]),
        "instances": len(pytm.TM._threats) * len(pytm.TM._elements), "found": f"{len(tm.findings)} findings",
    }  # fmt: skip


def command_side(path: str) -> Row:
    """The whole command as it is typed: start, load, derive, look for chains, list. Its output is thrown away."""
    began = time.perf_counter()
    command = [sys.executable, "-c", "from casemate.app.main import main; main()", "threats", path]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False, timeout=600)
    seconds, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        raise SystemExit(f"casemate threats ended with {done.returncode}")
    return {"seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss / 1024}


def whole_command(cell: str, description: dict[str, Any], times: int) -> Row:
    """A line of its own: `casemate threats FILE`, each time in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "system.yaml"
        path.write_text(yaml.safe_dump(description, sort_keys=False))
        rows = [measured(COMMAND, path) for _ in range(times)]
    return {"cell": cell, "side": COMMAND, "runs": times, **{key: spread([r[key] for r in rows]) for key in rows[0]}}


COMMAND = "casemate threats FILE"
SIDES = {"casemate": casemate_side, "pytm": pytm_side}
WORKERS = {**SIDES, COMMAND: command_side}


def measured(side: str, path: Path) -> Row:
    """One measurement, in a process of its own."""
    command = [sys.executable, __file__, "--worker", side, "--description", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    found: Row = json.loads(done.stdout.splitlines()[-1])
    return found


def described(size: str) -> tuple[int, str, dict[str, Any]]:
    """The number of components, the name of the cell, and the description, of `40` or `1000-tangled`."""
    number, _, tangled = size.partition("-")
    count = int(number)
    if tangled not in ("", "tangled"):
        raise SystemExit(f"--sizes: {size!r} is not a number of components, nor one with -tangled")
    made = large_system.tangled(count) if tangled else large_system.description(count)
    return count, f"{count:,} components{', tangled' if tangled else ''}", made


def compare(description: dict[str, Any], pairs: int, sides: list[str]) -> dict[str, list[Row]]:
    """The measurements of every side, one after the other."""
    runs: dict[str, list[Row]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "system.yaml"
        path.write_text(yaml.safe_dump(description, sort_keys=False))
        for pair in range(pairs):
            for side in sides if pair % 2 else sides[::-1]:
                runs[side].append(measured(side, path))
    return runs


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def lines(size: int, cell: str, runs: dict[str, list[Row]]) -> list[Row]:
    """One line for each side, with what it measured, and one for each ratio of pairs."""
    found: list[Row] = []
    for side, rows in runs.items():
        last = rows[-1]
        row: Row = {"cell": cell, "side": side, "pairs": len(rows)}
        row |= {key: last[key] for key in ("components", "flows", "rules", "instances", "found")}
        row |= {key: spread([r[key] for r in rows]) for key in ("seconds", "cpu", "load", "peak", "imported")}
        if side == "casemate":
            row |= {"principals": last["principals"], "access": last["access"]}
            row |= {"aim_seconds": AIM_SECONDS.get(size), "aim_peak_mib": AIM_MIB.get(size)}
            row["met"] = row["seconds"]["median"] <= AIM_SECONDS.get(size, float("inf")) and row["peak"]["max"] <= AIM_MIB.get(
                size, float("inf")
            )
        found.append(row)
    for side in runs.keys() - {"casemate"}:
        for key in ("seconds", "cpu", "load", "peak"):
            ratios = [ours[key] / theirs[key] for ours, theirs in zip(runs["casemate"], runs[side], strict=True)]
            found.append({"cell": cell, "side": f"casemate / {side}", "what": key, **spread(ratios)})
    return found


def shown(row: Row) -> str:
    if "what" in row:
        return f"{row['cell']} | {row['side']} | {row['what']}: {row['median']:.2f} ({row['min']:.2f}..{row['max']:.2f})"
    if row["side"] == COMMAND:
        time_, cpu, peak = row["seconds"], row["cpu"], row["peak"]
        return (
            f"{row['cell']} | {COMMAND} | {time_['median']:.2f} s ({time_['min']:.2f}..{time_['max']:.2f}), "
            f"of the processor {cpu['median']:.2f} s, peak {peak['median']:.0f} MiB"
        )
    parts = [
        f"{name} {row[key]['median']:.3f} s ({row[key]['min']:.3f}..{row[key]['max']:.3f})"
        for name, key in (("derive", "seconds"), ("of the processor", "cpu"), ("load", "load"))
    ]
    peak = f"peak {row['peak']['median']:.0f} MiB ({row['imported']['median']:.0f} after import)"
    return f"{row['cell']} | {row['side']} | {', '.join(parts)}, {peak}; {row['rules']} rules, {row['found']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--sizes", default=",".join(SIZES), help="numbers of components, with commas; 1000-tangled: see above")
    parser.add_argument("--worker", choices=sorted(WORKERS), help=argparse.SUPPRESS)
    parser.add_argument("--description", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(WORKERS[options.worker](options.description)))
        return
    absent = [] if importlib.util.find_spec("pytm") else ["pytm"]
    sides = [side for side in SIDES if side not in absent]
    found: list[Row] = []
    for size in options.sizes.split(","):
        count, cell, description = described(size)
        for row in lines(count, cell, compare(description, options.pairs, sides)):
            found.append(row)
            print(shown(row), flush=True)
        found.append(whole_command(cell, description, options.pairs))
        print(shown(found[-1]), flush=True)
    machine = {"python": platform.python_version(), "cores": os.cpu_count()}
    if not absent:
        machine["pytm"] = importlib.metadata.version("pytm")
    out = HERE / "results" / "derive_speed.json"
    # Cells that this run did not measure stay as they were: each line says with how many pairs it was made.
    fresh = {row["cell"] for row in found}
    before = json.loads(out.read_text())["lines"] if out.exists() else []
    kept = [row for row in before if row["cell"] not in fresh]
    out.write_text(json.dumps({"machine": machine, "absent": absent, "lines": kept + found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
