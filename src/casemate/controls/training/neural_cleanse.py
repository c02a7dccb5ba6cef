"""Neural Cleanse: a label that a small change reaches from everywhere is the label of a backdoor."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...core.control import control
from ...core.errors import BadInput, UsageError
from ...core.random import RowRandom
from ...core.target import Recipe, Target, take, to_numpy
from ._activations import module_of, prune, representation, right, with_module
from ._reverse import Reversed, reverse

_NAME = "training.neural_cleanse"
_WORKS = 0.1  # a patch that turns fewer is no backdoor


@dataclass(frozen=True, slots=True)
class Suspects:
    """What was found for each label.

    Args:
        index: Anomaly index ``(k,)``: median absolute deviations below the median size, negative above it.
        flagged: Labels whose index is above the limit.
        triggers: What reaches each label.
    """

    index: NDArray[np.float64]
    flagged: tuple[int, ...]
    triggers: Reversed


@control(
    _NAME,
    knows=("poisoning.blended", "poisoning.adaptive_blend", "poisoning.badnets"),
    threats=("PO-03",),
    side_effects="a search of some hundred steps for every label; a repaired model decides a little worse",
    trains=True,
)
class NeuralCleanse:
    """Look for the smallest patch that turns everything to a label; where one label needs far less than the others, cut off the
    neurons that the patch excites (Wang et al. 2019, doi:10.1109/SP.2019.00031).

    All labels are searched in one batch. A label is flagged when its mask is more than `limit` median absolute deviations
    (times 1.4826) below the median. Of the paper's two repairs this is the pruning: the other goes on training, on rows that
    are known to be clean. Search and repair need the weights: the recipe makes a torch module. With fewer than five labels
    a median says little.

    Args:
        steps: Of the search.
        rows: Training rows searched on, at most.
        success: Share of them a patch must turn.
        limit: Anomaly index above which a label is suspected.
        most: Share of the neurons in front of the last dense layer that may be cut off; fewer are where the patch no longer
            turns a tenth of the rows.
        loss: Accuracy on the training data that the repair of a label may cost, as a share.
    """

    detects: ClassVar[bool] = True  # finding nothing, it changes nothing

    steps: int = 300
    rows: int = 64
    success: float = 0.98
    limit: float = 2.0
    most: float = 0.3
    loss: float = 0.1

    def __post_init__(self) -> None:
        counts, shares = min(self.steps, self.rows) >= 1, 0 < self.success <= 1 and 0 < self.most < 1
        if not counts or not shares or min(self.limit, self.loss) <= 0:
            raise UsageError(f"{self!r} is not allowed; give counts from 1, shares in (0, 1], limit and loss above 0")

    def harden_recipe(self, recipe: Recipe) -> Recipe:
        """The same recipe, and what it makes repaired where a label is suspected."""
        if not callable(getattr(recipe, "fit", None)):
            raise UsageError(f"cannot harden a {type(recipe).__name__}; give a Recipe")
        return replace(recipe, fit=Cleansed(recipe.fit, self), version=f"{recipe.version}+{self!r}", stack=None)

    def suspects(self, model: Target, x: Any, y: Any, together: bool = True) -> Suspects:
        """The labels of a model that look as if they had a backdoor.

        Args:
            x, y: Inputs it knows and their classes, from 0; a few of them are searched on.
            together: Search all labels in one batch; otherwise one after the other, which only takes longer.
        """
        import torch

        net = module_of(model, _NAME).requires_grad_(False)
        if getattr(model, "stages", ()):
            raise UsageError(f"{_NAME} searches in front of the module, and {model.name} has stages there; put them inside")
        array, labels = np.asarray(to_numpy(x)), np.asarray(to_numpy(y))
        if labels.dtype.kind not in "iu":
            raise BadInput(f"{_NAME} needs classes counted from 0; got labels of {labels.dtype}")
        few = np.sort(np.argsort(RowRandom(0).uniform(np.arange(len(array)), 0), kind="stable")[: self.rows])
        dtype = next(net.parameters()).dtype
        asked, truth = torch.as_tensor(array[few]).to(dtype), torch.as_tensor(labels[few])
        found = reverse(
            net, asked, truth, range(int(net(asked[:1]).shape[1])), low=float(array.min()), high=float(array.max()),
            steps=self.steps, success=self.success, together=together,
        )  # fmt: skip
        index = anomaly(found.size)
        return Suspects(index, tuple(np.flatnonzero((index > self.limit) & (found.reached >= self.success)).tolist()), found)


def anomaly(size: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many consistent median absolute deviations each size lies below the median."""
    middle = np.median(size)
    spread = 1.4826 * np.median(np.abs(size - middle))
    return np.asarray((middle - size) / max(float(spread), 1e-12))


@dataclass(frozen=True, slots=True)
class Cleansed:
    """A `fit` that trains, searches, and repairs where it found something."""

    fit: Callable[..., Target]
    control: NeuralCleanse

    def __call__(self, x: Any, y: Any, seed: int) -> Target:
        from ...targets.wrap import wrap

        model = wrap(self.fit(x, y, seed))
        found = self.control.suspects(model, x, y)
        for label in found.flagged:
            model = self._repaired(model, x, np.asarray(to_numpy(y)), label, found.triggers)
        return model

    def _repaired(self, model: Target, x: Any, y: NDArray[Any], label: int, triggers: Reversed) -> Target:
        """The model without the neurons that the patch of a label excites most, one after the other until it stops working."""
        others = np.flatnonzero(y != label)
        plain = np.asarray(to_numpy(take(x, others)))
        mask, pattern = triggers.mask[label], triggers.pattern[label]
        marked = ((1 - mask) * plain + mask * pattern).astype(plain.dtype)
        risen = representation(model, marked).values.mean(0) - representation(model, plain).values.mean(0)
        found, least = model, right(model, x, y) - self.control.loss
        net = module_of(model, _NAME)
        order = np.argsort(-risen, kind="stable")[: int(self.control.most * len(risen))]
        for neuron in order[risen[order] > 0]:
            if right(found, marked, np.full(len(marked), label)) <= _WORKS:
                break
            prune(net, np.array([neuron]))
            further = with_module(model, copy.deepcopy(net))
            if right(further, x, y) < least:
                break
            found = further
        return found
