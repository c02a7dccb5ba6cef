"""What many models may be trained as: a small network, softmax regression, or whatever the user's own function trains."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..core.errors import BadInput
from ..core.target import Target

OPTIMISERS = ("sgd", "adam")


@dataclass(frozen=True, slots=True)
class MLP:
    """A network of dense layers with ReLU between them, trained by steps on the mean cross-entropy of small batches.

    Many are trained as one stack of matrices. Inputs are taken as they come, flattened to ``(n, d)``: bring columns to a
    like scale first. Weights begin uniform in +-1/sqrt(inputs of the layer), as `torch.nn.Linear` does.

    Args:
        hidden: Units of each hidden layer; () is softmax regression by gradient steps.
        epochs: Passes over a model's own training rows.
        batch: Rows in a step; the last step of a pass takes what is left.
        rate: Size of a step; None: 0.05 for sgd, 0.002 for adam.
        optimiser: "sgd" (with `momentum`) or "adam" (arXiv:1412.6980, with its published moments).
        momentum: Of sgd, 0 up to below 1.
        decay: Weight decay: sgd adds ``decay * weight`` to the gradient, adam shrinks weights by ``rate * decay``
            (arXiv:1711.05101).
        clip: Longest gradient of one example, over all layers (l2); None: not clipped.
        noise: Standard deviation of the noise added to the sum of the clipped gradients, as a multiple of `clip`: this is
            DP-SGD (arXiv:1607.00133). Each row then takes part in a step with chance ``batch / rows`` of its own, which
            is what its accounting supposes, and the sum is divided by `batch`. 0 samples so and adds nothing.
        double: Train in float64 in place of float32; about twice the time.
    """

    hidden: tuple[int, ...] = (64,)
    epochs: int = 60
    batch: int = 32
    rate: float | None = None
    optimiser: str = "sgd"
    momentum: float = 0.9
    decay: float = 0.0
    clip: float | None = None
    noise: float | None = None
    double: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.hidden, int) or not all(_whole(units) and units > 0 for units in self.hidden):
            raise BadInput(f"MLP(hidden=...) lists the units of each hidden layer, such as (64,); got {self.hidden!r}")
        object.__setattr__(self, "hidden", tuple(int(units) for units in self.hidden))
        for name in ("epochs", "batch"):
            value = getattr(self, name)
            _allow(name, value, _whole(value) and value > 0, "a whole number from 1 up")
        _allow("rate", self.rate, self.rate is None or (_number(self.rate) and self.rate > 0), "None or a number above 0")
        _allow("optimiser", self.optimiser, self.optimiser in OPTIMISERS, " or ".join(OPTIMISERS))
        _allow("momentum", self.momentum, _number(self.momentum) and 0 <= self.momentum < 1, "from 0 up to below 1")
        _allow("decay", self.decay, _number(self.decay) and self.decay >= 0, "a number from 0 up")
        _allow("clip", self.clip, self.clip is None or (_number(self.clip) and self.clip > 0), "None or a number above 0")
        _allow("noise", self.noise, self.noise is None or (_number(self.noise) and self.noise >= 0), "None or from 0 up")
        if self.noise is not None and self.clip is None:
            raise BadInput("MLP(noise=...) is a multiple of the clipped length; give clip too, such as clip=1.0")

    @property
    def step(self) -> float:
        """The size of a step that is used."""
        return self.rate if self.rate is not None else {"sgd": 0.05, "adam": 0.002}[self.optimiser]


@dataclass(frozen=True, slots=True)
class Softmax:
    """Logistic regression, for two classes or more, solved to its optimum by Newton's method in float64.

    Minimises ``sum of weight * cross-entropy + l2 / 2 * |coefficients|^2`` with a free intercept: what scikit-learn's
    `LogisticRegression` minimises with ``C = 1 / l2``. The optimum is unique, so seeds do not matter.

    Args:
        l2: Strength of the penalty, above 0; without one separable classes have no optimum.
        tol: Stop where no slope of the mean loss exceeds this.
        steps: Most Newton steps; a model that needs more is reported as failed.
    """

    l2: float = 1.0
    tol: float = 1e-9
    steps: int = 100

    def __post_init__(self) -> None:
        good = _number(self.l2) and self.l2 > 0
        _allow("l2", self.l2, good, "a number above 0 (separable classes have no optimum without it)", "Softmax")
        _allow("tol", self.tol, _number(self.tol) and self.tol > 0, "a number above 0", "Softmax")
        _allow("steps", self.steps, _whole(self.steps) and self.steps > 0, "a whole number from 1 up", "Softmax")


@dataclass(frozen=True, slots=True)
class Fits:
    """Whatever ``fit(x, y, seed) -> Target`` trains, such as the `fit` of a `Recipe`: one at a time, or in processes.

    Args:
        fit: Gets the rows of `x` a model trains on (repeated where its weight says so), their labels, and its seed.
            It must be deterministic in these. To be spread over processes it must be a function of an importable
            module; a closure or lambda trains here, one after the other.
        version: Names this state of `fit`. Outputs are kept on disk only under a version, because what a function does
            cannot be read off it; change it whenever `fit` changes.
        workers: Processes; None: as many as there are cores where that is faster, 1: none.
    """

    fit: Callable[[Any, Any, int], Target]
    version: str = ""
    workers: int | None = None

    def __post_init__(self) -> None:
        _allow("fit", self.fit, callable(self.fit), "a function fit(x, y, seed) -> Target", "Fits")
        good = self.workers is None or (_whole(self.workers) and self.workers > 0)
        _allow("workers", self.workers, good, "None or a whole number from 1 up", "Fits")


Learner = MLP | Softmax | Fits


def _whole(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _allow(name: str, value: Any, good: bool, allowed: str, kind: str = "MLP") -> None:
    if not good:
        raise BadInput(f"{kind}({name}=...) is {allowed}; got {value!r}")
