"""What trained models answered, kept by content.

On disk lie outputs, never weights alone: a file holds the logits of one model on one array of inputs, with how well the model
did on its own rows. Its name is the hash of all that decides them, so two attacks that need the same shadow models share them,
whichever comes first and whatever else either asks. In memory the last models trained stay for the life of the process, so
that new questions to them cost a forward pass.
"""

from __future__ import annotations

import importlib.metadata
import os
import tempfile
import warnings
import zipfile
from collections import OrderedDict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UsageError
from ..core.identity import hash_data, hash_of
from .learners import Fits, Learner, Softmax

FORMAT = 1  # raised whenever the same arguments give other models
MEMORY = 1 << 28  # bytes of weights kept in memory
LIBRARIES = ("numpy", "scipy", "torch", "scikit-learn", "xgboost-cpu", "xgboost", "lightgbm")


@dataclass(frozen=True, slots=True)
class Own:
    """How a model did on its own training rows, and what is wrong with it ("" where nothing is)."""

    accuracy: float
    loss: float
    why: str


class Shelf:
    """A folder of outputs. Files are written whole or not at all; one that cannot be read counts as absent."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"the cache of trained models needs a folder it can write to; {folder}: {error}") from error

    def get(self, model: str, asked: str, shape: tuple[int, ...]) -> tuple[NDArray[Any], Own] | None:
        """The logits of that model on those inputs, of that shape, or None."""
        try:
            with np.load(self._place(model, asked), allow_pickle=False) as held:
                logits, own = held["logits"], Own(float(held["accuracy"]), float(held["loss"]), str(held["why"]))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError):
            return None
        return (logits, own) if logits.shape == shape else None

    def put(self, model: str, asked: str, logits: NDArray[Any], own: Own) -> None:
        """Keep them. A full disk costs the saving, never the result."""
        place, loose = self._place(model, asked), ""
        try:
            place.parent.mkdir(exist_ok=True)
            handle, loose = tempfile.mkstemp(dir=place.parent, suffix=".part")
            with os.fdopen(handle, "wb") as file:
                np.savez(file, logits=logits, accuracy=own.accuracy, loss=own.loss, why=own.why)
            os.replace(loose, place)
        except OSError as error:
            warnings.warn(f"the outputs of a trained model could not be kept: {error}", stacklevel=2)
        finally:
            if loose and os.path.exists(loose):
                os.unlink(loose)

    def _place(self, model: str, asked: str) -> Path:
        return self._folder / model[:2] / f"{model[:40]}-{asked[:24]}.npz"


class Memory:
    """The weights of the models trained last, at most so many bytes of them."""

    def __init__(self, most: int = MEMORY) -> None:
        self._most, self._held = most, OrderedDict[str, NDArray[Any]]()

    def get(self, model: str) -> NDArray[Any] | None:
        """The weights, and who was asked for last stays longest."""
        if model not in self._held:
            return None
        self._held.move_to_end(model)
        return self._held[model]

    def put(self, model: str, weights: NDArray[Any]) -> None:
        """Keep a copy of them, in place of whom nobody asked for longest."""
        self._held[model] = weights.copy()
        self._held.move_to_end(model)
        while sum(each.nbytes for each in self._held.values()) > self._most:
            self._held.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        self._held.clear()


memory = Memory()


def models(
    learner: Learner, x: Any, y: NDArray[Any], weights: NDArray[Any], seeds: list[int], classes: int, device: str
) -> list[str]:
    """A name for each model, from everything that decides it; "" for all where that cannot be told."""
    if isinstance(learner, Fits) and not learner.version:
        return [""] * len(seeds)
    shared = hash_of(FORMAT, type(learner).__name__, _settings(learner), classes, device, _versions(), hash_data(x))
    same = hash_data(y) if y.ndim == 1 else ""
    names = []
    for i, seed in enumerate(seeds):
        chance = 0 if isinstance(learner, Softmax) else seed  # an optimum has no seed
        names.append(hash_of(shared, same or hash_data(y[i]), hash_data(np.asarray(weights[i], float)), chance))
    return names


def _settings(learner: Learner) -> Any:
    if isinstance(learner, Fits):
        return [getattr(learner.fit, "__module__", ""), getattr(learner.fit, "__qualname__", ""), learner.version]
    return asdict(learner)


def _versions() -> list[str]:
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
