"""Mitigations, each one object with three uses; one file each.

service/     steps around an endpoint: the same code in assessment and in production
inference/   stages in front of a model
training/    other ways to train it
pipeline/    the way an artifact travels
"""

from __future__ import annotations

import importlib
from typing import Any

_CLASSES = {
    "service.labels_only": "LabelsOnly",
    "service.query_budget": "QueryBudget",
    "service.round_scores": "RoundScores",
    "inference.canonicalise": "Canonicalise",
    "inference.transport_quantise": "TransportQuantise",
    "training.adversarial": "Adversarial",
    "training.spectral_signatures": "SpectralSignatures",
    "training.activation_clustering": "ActivationClustering",
    "training.strip": "Strip",
    "training.neural_cleanse": "NeuralCleanse",
    "training.fine_pruning": "FinePruning",
    "training.abl": "AntiBackdoor",
    "training.dp_sgd": "DPSGD",
    "training.output_perturbation": "OutputPerturbation",
    "training.pate": "PATE",
    "training.randomised_response": "RandomisedResponse",
    "training.trim": "Trim",
    "training.roni": "Roni",
    "training.sever": "Sever",
    "training.partition": "Partition",
    "training.robust_aggregation": "RobustAggregation",
    "pipeline.digest_pin": "DigestPin",
}
MODULES = tuple(_CLASSES)
_HOME = {name: module for module, name in _CLASSES.items()}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; its controls: {', '.join(_HOME)}")


def __dir__() -> list[str]:
    return [*_HOME, "MODULES", "as_table", "facts_of"]


def facts_of(control: Any) -> tuple[tuple[str, Any], ...]:
    """The facts a control changes, as (path below the component, value fit for `System.replace_fact`).

    A control whose facts depend on its parameters has a method `facts`; for the others `info.changes` is the whole
    truth.
    """
    stated = getattr(control, "facts", None)
    return tuple(stated()) if stated is not None else tuple(control.info.changes)


def as_table() -> str:
    """Every registered control as a Markdown table, for the reference page."""
    from ..core.control import controls

    heads = ("control", "does", "facts it changes", "attacks that know it", "meant for", "costs")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for id in controls:
        info = controls.get(id).info
        if not controls.get(id).__module__.startswith(__name__):
            continue  # a plugin documents itself
        facts = "; ".join(f"`{path}` = {value}" for path, value in info.changes) or "none: it changes the target"
        knows, threats = ", ".join(info.knows), ", ".join(info.threats)
        cells = (f"`{id}`", info.summary.rstrip("."), facts, knows, threats, info.side_effects)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
