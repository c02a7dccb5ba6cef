"""The rigs that fit an attack, of every kind there is.

An attack of an unusual kind brings a `Rig` of its own: ``check_attack(mine, rigs=[Rig(name="audio", make=...)])``.
"""

from __future__ import annotations

from typing import Any

from ..core.adversary import Budget, Need
from ._array_rigs import array_rig, columns_setup, picture_rig, stumps_setup, tree_rig
from ._object_rigs import bytes_setup, table_setup, text_setup
from ._set_rigs import SET_RIGS, backdoor_pictures_setup
from ._sponge_rigs import sponge_rigs
from .rig import Rig


def rigs_for(info: Any) -> list[Rig]:
    """The rigs that fit an attack, by its case and modality."""
    if info.case == "evade":
        found = []
        if Need.STRUCTURE in info.needs:
            return [tree_rig(norm) for norm in info.norms]
        if "array" in info.modality:
            found += _on_arrays(info)
        if "bytes" in info.modality:
            found.append(Rig(name="bytes", make=bytes_setup))
        if "text" in info.modality:
            found.append(Rig(name="text", make=text_setup, budget=Budget(queries_per_row=40, gradients_per_row=5)))
        if "table" in info.modality:
            found.append(Rig(name="table", make=table_setup, budget=Budget(queries_per_row=20, gradients_per_row=5)))
        return found
    if info.case == "sponge":
        return sponge_rigs(info)
    found = [Rig(name=info.case, make=SET_RIGS[info.case])] if info.case in SET_RIGS else []
    return [*found, Rig(name="pictures", make=backdoor_pictures_setup)] if info.case == "backdoor" else found


def _on_arrays(info: Any) -> list[Rig]:
    """The rigs for the constraints on arrays that an attack knows."""
    found = []
    if "Ball" in info.within and info.norms:
        found += [array_rig("linear", norm) for norm in info.norms]
        found += [array_rig("network", info.norms[0])]
        if not info.needs & (Need.GRADIENT | Need.LOGIT | Need.PARENT):
            found.append(Rig(name="stumps", make=stumps_setup, variants=frozenset({"scale", "radius"})))
    if "Table" in info.within:
        found.append(Rig(name="columns", make=columns_setup, budget=Budget(queries_per_row=20, gradients_per_row=20)))
    return found + [picture_rig(kind) for kind in ("spatial", "patch") if kind.capitalize() in info.within]
