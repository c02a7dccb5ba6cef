"""Fake defences: a naive evaluation is fooled by most of them, and none of them comes out as `resisted` here."""

import importlib.util
from pathlib import Path

import pytest
import torch

import casemate as cm
from casemate.testing.fakes import fakes, naive

SPEC = importlib.util.spec_from_file_location("fake_defences", Path(__file__).parents[2] / "benchmarks" / "fake_defences.py")
bench = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(bench)
torch.set_num_threads(1)
# What must be seen of each besides its rows falling: the health lines of a cause that is written down.
FLAGS = {
    "gradient killer": {7, 17}, "saturated softmax": {6, 7}, "quantiser": {7}, "declared quantiser": set(), "random resize": {5},
    "declared resize": set(), "detector": set(), "noisy labels": {5},
}  # fmt: skip


@pytest.fixture(scope="module")
def made():
    net, detector, x, y = bench.digits()
    x, y = x[:24], y[:24]
    return {fake.name: fake for fake in fakes(net, detector)}, x, y


@pytest.mark.parametrize("name", FLAGS)
def test_a_fake_is_broken_and_what_is_wrong_is_said(made, name):
    every, x, y = made
    evidence = cm.run("suite.standard", every[name].target, cm.Evade(x, y, cm.Ball("linf", bench.RADIUS)))
    failed = {check.number for check in evidence.health if check.ok is False}
    assert evidence.verdict == "broken" and evidence.rate > 0.7 and failed >= FLAGS[name]


@pytest.mark.parametrize("name", ["gradient killer", "saturated softmax", "quantiser", "detector"])
def test_a_naive_evaluation_is_fooled(made, name):
    every, x, y = made
    assert naive(every[name], x, y, bench.RADIUS) > 0.9


@pytest.mark.parametrize("name", ["gradient killer", "saturated softmax", "quantiser"])
def test_an_attack_that_is_fooled_never_says_resisted(made, name):
    every, x, y = made
    evidence = cm.run(cm.attacks.PGD(), every[name].target, cm.Evade(x, y, cm.Ball("linf", bench.RADIUS)))
    assert evidence.rate == 0 and evidence.verdict == "inconclusive" and "slopes alive" in " ".join(evidence.reasons)


def test_the_page_tells_of_every_fake(made):
    page = bench.PAGE.read_text()
    assert all(f"| {name} |" in page for name in made[0]) and "resisted**" not in page
