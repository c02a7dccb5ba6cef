"""What the guard costs: the same server with and without it, measured from outside with wrk.

    python benchmarks/guard_overhead.py                        a 3 KB echo endpoint
    python benchmarks/guard_overhead.py --around MODULE:APP    any other ASGI application, with --body, --path, --policy

The two servers run on one core, the client on another; the runs alternate, so that a busy machine disturbs both alike.
Latency is taken with one connection (nothing queues), throughput with sixteen. On a machine that is not idle both are
of the machine as much as of the server, so the server's own processor time is taken too: requests for each second of
it are what one free core would serve. Needs `wrk` (Debian: apt-get install wrk)
and `taskset` (util-linux). Prints a Markdown table and writes benchmarks/results/guard.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
PATH = "/v2/models/m/infer"
UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6}
# Latency added at the median in microseconds, and requests per second: what the middleware must keep to.
MOST_ADDED_US, LEAST_RATE = 200.0, 4000.0


def body() -> bytes:
    """A V2 request of one 28 x 28 image in 8 bits: 3 KB of JSON."""
    data = ",".join(str(i * 37 % 256) for i in range(784))
    return f'{{"inputs":[{{"name":"x","shape":[1,784],"datatype":"UINT8","data":[{data}]}}]}}'.encode()


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """The bare server: sends back what it got."""
    found = await _body(scope, receive)
    if found is not None:
        await _send(send, found)


async def scorer(scope: Any, receive: Any, send: Any) -> None:
    """A bare server that answers one label and ten scores, whatever the 3 KB say."""
    if await _body(scope, receive) is not None:
        scores = [round(0.0173 * (i + 1) + 0.000123 * i, 9) for i in range(10)]
        outputs = [
            {"name": "label", "shape": [1], "datatype": "INT64", "data": [3]},
            {"name": "scores", "shape": [1, 10], "datatype": "FP64", "data": scores},
        ]
        await _send(send, json.dumps({"model_name": "m", "outputs": outputs}).encode())


async def _body(scope: Any, receive: Any) -> bytes | None:
    if scope["type"] != "http":
        return None
    found, more = b"", True
    while more:
        message = await receive()
        found += message.get("body", b"")
        more = message.get("more_body", False)
    return found


async def _send(send: Any, data: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(data))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": data})


def guarded_by(app: Any, kind: str, policy: str) -> Any:
    """The guard as it is measured: events are written for every request, to a file nobody reads."""
    from casemate.controls.service.query_budget import QueryBudget
    from casemate.controls.service.round_scores import RoundScores
    from casemate.guard import Guard, Policy, to_stream

    sink = to_stream(open(os.devnull, "w"))  # noqa: SIM115 - lives as long as the process
    if policy:
        return Policy.read(policy).wrap(app, sink=sink)
    controls = [QueryBudget(rows=10**9), *([RoundScores(digits=2)] if kind == "edit" else [])]
    return Guard(app, controls=controls, sink=sink)


def serve(name: str, kind: str, port: int, policy: str) -> None:
    """The server process. `kind`: bare, budget (counts), edit (counts and rounds)."""
    import uvicorn

    from casemate.guard.serve import load_app

    app: Any = {"echo": echo, "scorer": scorer}.get(name) or load_app(name, os.getcwd())
    if kind != "bare":
        app = guarded_by(app, kind, policy)
    uvicorn.run(app, port=port, workers=1, access_log=False, log_level="warning")


@contextlib.contextmanager
def server(name: str, kind: str, policy: str) -> Iterator[tuple[int, int]]:
    """A running server, pinned to core 0: its port and its process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, __file__, "--serve", name, "--kind", kind, "--port", str(port), "--policy", policy]
    process = subprocess.Popen(["taskset", "-c", "0", *command])
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            if process.poll() is not None:
                raise SystemExit(f"the {kind} server of {name} did not start")
            time.sleep(0.1)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def wrk(port: int, path: str, script: str, connections: int, seconds: float) -> tuple[float, float]:
    """One run: median latency in microseconds, and requests per second. Any answer but 2xx ends the benchmark."""
    url = f"http://127.0.0.1:{port}{path}"
    command = [
        "taskset",
        "-c",
        "1",
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds:g}s",
        "--latency",
        "-s",
        script,
        url,
    ]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"the server did not answer as it should:\n{text}")
    median = re.search(r"50%\s+([\d.]+)(us|ms|s)", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert median, text
    assert rate, text
    return float(median[1]) * UNITS[median[2]], float(rate[1])


def busy(pid: int) -> float:
    """Processor seconds of a process so far, its own and the kernel's on its behalf."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ticks() -> Any:
    """Time of all cores so far by kind, as the kernel counts it."""
    return np.array(Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:], np.int64)


def settle(patience: float) -> None:
    """Wait until the machine is nine tenths idle for half a second, or until patience ends."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        before = ticks()
        time.sleep(0.5)
        passed = ticks() - before
        if passed[3] + passed[4] >= 0.9 * passed.sum():  # idle, and waiting for a disk
            return


def bounds(values: Any) -> list[float]:
    """Median and its 95 % percentile bootstrap interval."""
    values = np.asarray(values)
    draws = np.random.default_rng(0).choice(values, (4000, len(values)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    return [float(np.median(values)), float(low), float(high)]


def measure(name: str, kind: str, options: argparse.Namespace, script: str) -> dict[str, Any]:
    """Alternating runs of the bare and the guarded server."""
    runs: dict[str, list[tuple[float, float, float]]] = {"bare": [], kind: []}
    with server(name, "bare", "") as bare, server(name, kind, options.policy) as guarded:
        servers = {"bare": bare, kind: guarded}
        for port, _ in servers.values():
            wrk(port, options.path, script, 16, 1)  # warm up
        for pair in range(options.pairs):
            settle(options.patience)
            for which in list(servers) if pair % 2 == 0 else list(servers)[::-1]:
                port, pid = servers[which]
                latency, _ = wrk(port, options.path, script, 1, options.seconds)
                before = busy(pid)
                _, rate = wrk(port, options.path, script, 16, options.seconds)
                runs[which].append((latency, rate, rate * options.seconds / (busy(pid) - before)))
    plain, ours = np.array(runs["bare"]), np.array(runs[kind])
    return {
        "server": name,
        "controls": options.policy or {"budget": "query_budget", "edit": "query_budget, round_scores"}[kind],
        "pairs": options.pairs,
        "bare_latency_us": bounds(plain[:, 0]),
        "added_latency_us": bounds(ours[:, 0] - plain[:, 0]),
        "bare_rate": bounds(plain[:, 1]),
        "guarded_rate": bounds(ours[:, 1]),
        "throughput_ratio": bounds(ours[:, 1] / plain[:, 1]),
        "bare_rate_per_cpu_second": bounds(plain[:, 2]),
        "guarded_rate_per_cpu_second": bounds(ours[:, 2]),
        "added_cpu_us": bounds(1e6 / ours[:, 2] - 1e6 / plain[:, 2]),
    }


def table(results: list[dict[str, Any]]) -> str:
    """The results as Markdown: medians, with 95 % bootstrap bounds in brackets."""
    columns = {
        "bare median, µs": ("bare_latency_us", ".0f"),
        "added at the median, µs": ("added_latency_us", ".0f"),
        "bare req/s": ("bare_rate", ",.0f"),
        "guarded req/s": ("guarded_rate", ",.0f"),
        "guarded req per CPU second": ("guarded_rate_per_cpu_second", ",.0f"),
        "added CPU, µs": ("added_cpu_us", ".0f"),
        "throughput kept": ("throughput_ratio", ".2f"),
    }
    lines = ["| server | controls | " + " | ".join(columns) + " |", "|---" * (2 + len(columns)) + "|"]
    for r in results:
        cells = [r["server"], r["controls"]]
        for key, form in columns.values():
            middle, low, high = (format(value, form) for value in r[key])
            cells.append(f"{middle} [{low}, {high}]")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--around", default="", metavar="MODULE:APP", help="measure around this application")
    parser.add_argument("--policy", default="", help="with --around: the guard's policy file")
    parser.add_argument("--body", default="", help="with --around: a file with the request's body")
    parser.add_argument("--path", default=PATH)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--patience", type=float, default=15.0, help="seconds to wait for an idle machine before each pair")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "guard.json")
    parser.add_argument("--serve", default="", help=argparse.SUPPRESS)
    parser.add_argument("--kind", default="bare", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.kind, options.port, options.policy)
        return
    for tool, package in (("wrk", "wrk"), ("taskset", "util-linux")):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is missing; on Debian and Ubuntu: apt-get install {package}")
    content = Path(options.body).read_bytes() if options.body else body()
    todo = [(options.around, "edit")] if options.around else [("echo", "budget"), ("scorer", "edit")]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        # A Lua string in long brackets: nothing in JSON can end it.
        script.write(f'wrk.method="POST"\nwrk.body=[==[{content.decode()}]==]\n')
        script.write('wrk.headers["Content-Type"]="application/json"\n')
        script.flush()
        results = [measure(name, kind, options, script.name) for name, kind in todo]
    print(table(results))
    if not options.around:
        echoed = results[0]
        goals = {
            f"at most {MOST_ADDED_US:.0f} µs added": echoed["added_latency_us"][0] <= MOST_ADDED_US,
            f"at least {LEAST_RATE:,.0f} req/s": echoed["guarded_rate"][0] >= LEAST_RATE,
            f"at least {LEAST_RATE:,.0f} req per CPU second": echoed["guarded_rate_per_cpu_second"][0] >= LEAST_RATE,
        }
        print("\nGoals on the echo server: " + "; ".join(f"{goal}: {'met' if ok else 'MISSED'}" for goal, ok in goals.items()))
    # Runs around other servers stand beside these, each under its own name.
    old = json.loads(options.out.read_text())["results"] if options.out.exists() else []
    names = {(r["server"], r["controls"]) for r in results}
    merged = [r for r in old if (r["server"], r["controls"]) not in names] + results
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"body_bytes": len(content), "results": merged}, indent=2) + "\n")


if __name__ == "__main__":
    main()
