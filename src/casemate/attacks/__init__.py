"""Attacks: one file, one attack. `MODULES` is what the registry imports; classes load when first named."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

_CLASSES = {
    "evasion.deepfool": "DeepFool",
    "evasion.carlini_wagner": "CarliniWagner",
    "evasion.ddn": "DDN",
    "evasion.fmn": "FMN",
    "evasion.alma": "ALMA",
    "evasion.ead": "EAD",
    "evasion.jsma": "JSMA",
    "evasion.sigma_zero": "SigmaZero",
    "evasion.pdpgd": "PDPGD",
    "evasion.noise": "Noise",
    "evasion.pgd": "PGD",
    "evasion.apgd_ce": "APGD",
    "evasion.apgd_dlr": "APGDDLR",
    "evasion.apgd_t": "APGDT",
    "evasion.fab_t": "FABT",
    "evasion.autoattack": "AutoAttack",
    "evasion.fgsm": "FGSM",
    "evasion.square": "Square",
    "evasion.nes": "NES",
    "evasion.spsa": "SPSA",
    "evasion.simba": "SimBA",
    "evasion.zoo": "ZOO",
    "evasion.hopskipjump": "HopSkipJump",
    "evasion.tangent": "Tangent",
    "evasion.rays": "RayS",
    "evasion.sign_opt": "SignOPT",
    "evasion.geoda": "GeoDA",
    "evasion.surfree": "SurFree",
    "evasion.cgba": "CGBA",
    "evasion.boundary": "Boundary",
    "evasion.transfer": "Transfer",
    "evasion.transfer_surrogate": "TransferSurrogate",
    "evasion.transfer_similar": "TransferSimilar",
    "evasion.spatial": "SpatialGrid",
    "evasion.universal": "Universal",
    "evasion.universal_patch": "UniversalPatch",
    "evasion.patch": "AdversarialPatch",
    "evasion.leaf_tuple": "LeafTuple",
    "evasion.tree_milp": "TreeMILP",
    "evasion.edits": "Edits",
    "evasion.constrained_pgd": "ConstrainedPGD",
    "evasion.genetic": "Genetic",
    "evasion.characters": "Characters",
    "evasion.invisible": "Invisible",
    "evasion.substitution": "Substitution",
    "suite.standard": "Standard",
    "poisoning.label_flip": "LabelFlip",
    "poisoning.badnets": "BadNets",
    "poisoning.blended": "Blended",
    "poisoning.clean_label": "CleanLabel",
    "poisoning.adaptive_blend": "AdaptiveBlend",
    "poisoning.warping": "Warping",
    "poisoning.parent": "BackdooredParent",
    "poisoning.model_replacement": "ModelReplacement",
    "poisoning.gradient": "Gradient",
    "poisoning.adaptive": "AdaptivePoisoning",
    "poisoning.svm": "SVM",
    "poisoning.feedback": "Feedback",
    "poisoning.feature_collision": "FeatureCollision",
    "poisoning.bullseye": "Bullseye",
    "poisoning.gradient_matching": "GradientMatching",
    "privacy.loss_threshold": "LossThreshold",
    "privacy.lira": "LiRA",
    "privacy.rmia": "RMIA",
    "privacy.quantile": "QuantileRegression",
    "privacy.entropy": "ModifiedEntropy",
    "privacy.shadow": "ShadowModel",
    "privacy.label_only": "LabelOnly",
    "privacy.truth_serum": "TruthSerum",
    "privacy.canary": "Canary",
    "privacy.attribute": "AttributeInference",
    "privacy.property": "PropertyInference",
    "privacy.inversion": "ModelInversion",
    "privacy.gradient_inversion": "GradientInversion",
    "extraction.equation": "EquationSolving",
    "extraction.learning": "LearningExtraction",
    "extraction.lowd_meek": "LowdMeek",
    "extraction.tree_paths": "TreePaths",
    "extraction.jacobian": "JacobianAugmentation",
    "extraction.cryptanalytic": "Cryptanalytic",
    "extraction.artifact_theft": "ArtifactTheft",
    "availability.flood": "Flood",
    "availability.fail_open": "FailOpen",
    "availability.sponge": "SpongeInputs",
    "availability.deep_paths": "DeepPaths",
    "availability.slow_exit": "SlowExit",
    "availability.harvest": "CostHarvest",
    "availability.decompression": "Decompression",
    "supply.artifact": "ArtifactScan",
    "supply.swap": "Swap",
    "supply.probe": "Probe",
    "supply.split_view": "SplitView",
}
MODULES = tuple(_CLASSES)
_HOME = {name: module for module, name in _CLASSES.items()}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    near = ", ".join(difflib.get_close_matches(name, _HOME)) or "`casemate attacks` lists them"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; did you mean: {near}")


def __dir__() -> list[str]:
    return [*_HOME, "MODULES"]
