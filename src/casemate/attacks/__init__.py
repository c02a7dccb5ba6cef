"""Attacks: one file, one attack. `MODULES` is what the registry imports; classes load when first named."""

from __future__ import annotations

import importlib
from typing import Any

_CLASSES = {
    "evasion.noise": "Noise",
    "evasion.pgd": "PGD",
    "evasion.apgd_ce": "APGD",
    "evasion.square": "Square",
    "evasion.hopskipjump": "HopSkipJump",
    "evasion.transfer": "Transfer",
    "evasion.edits": "Edits",
    "poisoning.label_flip": "LabelFlip",
    "privacy.loss_threshold": "LossThreshold",
    "extraction.equation": "EquationSolving",
    "extraction.learning": "LearningExtraction",
    "availability.flood": "Flood",
    "supply.artifact": "ArtifactScan",
    "supply.swap": "Swap",
    "supply.probe": "Probe",
}
MODULES = tuple(_CLASSES)
_HOME = {name: module for module, name in _CLASSES.items()}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*_HOME, "MODULES"]
