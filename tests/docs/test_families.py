"""The pages on the families: what they print runs on small real data, and what they name exists."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits

import casemate as cm
from casemate.core.attack import attacks
from casemate.core.control import controls
from casemate.trainers import MLP

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "families").glob("*.md"))
NAMES = [page.stem for page in PAGES]
EPOCHS = 10


@cache
def digits():
    """Images ``(n, 8, 8)`` in [0, 1] and their digits, in a fixed random order."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    return (data.images[order] / 16).astype(np.float32), data.target[order].astype(np.int64)


@cache
def tumours():
    """Measurements ``(n, 30)``, each column scaled to [0, 1], and 1 for benign, in a fixed random order."""
    data = load_breast_cancer()
    order = np.random.default_rng(0).permutation(len(data.target))
    x = (data.data - data.data.min(0)) / np.ptp(data.data, axis=0)
    return x[order].astype(np.float32), data.target[order].astype(np.int64)


def network(x, y, seed, epochs=EPOCHS):
    """A small network, trained in full steps."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        width, classes = int(np.prod(x.shape[1:])), int(max(y)) + 1
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(width, 32), torch.nn.ReLU(), torch.nn.Linear(32, classes))
    inputs, labels = torch.as_tensor(x), torch.as_tensor(y)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(epochs):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(inputs), labels).backward()
        optimiser.step()
    return cm.wrap(net.eval())


def around(model):
    """A service that lets everybody in when its model says nothing."""
    def decide(x):
        try:
            return np.asarray(model.respond(x).label)
        except Exception:  # whatever the model does
            return np.ones(len(x), np.int64)

    return decide


def availability():
    x, y = tumours()
    model = network(x, y, 0, epochs=60)
    decided = model.respond(x).label.numpy()
    out = decided == 0
    return {"model": model, "refused": x[out], "truth": y[out], "decided": decided[out], "around": around}


def extraction():
    x, y = tumours()
    return {"model": network(x[:300], y[:300], 0, epochs=60), "my_inputs": x[300:400], "fresh_x": x[400:], "fresh_y": y[400:]}


def poisoning():
    x, y = digits()
    recipe = cm.Recipe(lambda x, y, seed: network(x, y, seed, epochs=80), x[:600], y[:600])
    return {"recipe": recipe, "x": x[600:900], "y": y[600:900]}


def privacy():
    x, y = digits()
    x = x[:400].reshape(400, -1)
    rng = np.random.default_rng(0)
    y = np.where(rng.random(400) < 0.3, rng.integers(0, 10, 400), y[:400])  # wrong labels have to be learned by heart
    recipe = cm.Recipe(lambda x, y, seed: network(x, y, seed, epochs=200), x[:200], y[:200], stack=MLP(hidden=(32,), epochs=60))
    model = recipe.fit(recipe.x, recipe.y, 0)
    return {"model": model, "recipe": recipe, "candidates": x, "labels": y, "was_in_training": np.arange(400) < 200}


GIVEN = {"availability": availability, "extraction": extraction, "poisoning": poisoning, "privacy": privacy}


def shown(name: str) -> tuple[str, list[str]]:
    """The page, and its blocks of Python."""
    text = (ROOT / "docs" / "families" / f"{name}.md").read_text(encoding="utf-8")
    return text, re.findall(r"```python\n(.*?)```", text, re.S)


@pytest.mark.parametrize("name", NAMES)
def test_every_block_of_code_runs_as_printed_and_finds_what_is_there(name, monkeypatch):
    _, blocks = shown(name)
    seen: list[cm.Evidence] = []
    run = cm.run
    monkeypatch.setattr(cm, "run", lambda *args, **more: seen.append(run(*args, **more)) or seen[-1])
    space = {**GIVEN[name](), "__name__": "page"}
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"{name}.md, block {number}", "exec"), space)
    assert len(seen) == len(blocks) > 0
    assert all(evidence.broken for evidence in seen), seen


@pytest.mark.parametrize("name", NAMES)
def test_what_a_page_names_exists(name):
    text, _ = shown(name)
    table = re.search(r"^\| attack \|.*?\n\n", text, re.M | re.S)
    assert table is not None
    first = [line.split("|")[1] for line in table[0].splitlines()[2:] if line]
    ids = [id if "." in id else f"{name}.{id}" for cell in first for id in re.findall(r"`([\w.]+)`", cell)]
    assert len(ids) >= 7 and set(ids) <= set(attacks), set(ids) - set(attacks)
    spoken = {id for id in re.findall(r"`(\w+\.\w+)`", text) if id.split(".")[0] in ("training", "service", "inference")}
    assert spoken <= set(controls), spoken - set(controls)
    for path in re.findall(r"(?:examples|benchmarks)/[\w/.]*\w", text):
        assert (ROOT / path).exists(), path
    assert all((ROOT / "docs" / "families" / link).resolve().is_file() for link in re.findall(r"\]\(([^)#:]+)", text))
    lines = [line for line in text.splitlines() if not line.startswith("|")]
    assert len(lines) <= 90 and max(map(len, lines)) <= 130


@pytest.mark.parametrize("name", NAMES)
def test_every_command_of_a_page_is_one(name):
    from click.testing import CliRunner

    from casemate.app.main import cli

    text, _ = shown(name)
    lines = [line for block in re.findall(r"```console\n(.*?)```", text, re.S) for line in block.splitlines()]
    assert lines
    for line in lines:
        program, *words = line.split()
        files = [word for word in words if word.endswith(".yaml")]
        assert program == "casemate" and files and all((ROOT / file).is_file() for file in files)
        helped = CliRunner().invoke(cli, [words[0], "--help"])
        assert helped.exit_code == 0 and all(word in helped.output for word in words if word.startswith("--"))
