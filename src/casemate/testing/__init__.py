"""For people who write attacks, controls and targets of their own: the contracts that all of casemate's pass.

    from casemate.testing import check_attack
    check_attack(MyAttack())                    # raises ContractBroken, which names the rule, the value and what to do

    @pytest.mark.parametrize("name, check", list(attack_checks(MyAttack())))
    def test_my_attack(name, check):
        check()
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "ContractBroken": "contract",
    "check_attack": "attack_contract",
    "attack_checks": "attack_contract",
    "check_control": "control_contract",
    "control_checks": "control_contract",
    "check_target": "target_contract",
    "target_checks": "target_contract",
    "Rig": "rig",
    "Setup": "rig",
    "Tally": "rig",
    "Variant": "rig",
}
__all__ = sorted(_HOME)  # noqa: PLE0605 - one table serves __all__, __getattr__ and __dir__


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
