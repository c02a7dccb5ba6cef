"""Bring text into one plain form before the model sees it."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...core.confusables import drawn, erased, skeleton, unleet, without_unseen
from ...core.control import control
from ...core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Plain:
    """Strings in plain form. Numbers hold no text and go through as they are."""

    look_alikes: bool
    leetspeak: bool

    def __call__(self, x: Any) -> Any:
        if isinstance(x, list | tuple):
            return type(x)(self.one(item) if isinstance(item, str) else item for item in x)
        if isinstance(x, np.ndarray) and x.dtype.kind in "UO":
            return np.array([self.one(item) if isinstance(item, str) else item for item in x.ravel()], object).reshape(x.shape)
        return x

    def one(self, text: str) -> str:
        """One string in plain form. What is plain already is not touched."""
        if not (text.isascii() and text.isprintable()):
            # What reorders and what erases goes first: its place among the other characters is what it means.
            text = without_unseen(erased(drawn(text)))
            # Folded before and after: NFKC makes another letter of some look-alikes (a lunate sigma ends up as a final one).
            text = skeleton(text) if self.look_alikes else text
            text = without_unseen(unicodedata.normalize("NFKC", text))
            text = skeleton(text) if self.look_alikes else text
        return unleet(text) if self.leetspeak else text


@control(
    "inference.canonicalise",
    knows=("evasion.characters",),
    threats=("EV-02", "EV-03", "EV-07"),
    side_effects="words of other scripts made of look-alikes only are read as Latin; with leetspeak, codes too",
)
class Canonicalise:
    """Read text as a person would: no invisible characters, no look-alikes, the order in which it is drawn.

    Overrides of direction and backspaces are carried out, characters drawn as nothing are dropped, Unicode compatibility
    forms (NFKC) are undone, look-alikes become the ASCII letters they pass for. That ends the hidden kinds of edits, as far as
    the table of look-alikes goes. It does nothing against mistakes that can be seen: `evasion.characters` knows that.

    Args:
        look_alikes: Whether letters of other scripts that pass for ASCII letters are folded. Off for text that is not English.
        leetspeak: Whether digits and signs that stand for letters are folded, in words that hold a letter as well.
    """

    modality: ClassVar[tuple[str, ...]] = ("text",)  # what it reads

    look_alikes: bool = True
    leetspeak: bool = False

    def harden_target(self, target: Any) -> Any:
        """The target with this step before all its other stages: they read text too."""
        from ...targets.pipeline import Stage

        if not hasattr(target, "stages") or not hasattr(target, "replace"):
            raise UsageError(f"cannot harden: {type(target).__name__} has no stages; wrap the model with casemate.wrap")
        options = {"look_alikes": self.look_alikes, "leetspeak": self.leetspeak}
        stage = Stage(name="canonicalise", forward=Plain(**options), params=options)
        return target.replace(stages=(stage, *target.stages))
