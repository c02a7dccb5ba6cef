"""The loans example says that what the model does not answer is queued. A drill shows it."""

from pathlib import Path

import casemate as cm
from casemate.runs.bench import open_bench
from casemate.runs.kinds.drill import DRILL
from casemate.threats.load import load

LOANS = Path(__file__).parents[2] / "examples" / "loans" / "system.yaml"


def test_what_the_model_does_not_answer_goes_to_a_clerk():
    bench = open_bench(load(LOANS), "scoring")
    case = DRILL.build(bench, None).case
    assert (case.usual == 1).all() and len(case.usual) > 10  # who is declined wants to be granted
    found = cm.run("availability.fail_open", bench.target, case)
    assert str(found.verdict) == "resisted" and len(found.extra["faults"]) == 6
    assert all(words.startswith("queued") for words in found.extra["faults"].values())
