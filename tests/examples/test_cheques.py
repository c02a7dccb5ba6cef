"""The cheques example: the data, the training, the threshold, and that the system can be broken but not for free."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "cheques"))
cheques = importlib.import_module("cheques")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # on a shared machine a second thread costs time instead of saving it
    yield
    torch.set_num_threads(before)


def _accuracy(model: torch.nn.Module) -> float:
    part = cheques.load().holdout
    with torch.no_grad():
        return float((cheques.logits(model, part.x).argmax(1) == part.y).float().mean())


def test_the_parts_are_fixed_in_size_and_share_no_image() -> None:
    splits = cheques.load()
    parts = (splits.parent, splits.train, splits.calibration, splits.holdout)
    assert [len(part.x) for part in parts] == [1750, 1750, 500, 1000]
    assert len({image.numpy().tobytes() for part in parts for image in part.x}) == 5000
    assert splits.train.x.shape[1:] == (1, 32, 32)
    assert 0 <= float(splits.train.x.min()) <= float(splits.train.x.max()) <= 1


def test_the_deployed_model_and_its_parent_read_well() -> None:
    assert _accuracy(cheques.deployed()) >= 0.97
    assert _accuracy(cheques.parent()) >= 0.95


def test_the_deployed_model_keeps_the_convolutions_of_its_parent() -> None:
    parent, own = cheques.parent().state_dict(), cheques.deployed().state_dict()
    assert all(torch.equal(parent[name], own[name]) for name in own if name.startswith("features"))
    assert not any(torch.equal(parent[name], own[name]) for name in own if name.startswith("head"))


def test_few_clean_digits_go_to_a_human() -> None:
    part = cheques.load().holdout
    answers = cheques.read(cheques.deployed(), part.x)
    assert 0.02 <= float((answers == cheques.REJECT).float().mean()) <= 0.035
    assert float((answers == part.y).float().mean()) >= 0.95
    assert abs(cheques.calibrate(cheques.deployed(), cheques.load().calibration.x) - cheques.THRESHOLD) < 0.1


def test_training_is_deterministic_and_leaves_the_start_alone() -> None:
    part = cheques.load().train
    start = cheques.Reader()
    before = {name: value.clone() for name, value in start.state_dict().items()}
    first, again = (cheques.train(part.x[:128], part.y[:128], 7, start).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(torch.equal(before[name], value) for name, value in start.state_dict().items())


def test_a_second_process_reads_the_same_weights_from_the_cache() -> None:
    kept = cheques.deployed()
    cheques.deployed.cache_clear()
    read = cheques.deployed()
    assert read is not kept
    assert all(torch.equal(kept.state_dict()[name], value) for name, value in read.state_dict().items())


def test_the_whole_pipeline_is_differentiable_and_breaks_in_part_at_a_tenth() -> None:
    part, model, radius = cheques.load().holdout, cheques.deployed(), 0.1
    right = cheques.read(model, part.x) == part.y
    x, y = part.x[right][:100], part.y[right][:100]
    at = x.clone()
    for _ in range(20):
        at.requires_grad_(True)
        (slope,) = torch.autograd.grad(functional.cross_entropy(cheques.logits(model, at), y, reduction="sum"), at)
        at = (at.detach() + 0.02 * slope.sign()).clamp(x - radius, x + radius).clamp(0, 1)
    answers = cheques.read(model, at)
    broken = float(((answers != y) & (answers != cheques.REJECT)).float().mean())
    assert 0.1 < broken < 0.8
