"""Customer segments of a pharmacy's loyalty programme, on made-up customers: which of 100 products somebody bought, and why.

Every customer is invented from a seed. Each of 20 segments has a typical basket, three in ten of its products are turned over
for each customer, and one customer in ten was put into a wrong segment by hand. A network large enough learns these by heart.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

SEGMENTS, PRODUCTS = 20, 100
TURNED, MISTAKEN = 0.3, 0.1  # products that differ from the typical basket; customers in a wrong segment
MEMBERS, OTHERS = 2000, 1500
HIDDEN, EPOCHS, BATCH, RATE, MOMENTUM = 64, 40, 32, 0.05, 0.9


def customers(n: int, seed: int = 0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Baskets ``(n, 100)`` of 0 and 1, and segments ``(n,)``. Typical baskets are the same for every seed."""
    typical = np.random.default_rng(2026).integers(0, 2, (SEGMENTS, PRODUCTS))
    rng = np.random.default_rng(seed)
    segment = rng.integers(0, SEGMENTS, n)
    turned = rng.random((n, PRODUCTS)) < TURNED
    basket = np.where(turned, 1 - typical[segment], typical[segment]).astype(np.float32)
    mistaken = rng.random(n) < MISTAKEN
    return basket, np.where(mistaken, rng.integers(0, SEGMENTS, n), segment)


def split(seed: int = 0) -> tuple[Any, Any, Any, Any]:
    """Members of the programme and customers who are none: x, x, y, y."""
    x, y = customers(MEMBERS + OTHERS, seed)
    return x[:MEMBERS], x[MEMBERS:], y[:MEMBERS], y[MEMBERS:]


def fit(x: Any, y: Any, seed: int = 0, epochs: int = EPOCHS) -> nn.Module:
    """Train until nothing is left to learn, as the agency that was paid for accuracy on the members did."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(PRODUCTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, SEGMENTS))
    order = np.random.default_rng(seed)
    inputs, labels = torch.as_tensor(x), torch.as_tensor(np.asarray(y, np.int64))
    optimiser, loss = torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM), nn.CrossEntropyLoss()
    for _ in range(epochs):
        for rows in torch.as_tensor(order.permutation(len(y))).split(BATCH):
            optimiser.zero_grad()
            loss(net(inputs[rows]), labels[rows]).backward()
            optimiser.step()
    return net.eval()
