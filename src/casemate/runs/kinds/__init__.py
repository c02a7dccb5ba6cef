"""What a run must know of each kind of case that is attacked as a set: one file, one kind.

`KINDS` holds them by name. A new kind is a file here, a pair in `core`, a judge, and a rig in `testing`.
"""

from __future__ import annotations

from .adopt import ADOPT
from .attribute import ATTRIBUTE
from .audit import AUDIT
from .copy import COPY
from .drill import DRILL
from .federated import FEDERATED
from .fetch import FETCH
from .harvest import HARVEST
from .infer import INFER
from .invert import INVERT
from .kind import Built, Judging, Kind
from .leak import LEAK
from .poison import BACKDOOR, MISREAD, POISON
from .property import PROPERTY
from .smuggle import SMUGGLE
from .sponge import SPONGE
from .stall import STALL

KINDS: dict[str, Kind] = {
    "poison": POISON, "backdoor": BACKDOOR, "misread": MISREAD, "infer": INFER, "audit": AUDIT, "copy": COPY,
    "stall": STALL, "smuggle": SMUGGLE,
    "attribute": ATTRIBUTE, "property": PROPERTY, "invert": INVERT, "leak": LEAK,
    "drill": DRILL, "harvest": HARVEST, "sponge": SPONGE, "fetch": FETCH, "adopt": ADOPT,
    "federated": FEDERATED,
}  # fmt: skip

__all__ = ["KINDS", "Built", "Judging", "Kind"]
