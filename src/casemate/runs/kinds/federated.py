"""Rounds of a federated training, with some of the clients in the hands of an attacker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import BadInput
from ...core.federated import Federated
from ...judges import federated
from ...judges.opinion import Opinion
from .kind import Built, Judging, Kind

if TYPE_CHECKING:
    from ...core.adversary import Adversary
    from ..bench import Bench
    from ..plan import Cell


def check(case: Federated) -> None:
    start = np.asarray(case.start)
    if start.ndim != 1 or not len(start) or not np.isfinite(start).all():
        raise BadInput(f"start of shape {start.shape}; give the parameters as one vector of finite numbers")
    if not case.rate > 0 or case.rounds < 1:
        raise BadInput(f"rate={case.rate}, rounds={case.rounds}; give a rate above 0 and one round or more")
    if case.rounds > 1 and not callable(case.updates):
        raise BadInput(f"rounds={case.rounds} needs updates of each round; give a function (params, round) -> (clients, p)")
    if case.evaluate is None and case.wanted is None:
        raise BadInput("neither evaluate nor wanted is given, so nothing says what harm is; give one of them, or both")
    wanted = None if case.wanted is None else np.asarray(case.wanted)
    if wanted is not None and (wanted.shape != start.shape or not np.isfinite(wanted).all()):
        raise BadInput(f"wanted of shape {wanted.shape} for parameters {start.shape}; give finite numbers of the same shape")
    clients = len(case.sent())
    if not 1 <= case.attackers < clients:
        raise BadInput(f"attackers={case.attackers} of {clients} clients; give one or more, and leave one honest")
    if case.joined(case.sent()).shape != start.shape:
        raise BadInput(f"rule={case.rule!r} does not make {start.shape} of the updates; give (clients, p) -> (p,)")


def judge(at: Judging) -> Opinion:
    return federated.judge(at.case, at.claim, [claim for _, claim in at.kept], seed=at.seed)


def why_not(bench: Bench, _: Adversary) -> str | None:
    binding = bench.system.binding(bench.component)
    return None if binding is not None and binding.federated else "no rounds are bound: target.federated"


def build(bench: Bench, cell: Cell) -> Built:
    """The case that the user's function gives, summed up by the rule of a control where one is applied."""
    from ..bench import _Loader

    binding = bench.system.binding(bench.component)
    assert binding is not None and binding.federated
    made = _Loader(Path(bench.system.folder or "."), bench.component)("federated", binding.federated)
    if not isinstance(made, Federated):
        what = f"target.federated={binding.federated!r} gave a {type(made).__name__}"
        raise BadInput(f"{what}; give a casemate.core.federated.Federated")
    return Built(made if bench.rounds is None else bench.rounds.harden_rounds(made))


FEDERATED = Kind(check=check, judge=judge, build=build, why_not=why_not, targetless=True, alone=True)
