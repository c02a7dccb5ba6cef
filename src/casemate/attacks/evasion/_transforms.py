"""What transfer attacks do to an input before they take its slope, and to the slope after."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def moved(x: Tensor, lot: Tensor, share: float, shrink: float, low: float = 0.0) -> Tensor:
    """Some images shrunken and set down elsewhere on a dark ground, each by its own lot; differentiable in `x`.

    Args:
        x: Images ``(n, c, h, w)``.
        lot: Uniform numbers ``(n, 4)``: whether, how small, where across, where down.
        share: Probability, in [0, 1], that an image is changed at all.
        shrink: Smallest side as a share of the full side.
        low: The value of the ground.
    """
    n, _, h, w = x.shape
    smaller = shrink + (1 - shrink) * lot[:, 1]
    size = torch.where(lot[:, 0] < share, smaller, torch.ones_like(smaller))
    turn = torch.zeros(n, 2, 3, dtype=x.dtype, device=x.device)
    turn[:, 0, 0] = turn[:, 1, 1] = 1 / size
    turn[:, :, 2] = (2 * lot[:, 2:] - 1) * ((1 - size) / size)[:, None]
    grid = functional.affine_grid(turn, [n, 1, h, w], align_corners=False)
    return low + functional.grid_sample(x - low, grid, align_corners=False)


def dimmed(x: Tensor, low: float, copies: int) -> Tensor:
    """`copies` of every row, each at half the contrast of the one before, ``(copies * n, *shape)``, copy after copy.

    Contrast is the distance from `low`, the dark end of the domain, so that units do not matter.
    """
    return torch.cat([low + (x - low) / 2**i for i in range(copies)])


def blurred(slope: Tensor, reach: int) -> Tensor:
    """Slopes ``(n, c, h, w)`` smoothed by a Gaussian of ``2 * reach + 1`` points a side, any number of channels.

    Its standard deviation is ``reach / sqrt(3)``. Near the border, weight that falls outside is lost.
    """
    at = torch.arange(-reach, reach + 1, dtype=slope.dtype, device=slope.device)
    line = torch.exp(-at.square() / (2 * reach**2 / 3))
    line = line / line.sum()
    channels = slope.shape[1]
    across = line.reshape(1, 1, 1, -1).expand(channels, 1, 1, -1)
    # A Gaussian is the product of two lines: 2 k products a value instead of k * k.
    slope = functional.conv2d(slope, across, padding=(0, reach), groups=channels)
    return functional.conv2d(slope, across.transpose(2, 3), padding=(reach, 0), groups=channels)


def around(x: Tensor, lot: Tensor, reach: float, norm: str) -> Tensor:
    """Neighbours of every row, ``(k * n, *shape)``, copy after copy.

    Args:
        x: Rows ``(n, *shape)``.
        lot: Uniform numbers ``(n, k, *shape)``.
        reach: Largest change of a value (``linf``), or the typical length of a whole change (other norms).
    """
    spread = reach if norm == "linf" else reach * math.sqrt(3 / max(1, math.prod(x.shape[1:])))
    return (x[:, None] + (2 * lot - 1) * spread).transpose(0, 1).flatten(0, 1)
