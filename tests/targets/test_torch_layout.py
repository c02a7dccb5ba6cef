"""Images are handed to a network in the faster layout; the network and its answers stay what they are."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

import casemate as cm

torch.set_num_threads(1)


def net(last):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), last, nn.Linear(8 * 16, 4)).eval()


class ByView(nn.Module):
    """Flattens in a way that needs the plain layout."""

    def forward(self, x):
        return x.view(len(x), -1)


def entropy(logits, y):
    return functional.cross_entropy(logits, y, reduction="none")


def test_the_answers_are_the_same_and_the_module_is_untouched():
    model = net(nn.Flatten())
    x, y = torch.rand(6, 3, 8, 8), torch.zeros(6, dtype=torch.long)
    before = [p.stride() for p in model.parameters()]
    target = cm.wrap(model)
    assert target.model.channels_last
    torch.testing.assert_close(target.respond(x).logits, model(x).detach(), rtol=1e-5, atol=1e-6)
    slope = target.gradient(x, y, entropy).slope
    leaf = x.clone().requires_grad_(True)
    (plain,) = torch.autograd.grad(entropy(model(leaf), y).sum(), leaf)
    torch.testing.assert_close(slope, plain, rtol=1e-4, atol=1e-6)
    assert slope.is_contiguous()
    assert [p.stride() for p in model.parameters()] == before


def test_a_network_that_cannot_read_the_layout_is_asked_in_the_plain_one():
    model = net(ByView())
    x = torch.rand(5, 3, 8, 8)
    target = cm.wrap(model)
    torch.testing.assert_close(target.respond(x).logits, model(x).detach())
    assert not target.model.channels_last
    slope = target.gradient(x, torch.zeros(5, dtype=torch.long), entropy).slope
    assert slope.shape == x.shape


def test_other_inputs_and_precisions_are_left_alone():
    assert not cm.wrap(nn.Linear(3, 2).eval()).model.channels_last
    assert not cm.wrap(net(nn.Flatten()).double()).model.channels_last
