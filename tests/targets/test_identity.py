"""What a torch module is besides its weights is part of its identity."""

import threading

import pytest
import torch
from torch import nn

from casemate.targets.torch_module import TorchModule


class Temp(nn.Module):
    def __init__(self, t):
        super().__init__()
        self.t = t

    def forward(self, x):
        return x * self.t


def mark(module):
    return TorchModule(module=module.eval()).fingerprint()


@pytest.mark.parametrize(("one", "other"), [(1.0, -1.0), ([1, 2], [1, 3]), ({"a": 1}, {"a": 2}), (torch.ones(2), torch.zeros(2)), (torch.relu, torch.tanh)], ids=range(5))
def test_a_changed_attribute_is_another_model_regression(one, other):
    assert mark(Temp(one)) == mark(Temp(one)) != mark(Temp(other))
    inside = [nn.Sequential(nn.Linear(2, 2), Temp(v)) for v in (one, other)]
    inside[1][0].load_state_dict(inside[0][0].state_dict())
    assert mark(inside[0]) != mark(inside[1])
    assert TorchModule(module=inside[0].eval()).state() != TorchModule(module=inside[1].eval()).state()


def test_an_attribute_that_hides_its_state_leaves_no_identity():
    target = TorchModule(module=Temp(threading.Lock()).eval())
    assert target.fingerprint() is None and target.state() == target.state()


@pytest.mark.parametrize("make", [
    lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding="same"), nn.BatchNorm2d(2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    lambda: nn.LSTM(3, 4, num_layers=2), lambda: nn.TransformerEncoderLayer(4, 2), lambda: nn.MultiheadAttention(4, 2), lambda: nn.GRUCell(2, 3),
    lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), lambda: nn.ModuleDict({"a": nn.Embedding(3, 2), "b": nn.LayerNorm(2)}),
], ids=range(7))  # fmt: skip
def test_ordinary_modules_keep_theirs(make):
    def built():
        torch.manual_seed(0)
        return make()

    assert mark(built()) == mark(built()) is not None


def test_being_asked_and_watched_changes_nothing():
    target = TorchModule(module=nn.Sequential(nn.Linear(2, 3), Temp(2.0)).eval())
    before = target.fingerprint(), target.state()
    handle = target.module.register_forward_hook(lambda *args: None)
    target.forward(torch.zeros(4, 2))
    assert (target.fingerprint(), target.state()) == before
    handle.remove()
