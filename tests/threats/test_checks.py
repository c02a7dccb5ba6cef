"""Static checks read what a description names, settle facts, contradict it loudly, and never pass in silence."""

from __future__ import annotations

import hashlib
import json
import os
import random
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from casemate.core.errors import UnknownName
from casemate.core.fact import NO, UNKNOWN, YES
from casemate.core.system import System
from casemate.threats import checks
from casemate.threats.checks import secrets, within
from casemate.threats.checks.outcome import Measured
from casemate.threats.derive import derive
from casemate.threats.load import load
from casemate.threats.rules import catalogue

H = "0" * 64


def system(folder: Path, **component: Any) -> System:
    """A description in a file of that folder, with one component."""
    whole = {"casemate": 1, "system": {"name": "x"}, "components": [{"id": "c", "kind": "notebook", **component}]}
    path = folder / "system.yaml"
    path.write_text(json.dumps(whole))
    return load(path)


def shown(folder: Path, name: str, text: str, **stated: Any) -> checks.Checked:
    """What the dependency check says of a lock file."""
    (folder / name).write_text(text)
    return checks.run(system(folder, dependencies={"path": name, **stated}), ["dependencies.lock"])


def facts(done: checks.Checked) -> dict[str, Any]:
    return {fact.path: fact.value for fact in done.facts}


def test_every_check_that_a_rule_names_exists() -> None:
    named = {check for rule in catalogue() for check in rule.checks}
    assert named == set(checks.CHECKS)


def test_an_unknown_check_is_an_error() -> None:
    with pytest.raises(UnknownName, match=r"did you mean 'secrets\.literal'"):
        checks.run(System(), ["secrets.litteral"])


def test_a_system_without_files_is_left_alone(tmp_path: Path) -> None:
    before = system(tmp_path)
    done = checks.run(before)
    assert done == checks.Checked(system=before)


# Digests -------------------------------------------------------------------------------------------------------------


def test_the_digest_of_an_artifact(tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of "abc", FIPS 180
    for digest in (known, f"sha256:{known}", f"SHA256:{known.upper()}"):
        done = checks.run(system(tmp_path, artifact={"path": "m.bin", "digest": digest}))
        assert not done.conflicts and not done.findings and not done.problems
        assert done.system.fact("c.artifact.digest").source == "measured"


def test_another_file_is_a_loud_conflict(tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(b"abc")
    for record in ("artifact", "dataset"):
        done = checks.run(system(tmp_path, **{record: {"path": "m.bin", "digest": H}}))
        (conflict,) = done.conflicts
        assert f"c.{record}.digest" in conflict and H in conflict and "ba7816bf" in conflict and f"digest.{record}" in conflict
        assert done.system.fact(f"c.{record}.digest").value == "sha256:" + hashlib.sha256(b"abc").hexdigest()


def test_a_missing_digest_is_suggested_not_assumed(tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(b"abc")
    done = checks.run(system(tmp_path, artifact={"path": "m.bin"}))
    (finding,) = done.findings
    assert "ba7816bf" in finding.text and finding.file == "m.bin"
    assert done.system.fact("c.artifact.digest").value is UNKNOWN


def test_a_digest_of_another_kind_is_not_compared(tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(b"abc")
    done = checks.run(system(tmp_path, artifact={"path": "m.bin", "digest": "md5:900150983cd24fb0d6963f7d28e17f72"}))
    (problem,) = done.problems
    assert "SHA-256" in problem.message and problem.key == "c.artifact.digest" and problem.line > 0
    assert not done.conflicts and not done.facts


# What is not read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "name"), [("artifact", "path"), ("dataset", "path"), ("dependencies", "path"), ("workspace", "path")]
)
@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("../secret.bin", "outside the folder"),
        ("/etc/hostname", "outside the folder"),
        ("inside/../../secret.bin", "outside the folder"),
        ("link.bin", "symbolic link"),
        ("linked/secret.bin", "symbolic link"),
        ("absent.bin", "no file or folder"),
    ],
)
def test_what_is_outside_is_refused(tmp_path: Path, record: str, name: str, path: str, told: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "secret.bin").write_bytes(b"outside")
    (home / "link.bin").symlink_to(tmp_path / "secret.bin")
    (home / "linked").symlink_to(tmp_path)
    done = checks.run(system(home, **{record: {name: path}}))
    assert not done.facts and not done.findings
    assert done.problems and all(told in problem.message for problem in done.problems)
    assert hashlib.sha256(b"outside").hexdigest() not in str(done)


def test_links_below_a_folder_are_not_followed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "work").mkdir(parents=True)
    (tmp_path / "keys.env").write_text("AWS=AKIAABCDEFGHIJKLMNOP\n")
    (home / "work" / "keys.env").symlink_to(tmp_path / "keys.env")
    done = checks.run(system(home, workspace={"path": "work"}), ["secrets.literal"])
    assert not done.findings and not done.facts
    assert "no file at work of a kind that is searched" in done.problems[0].message


def test_a_pipe_does_not_hang_and_a_folder_has_no_digest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.env")
    (tmp_path / "saved").mkdir()
    done = checks.run(
        system(tmp_path, artifact={"path": "saved"}, workspace={"path": "pipe.env"}), ["digest.artifact", "secrets.literal"]
    )
    assert ["folder" in done.problems[0].message, "not a regular file" in done.problems[1].message] == [True, True]


def test_too_large_a_file_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(within, "MAX_TEXT", 10)
    monkeypatch.setattr(within, "MAX_HASHED", 10)
    (tmp_path / "a.env").write_text("x" * 11)
    done = checks.run(system(tmp_path, workspace={"path": "a.env"}, artifact={"path": "a.env"}))
    assert len([p for p in done.problems if "larger than 10 bytes" in p.message]) == 2
    assert not done.facts


def test_a_system_built_in_code_has_no_folder(tmp_path: Path) -> None:
    from dataclasses import replace

    before = replace(system(tmp_path, artifact={"path": "m.bin"}), folder="")
    (problem,) = checks.run(before).problems
    assert "lies in no folder" in problem.message


# Lock files ----------------------------------------------------------------------------------------------------------


PINNED = f"a==1.0 --hash=sha256:{H}\nb[x]==2 ; python_version < '3' \\\n    --hash=sha256:{H}  # why\n"


@pytest.mark.parametrize(
    ("text", "pinned", "hashed", "line"),
    [
        (PINNED, YES, YES, 0),
        (f"# c\n\n{PINNED}c>=1 --hash=sha256:{H}\n", NO, YES, 6),
        ("a==1.0\n", YES, NO, 1),
        ("a\n", NO, NO, 1),
        ("a==1.*\n", NO, NO, 1),
        ("a>=1; python_version == '3.8'\n", NO, NO, 1),
        ("a==1.0 --hash=md5:900150983cd24fb0d6963f7d28e17f72\n", YES, NO, 1),
        (f"a @ https://example.org/a.whl#sha256={H}\n", YES, YES, 0),
        ("a @ https://example.org/a.whl\n", NO, NO, 1),
        (f"a @ git+https://example.org/a@{'a' * 40}\n", YES, YES, 0),
        ("-e git+https://example.org/a@main#egg=a\n", NO, NO, 1),
        (f"--index-url https://example.org\n-e .\n./own\n{PINNED}", YES, YES, 0),
        (f"{PINNED}-c constraints.txt\n", YES, YES, 0),
    ],
)
def test_requirements(tmp_path: Path, text: str, pinned: Any, hashed: Any, line: int) -> None:
    done = shown(tmp_path, "requirements.txt", text)
    assert facts(done) == {"c.dependencies.pinned": pinned, "c.dependencies.hashed": hashed}
    loose = [fact for fact in done.facts if fact.value is NO]
    assert not line or {(fact.file, fact.line) for fact in loose} == {("requirements.txt", line)}


def test_included_requirements_count_and_stay_inside(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "more.txt").write_text("b>1\n")
    done = shown(tmp_path, "requirements.txt", f"-r sub/more.txt\n{PINNED}")
    assert facts(done)["c.dependencies.pinned"] is NO
    assert done.facts[0].file == os.path.join("sub", "more.txt")
    for text, told in (
        ("-r ../../x.txt\n", "outside"),
        ("-r requirements.txt\n", "again and again"),
        ("-r /etc/passwd\n", "outside"),
    ):
        done = shown(tmp_path, "requirements.txt", text)
        assert not done.facts and told in done.problems[0].message


POETRY = f"""[[package]]
name = "a"
version = "1.0"
files = [{{file = "a.whl", hash = "sha256:{H}"}}]

[[package]]
name = "b"
version = "2"
"""
UV = f"""version = 1
[[package]]
name = "mine"
source = {{ editable = "." }}
[[package]]
name = "a"
version = "1.0"
source = {{ registry = "https://example.org/simple" }}
sdist = {{ url = "https://example.org/a.tar.gz", hash = "sha256:{H}" }}
wheels = [{{ url = "https://example.org/a.whl", hash = "sha256:{H}" }}]
"""
PYLOCK = f"""lock-version = "1.0"
[[packages]]
name = "a"
version = "1.0"
wheels = [{{ name = "a.whl", hashes = {{ sha256 = "{H}" }} }}]
[[packages]]
name = "g"
vcs = {{ type = "git", url = "https://example.org/g", commit-id = "{"a" * 40}" }}
"""
PIPFILE = {"default": {"a": {"version": "==1.0", "hashes": [f"sha256:{H}"]}, "own": {"path": "."}}, "develop": {}}


@pytest.mark.parametrize(
    ("name", "text", "pinned", "hashed"),
    [
        ("poetry.lock", POETRY, YES, NO),
        ("poetry.lock", POETRY.replace('version = "2"\n', f'version = "2"\nfiles = [{{hash = "sha256:{H}"}}]\n'), YES, YES),
        ("poetry.lock", POETRY + f'\n[metadata.files]\nb = [{{file = "b.whl", hash = "sha256:{H}"}}]\n', YES, YES),
        ("uv.lock", UV, YES, YES),
        ("uv.lock", UV.replace(f', hash = "sha256:{H}" }}]', " }]"), YES, NO),
        ("uv.lock", UV.replace('version = "1.0"\n', ""), NO, YES),
        ("pylock.toml", PYLOCK, YES, YES),
        ("pylock.train.toml", PYLOCK.replace("sha256 =", "md5 ="), YES, NO),
        ("Pipfile.lock", json.dumps(PIPFILE), YES, YES),
        ("Pipfile.lock", json.dumps(PIPFILE).replace("==1.0", "*"), NO, YES),
        ("Pipfile.lock", json.dumps(PIPFILE).replace("sha256:", "md5:"), YES, NO),
    ],
)
def test_lock_files(tmp_path: Path, name: str, text: str, pinned: Any, hashed: Any) -> None:
    done = shown(tmp_path, name, text)
    assert not done.problems
    assert facts(done) == {"c.dependencies.pinned": pinned, "c.dependencies.hashed": hashed}


def test_the_package_without_a_hash_is_located(tmp_path: Path) -> None:
    (fact,) = [f for f in shown(tmp_path, "poetry.lock", POETRY).facts if f.value is NO]
    assert (fact.line, "b has no hash" in fact.because) == (7, True)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("requirements.txt", "# nothing\n", "names no package"),
        ("requirements.txt", "-e .\n", "names no package"),
        ("poetry.lock", "[[package]\n", "cannot be parsed"),
        ("poetry.lock", "package = 3\n", "names no package"),
        ("uv.lock", "a = " + "[" * 5000, "cannot be parsed"),
        ("Pipfile.lock", "[]", "holds no table"),
        ("Pipfile.lock", "[" * 100_000, "cannot be parsed"),
        ("Pipfile.lock", '{"default": {"a": 3}, "develop": []}', ""),
        ("yarn.lock", "x", "no lock file that is known"),
    ],
)
def test_a_lock_file_that_says_nothing_is_a_problem(tmp_path: Path, name: str, text: str, told: str) -> None:
    done = shown(tmp_path, name, text)
    assert (told in done.problems[0].message and not done.facts) if told else facts(done)["c.dependencies.pinned"] is NO


def test_a_folder_means_its_lock_file(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("a\n")
    (tmp_path / "uv.lock").write_text(UV)
    done = checks.run(system(tmp_path, dependencies={"path": "."}), ["dependencies.lock"])
    assert facts(done)["c.dependencies.pinned"] is YES


def test_a_measured_fact_wins_over_the_description(tmp_path: Path) -> None:
    done = shown(tmp_path, "requirements.txt", "\na>=1\n", pinned=True, hashed=False)
    (conflict,) = done.conflicts
    assert conflict.startswith("c.dependencies.pinned: the description says yes, requirements.txt:2 shows no: a is not pinned")
    assert (done.system.fact("c.dependencies.pinned").value, done.system.fact("c.dependencies.pinned").source) == (NO, "measured")


# Secrets -------------------------------------------------------------------------------------------------------------


rng = random.Random(7)
MADE = "".join(rng.choices(string.ascii_letters + string.digits, k=40))
SECRETS = [
    ("-----BEGIN OPENSSH PRIVATE " + "KEY-----", "a private key"),
    ("id = AKIA" + "ABCDEFGHIJKLMNOP", "an AWS access key id"),
    (f"x ghp_{MADE[:36]}", "a GitHub token"),
    (f"glpat-{MADE[:20]}", "a GitLab token"),
    ("xoxb-" + "1234567890-abcdef", "a Slack token"),
    (f"https://hooks.slack.com/services/T12345678/B12345678/{MADE[:24]}", "a Slack webhook"),
    (f"AIza{MADE[:35]}", "a Google API key"),
    (f"sk_live_{MADE[:24]}", "a Stripe key"),
    (f"hf_{MADE[:34]}", "a Hugging Face token"),
    (f"sk-{MADE}", "a secret API key (sk-)"),
    (f"npm_{MADE[:36]}", "an npm token"),
    (f"AccountKey={MADE}{MADE}==", "a storage account key"),
    (f"eyJ{MADE[:20]}.eyJ{MADE[:20]}.{MADE[:20]}", "a signed web token"),
    ("postgres://train:Tr4in-ing7@db.example/records", "a password in an address"),
    (f"DB_PASSWORD={MADE[:16]}", "a password or key by its name"),
    (f'"client_secret": "{MADE}"', "a password or key by its name"),
    (f"api-key: {MADE}", "a password or key by its name"),
]
HARMLESS = [
    "password = os.environ['DB_PASSWORD']",
    "password: ${DB_PASSWORD}",
    "token: <your token here>",
    "API_KEY=changeme12345678",
    "secretName: model-store-credentials-v2",
    "secret: ModelStoreCredentialOfTheBank",
    "tokenizer: bert-base-v2-en-2024-x1",
    "token_count: 1234567890ab12",
    "password_hash: 5f4dcc3b5aa765d61d83",
    "secret: aaaaaaaaaaaaaaaa1111",
    "postgres://train:${PASSWORD}@db.example/records",
    "postgres://user:password@host/db",
    "key = value, and nothing else",
    "sha256:" + H,
    "",
]


@pytest.mark.parametrize(("line", "kind"), SECRETS)
def test_a_secret_is_found_by_its_shape_and_never_repeated(tmp_path: Path, line: str, kind: str) -> None:
    (tmp_path / "a.env").write_text(f"# one\nA=1\n{line}\n")
    done = checks.run(system(tmp_path, workspace={"path": "a.env", "secrets_in_plain": False}), ["secrets.literal"])
    assert [(f.file, f.line, f.text) for f in done.findings] == [("a.env", 3, f"holds {kind}")]
    assert done.system.fact("c.workspace.secrets_in_plain").value is YES
    assert len(done.conflicts) == 1 and "a.env:3" in done.conflicts[0]
    for secret in (line, MADE[:16], "Tr4in-ing7", "ABCDEFGHIJKLMNOP", "1234567890-abcdef"):
        assert secret not in str(done)


@pytest.mark.parametrize("line", HARMLESS)
def test_what_only_looks_like_one_is_not(line: str) -> None:
    assert list(secrets.kinds(line)) == []


def test_in_code_a_name_is_not_a_value() -> None:
    assert not list(secrets.kinds(f"password = {MADE}", ".py"))
    assert list(secrets.kinds(f"password = '{MADE}'", ".py")) == [(1, "a password or key by its name")]


def test_a_secret_in_a_notebook(tmp_path: Path) -> None:
    cell = {"cell_type": "code", "outputs": [], "source": ["import os\n", f'API_KEY = "{MADE}"\n']}
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "a.ipynb").write_text(json.dumps({"nbformat": 4, "cells": [cell]}, indent=1))
    (tmp_path / "work" / "b.yaml").write_text("a: 1\n")
    done = checks.run(system(tmp_path, workspace={"path": "work"}), ["secrets.literal"])
    (finding,) = done.findings
    line = (tmp_path / "work" / "a.ipynb").read_text().splitlines()[finding.line - 1]
    assert "API_KEY" in line and MADE not in str(done)


def test_nothing_found_answers_but_does_not_contradict(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("A=1\n")
    done = checks.run(system(tmp_path, workspace={"path": "a.env"}), ["secrets.literal"])
    assert facts(done) == {"c.workspace.secrets_in_plain": NO}
    done = checks.run(system(tmp_path, workspace={"path": "a.env", "secrets_in_plain": True}), ["secrets.literal"])
    assert not done.facts and not done.conflicts
    assert done.system.fact("c.workspace.secrets_in_plain").value is YES


def test_one_unreadable_file_leaves_the_question_open(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "a.yaml").write_text("a: 1\n")
    (tmp_path / "work" / "b.yaml").write_bytes(b"\xff\xfe")
    done = checks.run(system(tmp_path, workspace={"path": "work"}), ["secrets.literal"])
    assert not done.facts and "not UTF-8" in done.problems[0].message


def test_a_long_line_is_searched_in_time() -> None:
    line = "password" * 50_000 + "token=" * 50_000 + "eyJ" * 50_000 + "a://b:" * 50_000
    list(secrets.kinds(line))


# Notebooks -----------------------------------------------------------------------------------------------------------


def notebook(*outputs: Any) -> str:
    return json.dumps({"nbformat": 4, "cells": [{"cell_type": "code", "source": [], "outputs": o} for o in outputs]})


@pytest.mark.parametrize(
    ("text", "kept", "told"),
    [
        (notebook([], []), NO, ""),
        (notebook([], [{"output_type": "stream", "text": ["a record\n"]}]), YES, "cell 2"),
        (json.dumps({"worksheets": [{"cells": [{"outputs": [1]}]}, {"cells": 3}, 4]}), YES, "cell 1"),
        (json.dumps({"cells": 3}), None, "no list of cells"),
        ("[]", None, "no list of cells"),
        ("{", None, "no JSON"),
        ("[" * 100_000, None, "no JSON"),
    ],
)
def test_notebook_outputs(tmp_path: Path, text: str, kept: Any, told: str) -> None:
    (tmp_path / "a.ipynb").write_text(text)
    done = checks.run(system(tmp_path, workspace={"path": "a.ipynb"}), ["notebook.outputs"])
    assert facts(done) == ({} if kept is None else {"c.workspace.outputs_kept": kept})
    assert told in str(done.facts if kept is not None else done.problems)
    assert "a record" not in str(done)


def test_a_notebook_component_without_a_notebook_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("A=1\n")
    done = checks.run(system(tmp_path, workspace={"path": "a.env"}), ["notebook.outputs"])
    assert "no .ipynb" in done.problems[0].message
    done = checks.run(system(tmp_path, kind="ci", workspace={"path": "a.env"}), ["notebook.outputs"])
    assert done.problems == () and done.facts == ()


# Together ------------------------------------------------------------------------------------------------------------


def test_what_a_check_settles_is_no_question_any_more(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("a\n")
    before = system(tmp_path, kind="dependency_set", dependencies={"path": "requirements.txt"})
    assert "c.dependencies.pinned" in [q.path for q in derive(before).questions]
    after = derive(checks.run(before).system)
    assert "SY-03@c" in [t.id for t in after.threats]
    assert "c.dependencies.pinned" not in [q.path for q in after.questions]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)),
    name=st.sampled_from(["requirements.txt", "poetry.lock", "uv.lock", "Pipfile.lock", "pylock.toml", "a.ipynb", "a.env"]),
)
def test_no_content_breaks_a_check(tmp_path: Path, data: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(data)
    records = {record: {"path": name} for record in ("artifact", "dataset", "dependencies", "workspace")}
    done = checks.run(system(tmp_path, **records))
    assert all(isinstance(fact, Measured) for fact in done.facts)
    answered = {fact.check for fact in done.facts} | {p.suggestion.rpartition(" ")[2] for p in done.problems}
    assert answered | {f.check for f in done.findings} == set(checks.CHECKS)


def test_hostile_names_are_printed_harmlessly(tmp_path: Path) -> None:
    name = "a[2J\u202e.env"  # a control character in it is refused when the description is read
    (tmp_path / name).write_text(f"password={MADE}\n")
    done = checks.run(system(tmp_path, workspace={"path": name}), ["secrets.literal"])
    assert done.findings and all(c.isprintable() for c in done.findings[0].file)
