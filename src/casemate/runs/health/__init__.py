"""Health of an attack: could it have succeeded at all? The checks and their numbers are those of Carlini et al. 2019, Croce
and Hein 2020 and Pintor et al. 2022 as docs/reference/health.md lists them; a fatal one that fails turns `resisted` into
`inconclusive`.

`measure` runs inside a cell, on a few rows, and charges what it asks to the ledger's ``health``. `checks` turns the
counters of all cells of one attack into named lines.
"""

from .lines import checks
from .measure import measure
from .probes import unsteady
from .witness import ASKING, FEW, UNBOUNDED_QUERIES, Witness, differ

__all__ = ["ASKING", "FEW", "UNBOUNDED_QUERIES", "Witness", "checks", "differ", "measure", "unsteady"]
