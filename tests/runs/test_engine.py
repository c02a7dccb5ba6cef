"""Engines: one worker or many, stored or not, the evidence is one; nothing unhardened or uncapped runs elsewhere."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from casemate.core.errors import RunError
from casemate.runs.assess import assess, prepare
from casemate.runs.engine import Work, _elsewhere, run_cells
from casemate.store.cells import Store


def test_workers_a_store_and_a_second_run_change_nothing(toy, tmp_path):
    path = toy()
    plain = assess(path, budget="quick").digest()
    store = Store(tmp_path / "e.db")
    assert assess(path, budget="quick", store=store, workers=2).digest() == plain
    seen = []
    assert assess(path, budget="quick", store=store, show=seen.append).digest() == plain
    assert seen and all(event.stored for event in seen)


def test_a_run_that_was_cut_goes_on_where_it_was(toy, tmp_path):
    path, store, count = toy(), Store(tmp_path / "e.db"), []

    def stop(event):
        count.append(event)
        if event.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        assess(path, budget="quick", store=store, show=stop)
    seen = []
    result = assess(path, budget="quick", store=store, show=seen.append)
    assert sum(event.stored for event in seen) == 2 and result.digest() == assess(path, budget="quick").digest()


def test_a_hardened_or_remote_bench_never_leaves_the_process_regression(toy):
    bench, work = prepare(toy(), budget="quick").benches["reader"], Work(workers=2, source="x")
    assert _elsewhere(bench, work) and not _elsewhere(replace(bench, applied=("x",)), work)
    assert not _elsewhere(bench, Work(workers=2))
    binding = replace(bench.system.target[0], factory=None, url="http://h/x", query_cap=1, pace_per_s=1.0, protocol="json")
    assert not _elsewhere(replace(bench, system=replace(bench.system, target=(binding,))), work)


def test_a_worker_attacks_what_was_planned_or_nothing_regression(toy):
    path = toy()
    ready = prepare(path, budget="quick")
    other = replace(ready.benches["reader"], code="edited meanwhile")
    with pytest.raises(RunError, match="not what was planned"):
        run_cells(other, ready.plans["reader"].cells, Work(workers=2, source=str(path)), lambda event: None)


CHILD = """
import sys
from casemate.runs.engine import _pool
import os
if __name__ == "__main__":
    pool = _pool(1)
    print(pool.submit(os.getpid).result(), flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_workers_end_with_a_parent_that_was_killed_regression(tmp_path):
    (tmp_path / "child.py").write_text(CHILD)
    child = subprocess.Popen([sys.executable, tmp_path / "child.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    worker = int(child.stdout.readline())
    child.kill()
    child.wait()
    for _ in range(100):
        try:
            os.kill(worker, 0)
            with open(f"/proc/{worker}/stat") as file:
                if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                    break
        except (ProcessLookupError, FileNotFoundError):
            break
        time.sleep(0.05)
    else:
        pytest.fail("the worker is still there")
    assert multiprocessing.parent_process() is None
