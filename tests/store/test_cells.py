"""The store: appended to and never changed, one clear message when it cannot be."""

import sqlite3

import pytest
from sqlalchemy import event

from casemate.core.errors import RunError, UsageError
from casemate.store.cells import Store


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "deep" / "evidence.db")
    yield made
    made.close()


def test_what_was_put_is_found_and_the_first_stands(store):
    store.put("k", b"one", "d", "label")
    store.put("k", b"two", "e", "label")
    assert store.get("k") == b"one" and store.get("other") is None


def test_runs_come_in_order_and_a_repeated_one_once(store):
    for id in ("b", "a", "b"):
        store.add_run(id, "system", f"{{{id}}}")
    assert [run[0] for run in store.runs()] == ["b", "a"] and store.run("a") == "{a}" and store.run("z") is None


@pytest.mark.parametrize("statement", ["UPDATE cells SET part = x'00'", "DELETE FROM cells", "UPDATE runs SET name = 'x'", "DELETE FROM runs"])
def test_evidence_is_append_only(store, tmp_path, statement):
    store.put("k", b"one", "d", "label")
    store.add_run("a", "n", "{}")
    with sqlite3.connect(tmp_path / "deep" / "evidence.db") as link, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        link.execute(statement)
    assert store.get("k") == b"one"


def test_another_process_finds_what_is_there(store, tmp_path):
    store.put("k", b"one", "d", "label")
    assert Store(tmp_path / "deep" / "evidence.db").get("k") == b"one"


def bad_places(tmp_path):
    (tmp_path / "file").write_text("x" * 4096)
    (tmp_path / "folder").mkdir()
    return [tmp_path / "file" / "in.db", tmp_path / "folder", tmp_path / "file", "nosuch://host/db", "postgresql+nosuchdriver://h/db"]


@pytest.mark.parametrize("place", range(5))
def test_a_place_that_cannot_be_opened_is_one_usage_error_regression(tmp_path, place):
    with pytest.raises(UsageError, match="give --store another place") as found:
        Store(bad_places(tmp_path)[place])
    assert "\n" not in str(found.value).strip()


def test_a_password_is_never_shown_regression():
    with pytest.raises(UsageError) as found:
        Store("postgresql+nosuchdriver://me:secret@host/db")
    assert "secret" not in str(found.value)


def test_a_file_name_may_hold_anything_regression(tmp_path):
    place = tmp_path / "what?#now%41.db"
    Store(place).put("k", b"1", "d", "l")
    assert place.exists() and Store(place).get("k") == b"1"


def test_a_full_disk_is_a_run_error_and_keeps_what_was_stored(store):
    store.put("k", b"one", "d", "label")
    event.listen(store._engine, "connect", lambda link, _: link.execute("PRAGMA max_page_count=12"))
    store.close()
    with pytest.raises(RunError, match="full"):
        store.put("big", b"x" * 10**6, "d", "label")
    assert store.get("k") == b"one" and store.get("big") is None
