"""A cheque-digit reader: a scanned grey image in, a digit or a request for a human out.

The deployed input is 32 x 32 grey in [0, 1], as the scanner delivers it. It is resized to 28 x 28, normalised, read
by a small CNN and thresholded. The CNN is fine-tuned from a parent that anybody can download.
"""

from __future__ import annotations

import copy
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

import mlxtend
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

CACHE = Path(__file__).with_name(".cache")
REJECT = -1
# Below this confidence a human reads the digit: 1.4 % of the calibration split, 2.7 % of the holdout.
THRESHOLD = 0.65
MEAN, DEVIATION = 0.13, 0.31
Perturb = Callable[[Callable[[Tensor], Tensor], Tensor, Tensor], Tensor]  # (net, images, digits) -> images
_RECIPE = "1"  # part of every cache key: raise it when the way of training changes


@dataclass(frozen=True)
class Part:
    """Images (n, 1, 32, 32) float32 in [0, 1] and their digits (n,) int64."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Splits:
    """Four parts that share no image."""

    parent: Part  # 1,750: what the public parent was trained on
    train: Part  # 1,750: what the bank fine-tunes on
    calibration: Part  # 500: where the threshold was picked
    holdout: Part  # 1,000


class Reader(nn.Module):
    """Normalised images (n, 1, 28, 28) to logits (n, 10). 105,866 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.head = nn.Sequential(nn.Linear(32 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.head(self.features(x))
        return logits


@cache
def load() -> Splits:
    """The 5,000 real digits in four fixed parts, each as the scanner would deliver it."""
    images, digits = _images()
    order = np.random.default_rng(20).permutation(len(images))
    small = torch.from_numpy(images[order].astype(np.float32) / 255).reshape(-1, 1, 28, 28)
    x = functional.interpolate(small, size=(32, 32), mode="bilinear", align_corners=False)
    x = (x * 255).round() / 255  # a scanner has 256 grey levels
    y = torch.from_numpy(digits[order].astype(np.int64))
    cuts = np.cumsum([1750, 1750, 500])
    parts = zip(torch.tensor_split(x, cuts.tolist()), torch.tensor_split(y, cuts.tolist()), strict=True)
    return Splits(*(Part(a.clone(), b.clone()) for a, b in parts))


def resize(x: Tensor) -> Tensor:
    """The first stage: 32 x 32 to the 28 x 28 of the model."""
    return functional.interpolate(x, size=(28, 28), mode="bilinear", align_corners=False)


def normalise(x: Tensor) -> Tensor:
    """The second stage: zero mean and unit deviation over the training images."""
    return (x - MEAN) / DEVIATION


def logits(model: nn.Module, x: Tensor) -> Tensor:
    """The differentiable part of the pipeline: scanner images to logits."""
    out: Tensor = model(normalise(resize(x)))
    return out


def threshold(scores: Tensor, least: float = THRESHOLD) -> Tensor:
    """The last stage: logits to digits, REJECT where the largest probability is below `least`."""
    confidence, digit = scores.softmax(1).max(1)
    return torch.where(confidence >= least, digit, REJECT)


@torch.no_grad()
def read(model: nn.Module, x: Tensor, least: float = THRESHOLD) -> Tensor:
    """What the deployed reader answers: a digit, or REJECT for a human."""
    return threshold(logits(model, x), least)


def pretrain(x: Tensor, y: Tensor, seed: int = 0) -> Reader:
    """Train a reader from nothing; this is how the public parent came to be."""
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Reader()
        _learn(model, x, y, seed, epochs=20, rate=2e-3)
    return model


def train(
    x: Tensor, y: Tensor, seed: int = 0, start: nn.Module | None = None, perturb: Perturb | None = None
) -> nn.Module:
    """Fine-tune the public parent (or `start`) on own images: the convolutions stay as downloaded.

    With `perturb` every batch of scanner images is changed by it first, and the convolutions learn too: on frozen
    ones there would be little left to learn.
    """
    model = copy.deepcopy(start if start is not None else parent())
    for weight in model.get_submodule("features").parameters():
        weight.requires_grad_(perturb is not None)
    with _one_thread():
        _learn(model, x, y, seed, epochs=20, rate=1e-3, perturb=perturb)
    for weight in model.parameters():
        weight.requires_grad_(True)
    return model


@cache
def parent() -> nn.Module:
    """The public pretrained parent, trained once on its own images and kept in the cache."""
    part = load().parent
    return _cached("parent", part, lambda: pretrain(part.x, part.y, seed=1))


@cache
def deployed() -> nn.Module:
    """The model in production: the parent, fine-tuned on the bank's own images and kept in the cache."""
    part = load().train
    return _cached("deployed", part, lambda: train(part.x, part.y, seed=0))


def weights() -> Path:
    """The weights file that `deployed` loads."""
    deployed()
    return CACHE / f"deployed-{_key('deployed', load().train)}.pt"


def calibrate(model: nn.Module, x: Tensor, rate: float = 0.015) -> float:
    """The threshold at which a share `rate` of the clean images `x` goes to a human."""
    with torch.no_grad():
        confidence = logits(model, x).softmax(1).amax(1)
    return float(confidence.quantile(rate))


def _images() -> tuple[np.ndarray, np.ndarray]:
    # mlxtend ships text, which takes seconds to read; the copy in the cache takes milliseconds.
    path = CACHE / f"mnist-{mlxtend.__version__}.npz"
    if not path.exists():
        from mlxtend.data import mnist_data

        images, digits = mnist_data()
        _publish(path, lambda file: np.savez(file, images=images.astype(np.uint8), digits=digits))
    with np.load(path, allow_pickle=False) as data:
        return data["images"], data["digits"]


def _learn(
    model: nn.Module, x: Tensor, y: Tensor, seed: int, *, epochs: int, rate: float, perturb: Perturb | None = None
) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = normalise(resize(x))
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=rate, weight_decay=1e-2)
    batches = -(-len(x) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=rate, total_steps=epochs * batches)
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        for rows in (order[at : at + 64] for at in range(0, len(x), 64)):
            seen = images[rows]
            if perturb is not None:
                model.eval()
                seen = normalise(resize(perturb(lambda batch: logits(model, batch), x[rows], y[rows])))
                model.train()
            optimiser.zero_grad()
            loss = functional.cross_entropy(model(_shift(seen, generator)), y[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    model.eval()


def _shift(x: Tensor, generator: torch.Generator) -> Tensor:
    # Digits on cheques are never centred: one shift of up to two pixels for each batch.
    down, right = torch.randint(-2, 3, (2,), generator=generator).tolist()
    return x.roll((down, right), dims=(2, 3))


def _cached(name: str, part: Part, make: Callable[[], nn.Module]) -> nn.Module:
    path = CACHE / f"{name}-{_key(name, part)}.pt"
    if path.exists():
        model: nn.Module = Reader()
        model.load_state_dict(torch.load(path, weights_only=True))
        return model.eval()
    model = make()
    _publish(path, lambda file: torch.save(model.state_dict(), file))
    return model


def _publish(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    # Written aside and renamed, so that two processes that train at once never read half a file.
    path.parent.mkdir(exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    with os.fdopen(handle, "wb") as file:
        write(file)
    os.replace(partial, path)


def _key(name: str, part: Part) -> str:
    digest = hashlib.sha256(f"{name}|{_RECIPE}|{torch.__version__}".encode())
    for tensor in (part.x, part.y):
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


@contextmanager
def _one_thread() -> Iterator[None]:
    # The order of float additions depends on the number of threads, and so would the weights.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
