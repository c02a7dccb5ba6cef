"""A described system small enough to be assessed in seconds, and the command line around it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SYSTEM = """\
casemate: 1
system:
  name: toy
  task: multiclass
  modality: image
  decision: {automated: yes, reversible: no}
  target:
    - component: reader
      factory: bind:target
      data: bind:holdout
      goal: {kind: wrong}
      within: {kind: ball, norm: linf, radius: 0.08, low: 0.0, high: 1.0}
      attacks: {rows: {quick: 120}, queries_per_row: {quick: 200}}
zones:
  - {id: outside, trust: public}
  - {id: inside, trust: prod}
principals:
  - {id: customer, kind: customer, zone: outside}
  - {id: insider, kind: insider, zone: inside}
assets:
  - {id: verdict, kind: decision, value: {I: 3}}
components:
  - id: reader
    kind: server
    zone: inside
    holds: [verdict]
    model: {family: nn, differentiable: yes, output: score}
    endpoint: {auth: key, admin_exposed: no}
access:
  - {principal: customer, on: reader, can: [query, see_label, see_score], budget: {accounts: 1, days: 30}}
"""

BIND = """\
import numpy as np
import torch
import casemate as cm


def net():
    rng = np.random.default_rng(0)
    made = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3))
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(torch.as_tensor(rng.normal(size=tuple(p.shape)) * 0.5))
    return made.eval()


def target():
    return cm.wrap(net(), name="toy", classes=3)


def inputs():
    return np.random.default_rng(1).random((120, 1, 6, 6)).astype(np.float32)


def holdout():
    x = inputs()
    return x, target().respond(x).label.numpy()
"""

MAIN = (sys.executable, "-c", "from casemate.app.main import main; main()")


def write(folder: Path, system: str = SYSTEM, bind: str = BIND) -> Path:
    """A description and the user's code beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bind.py").write_text(bind)
    path = folder / "system.yaml"
    path.write_text(system)
    return path


def command(path: Path, store: Path, *more: str) -> list[str]:
    """`casemate assess`, quick, quiet, as JSON."""
    out = store.parent / f"{store.stem}-report"
    return [*MAIN, "assess", str(path), "--store", str(store), "--budget", "quick", "--quiet", "--json", "--out", str(out), *more]


def start(path: Path, store: Path, *more: str, **options: object) -> subprocess.Popen[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command(path, store, *more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, **options)


def assess(path: Path, store: Path, *more: str) -> dict:
    """Run to the end; the first assessment of the JSON."""
    process = start(path, store, *more)
    out, err = process.communicate(timeout=300)
    assert process.returncode in (0, 1), err
    return json.loads(out)["assessments"][0]


def stored(store: Path) -> dict[str, str]:
    """Digests of the cells in a store, by label."""
    import sqlite3

    if not store.exists():
        return {}
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as link:
        try:
            return dict(link.execute("select label, digest from cells").fetchall())
        except sqlite3.OperationalError:  # not made yet
            return {}
