"""casemate: who can attack the software with machine learning inside, what would it cost them, what should be done.

    import casemate as cm
    target = cm.wrap(model)
    case = cm.Evade(x, y, within=cm.Ball("linf", 0.15))
    evidence = cm.run("evasion.pgd", target, case, seed=0)

Names load when first used: importing casemate loads neither torch nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "core.adversary": ("Adversary", "Budget", "Need", "researcher"),
    "core.attack": ("Answer", "Ask", "Claim", "attack"),
    "core.case": (
        "Adopt", "Artifact", "Attribute", "Audit", "Backdoor", "Copy", "Degrade", "Distinguisher", "Evade", "Federated",
        "Fetch", "Guesses", "Holdout", "Infer", "Inputs", "Invert", "Leak", "Load", "Misread", "Poison", "Property",
        "Records", "Recovered", "Replica", "Smuggle", "Stall", "Update", "Values",
    ),
    "core.availability": ("Drill", "Harvest", "Sponge"),
    "core.constraint": ("Ball",),
    "core.control": ("control",),
    "core.errors": (
        "BadInput", "BadSystem", "BudgetSpent", "CasemateError", "MissingExtra", "NotGranted", "Refused", "RunError",
        "TargetFailed", "UnknownName", "UsageError",
    ),
    "core.evidence": ("Check", "Cost", "Evidence", "Interval", "Status", "Verdict"),
    "core.goal": ("Becomes", "Routed", "Shift", "Vanish", "Wrong"),
    "core.oracle": ("Known", "Oracle"),
    "core.patch": ("Patch",),
    "core.random": ("RowRandom",),
    "core.sequences": ("Bytes", "Text"),
    "core.spatial": ("Spatial",),
    "core.system": ("System",),
    "core.table": ("Column", "Table"),
    "core.target": ("REJECT", "Recipe", "Response", "Slope", "Target", "adapter"),
    "judges.influence.responsible": ("Responsible", "refitted", "responsible"),
    "judges.influence.shapley": ("DataValues", "exact_shapley", "left_out_values", "sampled_shapley"),
    "runs.api": ("run",),
    "runs.assess": ("assess",),
    "runs.harden": ("harden",),
    "targets.combined": ("Cascade", "Ensemble", "Screened"),
    "targets.pipeline": ("Argmax", "Cut", "Pipeline", "Stage", "Threshold"),
    "targets.wrap": ("wrap",),
    "trainers": ("Fits", "MLP", "Softmax"),
}  # fmt: skip
# `cm.attacks.PGD(steps=100)`, `cm.containers.zip_()`
_ROOMS = {"attacks": "attacks", "controls": "controls", "testing": "testing", "containers": "core.containers"}
_HOME = {name: module for module, names in _WHERE.items() for name in names}
__all__ = sorted(_HOME)  # noqa: PLE0605 - one table serves __all__, __getattr__ and __dir__

if TYPE_CHECKING:
    from .core.adversary import Adversary as Adversary


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{_ROOMS[name]}")
    raise AttributeError(f"module 'casemate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
