"""Ways to train a toy, with and without the hook that hardening needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ..core.target import Recipe, Target
from ..targets.wrap import wrap
from ..trainers import MLP, Softmax


def plain_fit(x: Any, y: Any, seed: int) -> Target:
    """A few full-batch steps of a linear model."""
    return with_hook(x, y, seed)


def with_hook(x: Any, y: Any, seed: int, perturb: Callable[..., Any] | None = None) -> Target:
    """The same, letting `perturb` change each batch."""
    generator = torch.Generator().manual_seed(seed)
    net = nn.Linear(x.shape[1], 2)
    with torch.no_grad():
        net.weight.copy_(0.1 * torch.randn(net.weight.shape, generator=generator))
        net.bias.zero_()
    inputs, labels = torch.as_tensor(x), torch.as_tensor(y)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.5)
    for _ in range(5):
        seen = inputs if perturb is None else perturb(net, inputs, labels)
        optimiser.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(net(seen), labels))
        optimiser.step()
    return wrap(net.eval(), name="toy")


def offered(control: Any, recipe: Recipe) -> Recipe:
    """The recipe with what a training control says it must offer, where it says so (`fits`): a stack of one kind or another."""
    fits = getattr(control, "fits", lambda _: "")
    stacks = (None, MLP(hidden=(8,), epochs=5), Softmax())
    return next((made for stack in stacks if not fits(made := replace(recipe, stack=stack))), recipe)
