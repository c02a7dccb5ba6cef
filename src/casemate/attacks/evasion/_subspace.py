"""Few directions that matter: the lowest frequencies of an input, by the discrete cosine transform.

Images ``(c, h, w)`` and ``(h, w)`` have frequencies along height and width, each channel its own; a vector ``(d,)`` has
them along its only axis. The basis is orthonormal, so lengths are the same in either space.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import BadInput

Floats = NDArray[np.float64]


@lru_cache(maxsize=16)
def dct_basis(size: int) -> Floats:
    """The orthonormal cosine basis (DCT-II) of signals of `size` values, ``(size, size)``: row k is frequency k.

    Read-only, because it is kept. ``basis @ signal`` are the coefficients of a signal, ``coefficients @ basis`` the signal.
    """
    if size < 1:
        raise BadInput(f"size={size} is not allowed; a signal has at least one value")
    places, order = np.arange(size) + 0.5, np.arange(size)[:, None]
    basis = np.cos(np.pi / size * order * places) * math.sqrt(2.0 / size)
    basis[0] /= math.sqrt(2.0)
    basis.setflags(write=False)
    return np.asarray(basis)


def frequencies(shape: tuple[int, ...], share: float) -> tuple[int, ...]:
    """The shape of the coefficients kept of an input of `shape`: `share` of the frequencies along each axis that has them.

    Args:
        shape: Of one input: ``(c, h, w)``, ``(h, w)`` or ``(d,)``; axes before the last two keep their length.
        share: In (0, 1]; at least one frequency an axis is kept.

    Raises:
        BadInput: Another share, or an input that is a single number.
    """
    if not shape:
        raise BadInput("inputs that are single numbers have no frequencies; give rows of shape (d,), (h, w) or (c, h, w)")
    if not 0 < share <= 1:
        raise BadInput(f"share={share!r} is not allowed; give the share of the frequencies to keep, above 0 and at most 1")
    return (*shape[:-2], *(max(1, round(share * size)) for size in shape[-2:]))


def low_frequency(coefficients: Any, shape: tuple[int, ...]) -> Any:
    """The inputs with these coefficients of their lowest frequencies, and zero for all others.

    Args:
        coefficients: ``(n, *kept)`` with `kept` as `frequencies` gives it: normal numbers there make a random direction of
            the subspace. Floats keep their precision.
        shape: Of one input.

    Returns:
        ``(n, *shape)``, of the same length row by row.

    Raises:
        BadInput: More frequencies than the shape has.
    """
    kept = coefficients.shape[1:]
    wide = len(kept) == len(shape) and all(k <= s for k, s in zip(kept, shape, strict=True))
    if not wide or kept[:-2] != shape[:-2]:
        raise BadInput(f"coefficients of shape {kept} do not fit inputs of shape {shape}; take frequencies(shape, share)")
    across = dct_basis(shape[-1])[: kept[-1]].astype(coefficients.dtype)
    found = coefficients @ across
    if len(shape) == 1:
        return found
    return dct_basis(shape[-2])[: kept[-2]].T.astype(coefficients.dtype) @ found


def lowest_first(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """How low each coefficient of an input of `shape` is, flat ``(d,)``: the larger of its shares of the two axes, in per mille.

    Sorting by it takes the coefficients in squares that grow from the lowest frequency; channels come together.
    """
    level = np.zeros(shape)
    for axis, size in list(enumerate(shape))[-2:]:
        along = np.arange(size) * (1000.0 / size)
        level = np.maximum(level, along.reshape([-1 if i == axis else 1 for i in range(len(shape))]))
    return level.reshape(-1).astype(np.int64)
