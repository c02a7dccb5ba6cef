"""Rigs for searches for costly inputs: something to submit to, trees to read, a network to climb."""

from __future__ import annotations

import gzip
from itertools import pairwise
from typing import Any

import numpy as np

from ..core.adversary import Need
from ..core.availability import Sponge, Work
from ..core.target import to_numpy
from ._array_rigs import counted_forest
from ._set_rigs import Centroids, cloud
from .rig import Rig, Setup, Tally, Variant


def sponge_rigs(info: Any) -> list[Rig]:
    """The rigs that give an attack what it needs, and inputs of its kinds."""
    if Need.STRUCTURE in info.needs:
        return [Rig(name="sponge on trees", make=_trees)]
    if Need.GRADIENT in info.needs:
        return [Rig(name="sponge on an exit", make=_exit)]
    kinds = {"array": ("sponge", _plain), "text": ("sponge on text", _text), "bytes": ("sponge on files", _files)}
    return [Rig(name=name, make=make) for kind, (name, make) in kinds.items() if kind in info.modality]


def _plain(variant: Variant) -> Setup:
    """An input costs as much as it has large values."""
    from ..targets.wrap import wrap

    tally = Tally()
    means = np.stack([np.full(4, -0.5), np.full(4, 0.5)])
    target = wrap(Centroids(means, tally), output="logits", classes=2, version="1", name="toy centroids")
    work = Work(count=lambda x: (np.asarray(x, float) > 1.5).sum(1), name="large values", most=4.0)
    x = cloud(30, 2)[0].clip(-3, 3)
    case = Sponge(x=x, work=work, low=np.full(4, -3.0), high=np.full(4, 3.0), asks=200, inputs=5)
    return Setup(case=case, target=target, tally=tally)


def _text(variant: Variant) -> Setup:
    """A text costs what the square of its longest run of one character is."""
    from ..targets.wrap import wrap

    tally = Tally()

    def decide(x: list[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        tally.rows += len(x)
        return np.array([len(one) % 2 for one in x])

    target = wrap(decide, output="labels", classes=2, version="1", name="toy reader")
    x = [f"{'ab' * (1 + i % 4)}c{i}" for i in range(24)]
    case = Sponge(x=x, work=Work(count=lambda x: [_run(one) ** 2 for one in x], name="steps"), asks=150, inputs=4)
    return Setup(case=case, target=target, tally=tally)


def _files(variant: Variant) -> Setup:
    """A file costs what it unpacks to, up to 64 KiB."""
    from ..core.inflate import unpacked
    from ..targets.wrap import wrap

    tally = Tally()

    def decide(x: list[bytes]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        tally.rows += len(x)
        return np.array([len(one) % 2 for one in x])

    target = wrap(decide, output="labels", classes=2, version="1", name="toy unpacker")
    x = [gzip.compress(bytes(range(40 + i)), mtime=0) for i in range(24)]
    work = Work(count=lambda x: [unpacked(one, 1 << 16) for one in x], name="bytes unpacked", most=float(1 << 16))
    return Setup(case=Sponge(x=x, work=work, longest=400, asks=100, inputs=4), target=target, tally=tally)


def _run(text: str) -> int:
    best = here = 1
    for a, b in pairwise(text):
        here = here + 1 if a == b else 1
        best = max(best, here)
    return best


def _trees(variant: Variant) -> Setup:
    from ..targets.work import paths

    tally = Tally()
    target = counted_forest(tally)
    x = np.random.default_rng(3).uniform(size=(30, 4))
    work = paths(target.structure())
    return Setup(case=Sponge(x=x, work=work, low=0.0, high=1.0, inputs=3), target=target, tally=tally)


def _exit(variant: Variant) -> Setup:
    """A second model is asked where the first is not sure."""
    from ..targets.wrap import wrap
    from ._nets import Counted, linear

    tally, plain = Tally(), linear(6, 2, 5)
    target = wrap(Counted(linear(6, 2, 5), tally).eval(), name="toy exit")

    def models(x: object) -> object:
        import torch

        scores = to_numpy(plain(torch.as_tensor(np.asarray(x, float))).softmax(1))
        return 1 + (scores.max(1) < 0.6)

    x = np.random.default_rng(4).uniform(size=(30, 6))
    case = Sponge(x=x, work=Work(count=models, name="models asked", most=2.0), low=0.0, high=1.0, inputs=5)
    return Setup(case=case, target=target, tally=tally)
