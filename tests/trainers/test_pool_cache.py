"""Fits one by one and in processes, and what is kept."""

from __future__ import annotations

import importlib
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from casemate.core.errors import UsageError
from casemate.trainers import MLP, Fits, Softmax, cache, pool, stacked, train_many
from casemate.trainers.cache import Memory, memory

sys.path.insert(0, str(Path(__file__).parent))
fits = importlib.import_module("fits")
RNG = np.random.default_rng(0)
Y = np.arange(40) % 2
X = RNG.normal(size=(40, 3)) + 2 * Y[:, None]
WEIGHTS = (RNG.random((5, 40)) < 0.6).astype(int)
QUERIES = RNG.normal(size=(7, 3))


@pytest.fixture(autouse=True)
def _forget():
    memory.clear()


def _many(learner, **more):
    given = dict(seeds=range(len(WEIGHTS)), ask=QUERIES) | more
    return train_many(learner, X, Y, WEIGHTS, **given)


def test_fits_get_their_rows():
    seen = []

    def fit(x, y, seed):
        seen.append((len(x), seed))
        return fits.means(x, y, seed)

    weights = WEIGHTS.copy()
    weights[0, 3] = 4
    out = train_many(Fits(fit), X, Y, weights, seeds=[5, 6, 7, 8, 9], ask=[QUERIES, X])
    assert sorted(seen, key=lambda s: s[1]) == list(zip(weights.sum(1), range(5, 10), strict=True))
    assert [each.shape for each in out.logits] == [(5, 7, 2), (5, 40, 2)] and not out.failed.any()
    assert out.accuracy[1] == pytest.approx(np.average(out.logits[1][1].argmax(1) == Y, weights=weights[1]))


def test_what_fails_is_said_and_the_rest_goes_on():
    out = _many(Fits(fits.fragile))
    assert out.failed.tolist() == [False, True, False, False, False] and out.why[1] == "RuntimeError: out of luck"
    assert np.isnan(out.logits[0][1]).all() and np.isfinite(out.logits[0][[0, 2, 3, 4]]).all()
    assert out.reasons == "1 of 5 models failed: RuntimeError: out of luck"


def test_scores_and_labels_serve():
    labels, scores = _many(Fits(fits.shy)).logits[0], _many(Fits(fits.scored)).logits[0]
    np.testing.assert_array_equal(labels.argmax(2), scores.argmax(2))
    assert np.isfinite(labels).all() and np.isfinite(scores).all()


def test_processes_answer_as_one_does():
    here, there = _many(Fits(fits.means, workers=1)), _many(Fits(fits.means, workers=2))
    np.testing.assert_array_equal(here.logits[0], there.logits[0])
    pids = _many(Fits(fits.slow, workers=2)).logits[0] - here.logits[0]
    assert len(np.unique(pids.round(6)[:, 0, 0])) == 2  # two processes took part, and neither is this one


def test_a_process_that_dies_costs_one_model():
    out = _many(Fits(fits.dying, workers=2))
    assert out.failed.tolist() == [False, False, False, True, False] and "process died" in out.why[3]


def test_what_cannot_be_sent_is_done_here():
    assert not _many(Fits(lambda x, y, seed: fits.means(x, y, seed), workers=2)).failed.any()


def test_few_and_quick_ones_start_no_process(monkeypatch):
    monkeypatch.setattr(pool, "_Crew", None)  # would raise
    assert not _many(Fits(fits.means)).failed.any()


def test_an_interruption_ends_the_processes(monkeypatch):
    crew, real = [], pool.subprocess.Popen
    monkeypatch.setattr(pool.subprocess, "Popen", lambda *args, **more: crew.append(real(*args, **more)) or crew[-1])
    jobs = pool.spread(fits.pause, None, list(range(8)), workers=2)
    next(jobs)
    jobs.close()  # as leaving the loop by KeyboardInterrupt does
    assert len(crew) == 2 and all(process.poll() is not None for process in crew)


def test_read_again_not_trained_again(tmp_path, monkeypatch):
    learner = MLP((8,), epochs=5)
    first = _many(learner, cache=tmp_path)
    memory.clear()
    monkeypatch.setattr(stacked, "train", None)  # would raise
    again = _many(learner, cache=tmp_path)
    assert again.kept.all() and not first.kept.any()
    np.testing.assert_array_equal(first.logits[0], again.logits[0])
    np.testing.assert_array_equal(first.accuracy, again.accuracy)
    some = train_many(learner, X, Y, WEIGHTS[[3, 1]], seeds=[3, 1], ask=QUERIES, cache=tmp_path)  # another attack wants two of them
    np.testing.assert_array_equal(some.logits[0], first.logits[0][[3, 1]])


def test_other_questions_train_nothing(monkeypatch):
    for learner in (MLP((8,), epochs=5), Softmax()):
        first = _many(learner, ask=[QUERIES, X])
        with monkeypatch.context() as patch:
            patch.setattr(stacked, "train", None)
            patch.setattr("casemate.trainers.newton.fit", None)
            np.testing.assert_allclose(_many(learner, ask=X).logits[0], first.logits[1], atol=1e-5)


@pytest.mark.parametrize("change", ["x", "y", "weights", "seeds", "learner", "classes", "ask"])
def test_what_decides_is_in_the_key(tmp_path, change):
    given = dict(learner=MLP((8,), epochs=2), x=X, y=Y, weights=WEIGHTS, seeds=range(5), ask=QUERIES, classes=2, cache=tmp_path)

    def run(g):
        g = dict(g)
        return train_many(g.pop("learner"), g.pop("x"), g.pop("y"), g.pop("weights"), **g)

    run(given)
    other = dict(x=X + 1e-3, y=1 - Y, weights=WEIGHTS * 2, seeds=range(5, 10), learner=MLP((8,), epochs=3), classes=3, ask=QUERIES + 1)
    assert run(given).kept.all()
    assert not run(given | {change: other[change]}).kept.any()


def test_another_version_of_a_library_is_another_model(tmp_path, monkeypatch):
    _many(Softmax(), cache=tmp_path)
    monkeypatch.setattr(cache.importlib.metadata, "version", lambda name: "0.0")
    assert not _many(Softmax(), cache=tmp_path).kept.any()


@pytest.mark.parametrize("damage", [lambda b: b[:100], lambda b: b"", lambda b: b[:-200] + bytes(200), lambda b: b.replace(b"logits", b"lagits")])
def test_a_damaged_file_is_made_again(tmp_path, damage):
    first = _many(Softmax(), cache=tmp_path)
    files = sorted(tmp_path.rglob("*.npz"))
    assert len(files) == 5 and not list(tmp_path.rglob("*.part"))
    files[2].write_bytes(damage(files[2].read_bytes()))
    memory.clear()
    again = _many(Softmax(), cache=tmp_path)
    assert again.kept.sum() == 4
    np.testing.assert_allclose(again.logits[0], first.logits[0], atol=1e-9)
    assert _many(Softmax(), cache=tmp_path).kept.all()


def test_fits_are_kept_under_a_version_only(tmp_path):
    for version, kept in (("", False), ("1", True)):
        _many(Fits(fits.means, version=version), cache=tmp_path)
        assert _many(Fits(fits.means, version=version), cache=tmp_path).kept.all() == kept
    assert not _many(Fits(fits.means, version="2"), cache=tmp_path).kept.any()


def test_an_error_is_not_kept_and_a_failure_is_said_again(tmp_path):
    _many(Fits(fits.fragile, version="1"), cache=tmp_path)
    assert _many(Fits(fits.fragile, version="1"), cache=tmp_path).kept.tolist() == [True, False, True, True, True]
    blind = [train_many(Softmax(), np.ones((4, 2)), np.array([0, 1, 0, 1]), np.ones((1, 4)), seeds=[0], ask=np.ones((1, 2)), cache=tmp_path) for _ in range(2)]
    assert blind[1].kept.all() and blind[1].failed.all() and blind[1].why == blind[0].why


def test_a_cache_that_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="folder"):
        _many(Softmax(), cache=tmp_path / "file")


def test_memory_forgets_whom_nobody_asked_for():
    held = Memory(most=3 * 80)
    for name in "abc":
        held.put(name, np.zeros(10))
    assert held.get("a") is not None
    held.put("d", np.zeros(10))
    assert held.get("b") is None and held.get("a") is not None


def test_two_at_once_share_a_folder(tmp_path):
    found = []
    threads = [threading.Thread(target=lambda: found.append(_many(Softmax(), cache=tmp_path).logits[0])) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    np.testing.assert_allclose(found[0], found[1], atol=1e-9)
    assert len(found) == 3 and _many(Softmax(), cache=tmp_path).kept.all()


def test_frames_go_to_fits_as_they_are():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": X[:, 0], "kind": np.where(Y, "red", "blue")})

    def fit(x, y, seed):
        assert list(x.columns) == ["a", "kind"]
        return fits.Model(lambda q: fits._by(np.stack([-q["a"].to_numpy(), q["a"].to_numpy() - 2.0], 1)))

    out = train_many(Fits(fit), frame, Y, WEIGHTS, seeds=range(5), ask=frame.iloc[:4])
    assert out.logits[0].shape == (5, 4, 2) and not out.failed.any()
