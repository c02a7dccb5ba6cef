"""What the guard costs: the same server with and without it, measured from outside with wrk.

    python benchmarks/guard_overhead.py                        a 3 KB echo endpoint
    python benchmarks/guard_overhead.py --around examples/cheques server:app --header 'x-api-key: cheques-demo-key-1'
                                                               any other ASGI application: its folder and module:name

Around another application the policy is its folder's guard.yaml with every cap on rows raised so that nothing is
refused; path and body come from the policy (one row of random values in [0, 1]) unless given.

The two servers run on one core, the client on another; the runs alternate, so that a busy machine disturbs both alike.
Latency is taken with one connection (nothing queues), throughput with sixteen. On a machine that is not idle both are
of the machine as much as of the server, so the server's own processor time is taken too: requests for each second of
it are what one free core would serve. Needs `wrk` (Debian: apt-get install wrk)
and `taskset` (util-linux). Prints a Markdown table and writes benchmarks/results/guard.json.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
PATH = "/v2/models/m/infer"
KINDS = {"budget": "query_budget", "edit": "query_budget, round_scores"}
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


def endless(hosted: Any) -> Any:
    """The same control at the same work, but nothing reaches its cap."""
    if not hasattr(hosted.control, "rows"):
        return hosted
    return dataclasses.replace(hosted, control=dataclasses.replace(hosted.control, rows=10**9))


def guarded_by(app: Any, kind: str, policy: str) -> Any:
    """The guard as it is measured: events are written for every request, to a file nobody reads."""
    from casemate.controls.service.query_budget import QueryBudget
    from casemate.controls.service.round_scores import RoundScores
    from casemate.guard import Guard, Policy, to_stream

    sink = to_stream(open(os.devnull, "w"))  # noqa: SIM115 - lives as long as the process
    if policy:
        found = Policy.read(policy)
        return dataclasses.replace(found, controls=tuple(map(endless, found.controls))).wrap(app, sink=sink)
    controls = [QueryBudget(rows=10**9), *([RoundScores(digits=2)] if kind == "edit" else [])]
    return Guard(app, controls=controls, sink=sink)


def serve(name: str, kind: str, port: int, policy: str, folder: str) -> None:
    """The server process. `kind`: bare, budget (counts), edit (counts and rounds), policy (what the policy says)."""
    import uvicorn

    from casemate.guard.serve import load_app

    app: Any = {"echo": echo, "scorer": scorer}.get(name) or load_app(name, folder or os.getcwd())
    if kind != "bare":
        app = guarded_by(app, kind, policy)
    uvicorn.run(app, port=port, workers=1, access_log=False, log_level="warning")


@contextlib.contextmanager
def server(name: str, kind: str, policy: str, folder: str) -> Iterator[tuple[int, int]]:
    """A running server, pinned to core 0: its port and its process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, __file__, "--serve", name, "--kind", kind, "--port", str(port), "--policy", policy]
    command += ["--folder", folder]
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


def wrk(port: int, path: str, script: str, connections: int, seconds: int) -> tuple[float, float]:
    """One run: median latency in microseconds, and requests per second. Any answer but 2xx ends the benchmark."""
    url = f"http://127.0.0.1:{port}{path}"
    command = [
        "taskset",
        "-c",
        "1",
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
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


def first(port: int, options: argparse.Namespace, content: bytes) -> None:
    """One request before any is measured: it may load a model, and a refusal should be seen with its reason."""
    headers = {"content-type": "application/json", **dict(map(pair, options.header))}
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{options.path}", content, headers)
    try:
        urllib.request.urlopen(asked, timeout=120).close()
    except urllib.error.HTTPError as error:
        raise SystemExit(f"the server answered {error.code}: {error.read(500)!r}") from None


def pair(header: str) -> tuple[str, str]:
    name, _, value = header.partition(":")
    return name.strip(), value.strip()


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


def measure(name: str, kind: str, options: argparse.Namespace, script: str, content: bytes) -> dict[str, Any]:
    """Alternating runs of the bare and the guarded server."""
    folder = options.around[0] if options.around else ""
    runs: dict[str, list[tuple[float, float, float]]] = {"bare": [], kind: []}
    with server(name, "bare", "", folder) as bare, server(name, kind, options.policy, folder) as guarded:
        servers = {"bare": bare, kind: guarded}
        for port, _ in servers.values():
            first(port, options, content)
            wrk(port, options.path, script, 16, 1)  # warm up
        for pair in range(options.pairs):
            settle(options.patience)
            for which in list(servers) if pair % 2 == 0 else list(servers)[::-1]:
                port, pid = servers[which]
                latency, _ = wrk(port, options.path, script, 1, options.seconds)
                before = busy(pid)
                _, rate = wrk(port, options.path, script, 16, options.seconds)
                runs[which].append((latency, rate, rate * options.seconds / (busy(pid) - before)))
    return {"server": name, "controls": options.policy or KINDS[kind], "body_bytes": len(content), **summary(runs, kind)}


def summary(runs: dict[str, list[tuple[float, float, float]]], kind: str) -> dict[str, Any]:
    """What the guard cost, with bounds, from pairs of runs."""
    plain, ours = np.array(runs["bare"]), np.array(runs[kind])
    return {
        "pairs": len(ours),
        "bare_latency_us": bounds(plain[:, 0]),
        "added_latency_us": bounds(ours[:, 0] - plain[:, 0]),
        "bare_rate": bounds(plain[:, 1]),
        "guarded_rate": bounds(ours[:, 1]),
        "throughput_lost_percent": bounds(100 * (1 - ours[:, 1] / plain[:, 1])),
        "throughput_lost_percent_per_cpu_second": bounds(100 * (1 - ours[:, 2] / plain[:, 2])),
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
        "throughput lost, %": ("throughput_lost_percent", ".1f"),
        "lost per CPU second, %": ("throughput_lost_percent_per_cpu_second", ".1f"),
    }
    lines = ["| server | controls | " + " | ".join(columns) + " |", "|---" * (2 + len(columns)) + "|"]
    for r in results:
        cells = [r["server"], r["controls"]]
        for key, form in columns.values():
            middle, low, high = (format(value, form) for value in r[key])
            cells.append(f"{middle} [{low}, {high}]")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--around", nargs=2, metavar=("FOLDER", "MODULE:APP"), help="measure around this application")
    parser.add_argument("--policy", default="", help="with --around: the policy file; left out, guard.yaml in FOLDER")
    parser.add_argument("--body", default="", help="with --around: a file with the request's body")
    parser.add_argument("--path", default="", help="with --around: left out, the first model path of the policy")
    parser.add_argument("--header", action="append", default=[], metavar="NAME: VALUE", help="sent with every request")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=2, help="of each run, whole: wrk takes no others")
    parser.add_argument("--patience", type=float, default=15.0, help="seconds to wait for an idle machine before each pair")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "guard.json")
    for name, default in (("--serve", ""), ("--kind", "bare"), ("--port", "0"), ("--folder", "")):
        parser.add_argument(name, default=default, help=argparse.SUPPRESS)
    return parser.parse_args()


def ask(options: argparse.Namespace) -> bytes:
    """Fill in what the policy says of the requests; the body that is sent."""
    if not options.around:
        options.policy, options.path = "", PATH
        return body()
    from casemate.guard import Policy

    options.policy = options.policy or str(Path(options.around[0]) / "guard.yaml")
    policy = Policy.read(options.policy)
    options.path = options.path or policy.paths.model[0].replace("*", "m")
    if options.body:
        return Path(options.body).read_bytes()
    if policy.schema.kind != "v2" or policy.schema.row_shape is None:
        raise SystemExit(f"{options.policy} does not say what a row looks like; give a request with --body")
    shape = [1, *policy.schema.row_shape]
    data = np.random.default_rng(0).random(shape).round(4).reshape(-1).tolist()
    return json.dumps({"inputs": [{"name": "x", "shape": shape, "datatype": "FP32", "data": data}]}).encode()


def script(options: argparse.Namespace, content: bytes) -> str:
    """What wrk sends, in Lua. Long brackets: nothing in JSON can end them."""
    lines = ['wrk.method="POST"', f"wrk.body=[==[{content.decode()}]==]", 'wrk.headers["Content-Type"]="application/json"']
    lines += [f"wrk.headers[ [==[{name}]==] ]=[==[{value}]==]" for name, value in map(pair, options.header)]
    return "\n".join(lines) + "\n"


def goals(echoed: dict[str, Any]) -> str:
    met = {
        f"at most {MOST_ADDED_US:.0f} µs added": echoed["added_latency_us"][0] <= MOST_ADDED_US,
        f"at least {LEAST_RATE:,.0f} req/s": echoed["guarded_rate"][0] >= LEAST_RATE,
        f"at least {LEAST_RATE:,.0f} req per CPU second": echoed["guarded_rate_per_cpu_second"][0] >= LEAST_RATE,
    }
    return "Goals on the echo server: " + "; ".join(f"{goal}: {'met' if ok else 'MISSED'}" for goal, ok in met.items())


def main() -> None:
    options = arguments()
    if options.serve:
        serve(options.serve, options.kind, int(options.port), options.policy, options.folder)
        return
    for tool, package in (("wrk", "wrk"), ("taskset", "util-linux")):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is missing; on Debian and Ubuntu: apt-get install {package}")
    content = ask(options)
    todo = [(options.around[1], "policy")] if options.around else [("echo", "budget"), ("scorer", "edit")]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script(options, content))
        file.flush()
        results = [measure(name, kind, options, file.name, content) for name, kind in todo]
    print(table(results))
    if not options.around:
        print("\n" + goals(results[0]))
    # Runs around other servers stand beside these, each under its own name.
    old = json.loads(options.out.read_text())["results"] if options.out.exists() else []
    names = {(r["server"], r["controls"]) for r in results}
    merged = [r for r in old if (r["server"], r["controls"]) not in names] + results
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"results": merged}, indent=2) + "\n")


if __name__ == "__main__":
    main()
