"""Killed, interrupted, short of space, with one worker or two: the evidence is the same, and nothing measured is lost."""

from __future__ import annotations

import random
import resource
import signal
import sys
import time

import pytest

from . import toy

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    return toy.write(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def whole(system, tmp_path_factory):
    """An uninterrupted run: its digest and its cells."""
    store = tmp_path_factory.mktemp("whole") / "evidence.db"
    return toy.assess(system, store)["digest"], toy.stored(store)


def wait_for(process, store, cells):
    """Until so many cells are stored, or the process is over."""
    until = time.monotonic() + 120
    while process.poll() is None and len(toy.stored(store)) < cells:
        assert time.monotonic() < until, "no cell was ever stored"
        time.sleep(0.005)


def test_the_toy_has_cells_enough_to_be_interrupted(whole):
    assert len(whole[1]) >= 6


@pytest.mark.parametrize("workers", ["1", "2"])
def test_killed_at_a_random_moment_the_same_command_ends_at_the_same_digest(system, whole, tmp_path, workers):
    store = tmp_path / "evidence.db"
    after = random.randrange(0, len(whole[1]) - 1)
    process = toy.start(system, store, "--workers", workers, start_new_session=True)
    wait_for(process, store, after)
    time.sleep(random.random() * 0.2)
    import os

    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = toy.stored(store)
    assert toy.assess(system, store, "--workers", workers)["digest"] == whole[0], f"killed after {after} cells"
    assert toy.stored(store) == whole[1]
    assert before.items() <= whole[1].items()


def test_one_worker_or_two_make_the_same_evidence(system, whole, tmp_path):
    store = tmp_path / "evidence.db"
    assert toy.assess(system, store, "--workers", "2")["digest"] == whole[0]
    assert toy.stored(store) == whole[1]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_is_one_message_and_can_be_gone_on_from(system, whole, tmp_path, workers):
    store = tmp_path / "evidence.db"
    process = toy.start(system, store, "--workers", workers, start_new_session=True)
    wait_for(process, store, 1)
    import os

    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to the workers too
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.strip() == "interrupted; what was measured is stored, the same command goes on from there"
    before = toy.stored(store)
    assert before
    assert toy.assess(system, store)["digest"] == whole[0]
    assert before.items() <= whole[1].items()


def test_a_full_disk_is_one_message_and_loses_nothing(system, whole, tmp_path):
    store = tmp_path / "evidence.db"
    toy.start(system, store, "--plan").communicate()
    room = 80_000  # for each file: the store has its tables and some cells, and then no more

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    process = toy.start(system, store, preexec_fn=limited)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert len(err.strip().splitlines()) == 1, err
    assert "store" in err
    assert "what was stored is kept" in err
    before = toy.stored(store)
    assert 0 < len(before) < len(whole[1])
    assert before.items() <= whole[1].items()
    assert toy.assess(system, store)["digest"] == whole[0]
    assert toy.stored(store) == whole[1]


def test_a_finished_assessment_measures_nothing_again(system, whole, tmp_path):
    store = tmp_path / "evidence.db"
    first = toy.assess(system, store)
    began = time.monotonic()
    again = toy.assess(system, store)
    assert first["digest"] == again["digest"] == whole[0]
    assert sum(e["seconds"] for f in again["findings"] for e in f["evidence"]) == pytest.approx(
        sum(e["seconds"] for f in first["findings"] for e in f["evidence"])
    ), "measured times come from the store too"
    assert time.monotonic() - began < 30
