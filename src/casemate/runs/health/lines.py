"""From counters to named lines: one for each check, in the order of their numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ...core.evidence import Check
from ..driver import LATE
from ..part import Part, merge_rows
from .material import abstention

NAMES = {
    1: "threat model stated", 2: "target untouched", 3: "holds in transport precision", 4: "claims inside the constraint",
    5: "randomness declared", 6: "scores not saturated", 7: "slopes alive", 8: "slopes agree with the loss",
    9: "loss is steady", 10: "no silent success", 11: "finished optimising", 12: "more steps change nothing",
    13: "transfers as on the surrogate", 14: "breaks without a radius", 15: "a larger radius breaks no less",
    16: "no row falls to a weaker attack only", 17: "black box does not beat white box", 18: "no row falls to chance only",
    19: "no gradients at inference", 20: "loss fits the classes", 21: "accuracy and abstention",
    22: "breaks without each defence",
    23: "budget kept", 24: "sample large enough", 25: "wrong at the start listed apart", 26: "repeats",
    27: "rows are distinct", 28: "claims are valid", 29: "breaks a known weak target", 30: "no claim below a certified bound",
    39: "the attack asked", 40: "ran to its end", 41: "some allowed change was tried",
}  # fmt: skip
JUMPY = 0.1  # mean relative change of the loss, between points a hundredth of the radius apart
AHEAD = 0.002  # by how much a black box may break more rows before it says that slopes are masked (AutoAttack's own)
THROUGH_SOFTMAX = (
    "evasion.fgsm", "evasion.pgd", "evasion.apgd_ce", "evasion.patch", "evasion.universal", "evasion.universal_patch",
    "evasion.constrained_pgd", "evasion.ddn",
)  # fmt: skip
LOSES_CLASSES = ("evasion.apgd_dlr", "evasion.apgd_t", "evasion.autoattack")


class _Counts:
    """The counters of all cells of one attack."""

    def __init__(self, attack: Any, parts: Sequence[Part]) -> None:
        self.attack, self._parts = attack, parts
        self.rows = merge_rows(parts)
        self.attacked = int(self.rows["right"].sum())

    def total(self, name: str) -> int:
        return sum(int(part.facts.get(name, 0)) for part in self._parts)

    def mean(self, name: str) -> float:
        found = [float(part.facts[name]) for part in self._parts if name in part.facts]
        return float(np.mean(found)) if found else 0.0

    def seen(self, name: str) -> bool:
        return any(name in part.facts for part in self._parts)

    def all(self, name: str) -> bool:
        return all(part.facts.get(name, True) for part in self._parts)

    def first(self, name: str) -> Any:
        return next((part.facts[name] for part in self._parts if part.facts.get(name)), None)

    def each(self, name: str) -> list[Any]:
        return [part.facts[name] for part in self._parts if name in part.facts]


def checks(attack: Any, parts: Sequence[Part]) -> tuple[Check, ...]:
    """The named lines of one attack, from the counters of all its cells. What does not apply says so, and why.

    Checks 15 to 18 and 24 compare attacks or need the whole sample: whoever has that adds them.
    """
    counts = _Counts(attack, parts)
    return tuple(sorted((line for make in _LINES for line in make(counts)), key=lambda check: check.number))


def line(number: int, ok: bool | None, detail: str, fatal: bool = True) -> Check:
    """A check by its number."""
    return Check(number, NAMES[number], ok, detail, fatal=fatal)


def absent(number: int, why: str) -> Check:
    """A check that does not apply here."""
    return Check(number, NAMES[number], None, f"does not apply: {why}", fatal=False, applies=False)


Lines = Iterator[Check]


def _always(c: _Counts) -> Lines:
    stated = c.first("stated")
    if stated is not None:
        missing = [name for name, there in stated.items() if there is False]
        said = f"not stated: {', '.join(missing)}" if missing else f"who, goal, access; budget: {stated['budget']}"
        yield line(1, not missing, said, fatal=False)
    changed, kept = c.total("answers_changed"), c.all("state_kept")
    detail = "hash before and after"
    if changed:
        detail = f"the target changed during the run: {changed} rows are answered otherwise than before it"
    elif c.seen("answers_changed"):
        detail += "; the first rows asked again"
    yield line(2, kept and not changed, detail)
    outside = c.total("outside")
    yield line(4, not outside, f"{outside} outside, counted as failed")
    seen = c.total("random_seen")
    yield line(5, not seen or c.total("random_declared") > 0,
               "the same input gets different answers" if seen else "answers repeat")  # fmt: skip
    yield line(23, c.all("budget_kept"), "ledger against budget, by row")


def _silent(c: _Counts) -> Lines:
    believed, forgotten = c.total("silent"), c.total("forgotten")
    detail = f"{believed} rows believed broken, not seen so by the judge"
    detail += f"; in {forgotten} an answer met the goal and was not claimed" if forgotten else ""
    yield line(10, not believed and not forgotten, detail)


def _transport(c: _Counts) -> Lines:
    if not c.seen("transported"):
        yield absent(3, "inputs are not stored as 8-bit images")
        return
    lost, n = c.total("lost_on_the_way"), c.total("transported")
    detail = f"{lost} of {n} claims fail once rounded to 256 levels, as the unchanged inputs are"
    yield line(3, lost <= 0.01 * n, detail, fatal=False)


def _saturated(c: _Counts) -> Lines:
    if not c.seen("saturated"):
        yield absent(6, "no scores are shown")
        return
    rows, probabilities = c.total("saturated"), c.total("probabilities") > 0
    detail = f"{rows} rows with a score above 1 - 1e-7"
    detail += "; the model returns probabilities, not logits" if probabilities else ""
    # A saturated softmax takes the slope of what goes through it; margins and ratios of logits do not.
    yield line(6, not rows and not probabilities, detail, fatal=c.attack.info.id in THROUGH_SOFTMAX)


def _slopes(c: _Counts) -> Lines:
    if not c.seen("dead_slopes"):
        yield from (absent(number, "the attack takes no slopes of the target") for number in (7, 8, 9))
        return
    dead = c.total("dead_slopes")
    yield line(7, dead == 0, f"{dead} rows with no or no finite slope")
    if c.seen("slopes_compared"):
        crooked, n, stages = c.total("crooked"), c.total("slopes_compared"), c.first("stand_ins")
        detail = f"{crooked} of {n} rows whose slope and loss disagree along 16 directions"
        detail += f"; {', '.join(stages)}: passed by a declared stand-in" if stages else ""
        yield line(8, crooked == 0 or bool(stages), detail)
    else:
        yield absent(8, "the target is random, or there is no ball to move in")
    if c.seen("jumps"):
        jumps = c.mean("jumps")
        yield line(9, jumps <= JUMPY, f"the loss changes by {100 * jumps:.2g} % within a hundredth of the radius", fatal=False)
    else:
        yield absent(9, "the target is random, or there is no radius")


def _finished(c: _Counts) -> Lines:
    """Check 11. Where too few rows were measured, nobody knows."""
    if not c.seen("unmeasured"):
        yield absent(11, "the attack does not optimise row by row")
        return
    improving, unmeasured = int(c.rows["improving"].sum()), c.total("unmeasured")
    few = 0.05 * max(1, c.attacked)
    detail = f"{improving} of {c.attacked} rows still improving"
    detail += f"; {unmeasured} not measured: too few steps, or no distance was noted" if unmeasured else ""
    yield line(11, False if improving > few else None if unmeasured > few else True, detail)


def _longer(c: _Counts) -> Lines:
    if not c.seen("doubled_rows"):
        yield absent(12, "no row stood, a budget ended the attack, or it has no number of steps to double")
        return
    fell, n = c.total("doubled_fell"), c.total("doubled_rows")
    yield line(12, fell <= 0.05 * n, f"with twice the steps {fell} of {n} rows fall that stood")


def _surrogate(c: _Counts) -> Lines:
    if not c.seen("transferred_rows"):
        yield absent(13, "the attack uses no public parent")
        return
    on, off, n = c.total("on_parent"), c.total("on_target"), c.total("transferred_rows")
    weak = on < 0.5 * n and off < n
    detail = f"{on} of {n} claims fool the parent, {off} the target"
    yield line(13, not weak, detail + ("; the attack fails on its own surrogate" if weak else ""))


def _unbounded(c: _Counts) -> Lines:
    if c.seen("unbounded_rows"):
        rows, fell = c.total("unbounded_rows"), c.total("unbounded_broken")
        yield line(14, fell >= 0.95 * rows, f"with no radius {fell} of {rows} rows break")
    elif c.seen("unbounded_error"):
        yield line(14, None, str(c.first("unbounded_error")))
    else:
        yield absent(14, "no row stood, the constraint has no radius, or the attack learns from all rows together")


def _inference(c: _Counts) -> Lines:
    if not c.seen("graphs"):
        yield absent(19, "nothing here can differentiate")
        return
    graphs = c.total("graphs")
    detail = "answering differentiates: the target optimises or purifies, and an attack must go through that"
    yield line(19, not graphs, detail if graphs else "none", fatal=c.seen("dead_slopes"))


def _classes(c: _Counts) -> Lines:
    classes = c.first("classes") or c.first("classes_seen")
    ids = [stage["attack"] for stage in c.first("stages") or []] or [c.attack.info.id]
    ratio = [id for id in ids if id in LOSES_CLASSES]
    if not ratio or classes is None:
        yield absent(20, "the loss is defined for any number of classes")
        return
    few = int(classes) < 4
    detail = f"{classes} classes" + (f": {', '.join(ratio)} climbed the margin instead of the logit ratio" if few else "")
    yield line(20, True, detail, fatal=False)


def _accuracy(c: _Counts) -> Lines:
    n = len(c.rows["right"])
    before, after = abstention(c.rows["label_before"]), c.total("rejected_after")
    detail = f"{c.attacked} of {n} right at the start"
    detail += f"; rejected {before} before, {after} of those attacked after" if before or after else ""
    yield line(21, None, detail, fatal=False)


def _ablated(c: _Counts) -> Lines:
    runs = c.each("ablated")
    if not runs:
        yield absent(22, "no row stood, or there is no defence to take out")
        return
    total: dict[str, list[int]] = {}
    for run in runs:
        for name, (rows, fell) in run.items():
            old = total.get(name, [0, 0])
            total[name] = [old[0] + int(rows), old[1] + int(fell)]
    said = [f"without {name} {fell} of {rows} break" for name, (rows, fell) in total.items()]
    yield line(22, None, "; ".join(said), fatal=False)


def _apart(c: _Counts) -> Lines:
    """How many rows were not attacked; where all of them, what labels and decisions look like."""
    rows = c.rows
    n = len(rows["right"])
    detail = f"{n - c.attacked} of {n} rows"
    y, decided = np.asarray(rows["truth"]), np.asarray(rows["label_before"])
    if not c.attacked and n and not np.array_equal(y, decided):
        if y.dtype.kind not in "iufb" or decided.dtype.kind not in "iufb":
            detail = f"{detail}; labels y like {y[0]!s}, decisions like {decided[0]!s}: do they share one naming?"
        else:
            spans = [f"{side.min():g}..{side.max():g}" for side in (y, decided)]
            detail = f"{detail}; labels y in {spans[0]}, decisions in {spans[1]}: do they share one numbering?"
            if y.dtype.kind in "iub" and decided.dtype.kind == "f" and (decided != np.floor(decided)).any():
                detail += " (One number a row is a regression here, goal=Shift(...); a binary model shows two logits, as "
                detail += "torch.cat([0 * z, z], 1) makes of its one.)"
    yield line(25, None, detail, fatal=False)


def _repeats(c: _Counts) -> Lines:
    if not c.seen("repeated_rows"):
        yield absent(26, "the target is random or remote, keeps state, or the budget ended the attack")
        return
    other, n = c.total("repeated_otherwise"), c.total("repeated_rows")
    yield line(26, not other, f"{other} of {n} rows end otherwise when attacked again alone", fatal=False)


def _sample(c: _Counts) -> Lines:
    marks = [mark for shard in c.each("marks") for mark in shard]
    if not marks:
        yield absent(27, "rows cannot be compared")
        return
    twice, leaked = len(marks) - len(set(marks)), c.total("leaked")
    truth = np.asarray(c.rows["truth"])[np.asarray(c.rows["right"], bool)]
    largest = int(np.unique(truth, return_counts=True)[1].max(initial=0)) if truth.dtype.kind in "iub" else 0
    detail = f"{twice} there twice, {leaked} in the training data"
    detail += f", {largest} of {c.attacked} of one class" if largest > 0.8 * max(1, c.attacked) else ""
    yield line(27, not twice and not leaked, detail, fatal=False)


def _valid(c: _Counts) -> Lines:
    if c.first("kind") in (None, "Ball"):
        yield absent(28, "any point of the ball is an input")
        return
    outside = c.total("outside")
    yield line(28, not outside, f"{outside} claims break the rules of their kind ({c.first('kind')})")


def _control(c: _Counts) -> Lines:
    if not c.seen("control_rows"):
        yield absent(29, "made for attacks that take slopes inside a ball")
        return
    rows, fell = c.total("control_rows"), c.total("control_fell")
    yield line(29, fell >= 0.85 * rows, f"{fell} of {rows} rows of a linear model fall at 1.5 times their exact distance")


def _certified(c: _Counts) -> Lines:
    if not c.seen("bounded"):
        yield absent(30, "nothing certifies this target")
        return
    below = c.total("below_bound")
    yield line(30, not below, f"{below} of {c.total('bounded')} claims below their bound: an error in one of the two")


def _compared(c: _Counts) -> Lines:
    """What a cascade can tell by itself; an assessment, which has other attacks to compare with, says more."""
    ends = [(stage, s) for shard in c.each("stages") for stage, s in enumerate(shard)]
    slopes = any(s["spent"]["gradients"] for _, s in ends)
    felt = sum(s["fell"] for _, s in ends if not s["spent"]["gradients"] and s["attack"] != "evasion.noise") if slopes else 0
    for number in (15, 16, 18):
        yield absent(number, "no other attack on the same rows")
    if slopes:
        masked = felt > AHEAD * max(1, c.attacked)
        yield line(17, not masked, f"{felt} rows stood against slopes and fell to attacks that take none")
    else:
        yield absent(17, "no other attack on the same rows")


def _asked(c: _Counts) -> Lines:
    if c.seen("unasked"):
        unasked = c.total("unasked")
        yield line(39, not unasked, f"{unasked} of {c.attacked} rows attacked without one call")


def _moved(c: _Counts) -> Lines:
    """Check 41: of an own constraint that leads every step back to the input, nothing was shown."""
    if not c.seen("moved"):
        yield absent(41, "made for constraints of one's own that project")
        return
    moved = c.total("moved") > 0
    yield line(41, moved, "points moved" if moved else "no point inside the constraint differs from its input: see project")


def _stages(c: _Counts) -> Lines:
    """Check 40: a clock that ran out is no budget of the adversary's; it says how long somebody was ready to wait."""
    left = [f"{s['attack']}: {s['stopped']}" for shard in c.each("stages") for s in shard if s["stopped"].startswith(LATE)]
    left = left or [stopped for stopped in c.each("stopped") if stopped.startswith(LATE)]
    yield line(40, not left, "; ".join(dict.fromkeys(left)) or "no clock ended it")


_LINES: tuple[Callable[[_Counts], Lines], ...] = (
    _always, _transport, _saturated, _slopes, _silent, _finished, _longer, _surrogate, _unbounded, _inference, _classes,
    _accuracy, _ablated, _apart, _repeats, _sample, _valid, _control, _certified, _compared, _asked, _stages, _moved,
)  # fmt: skip
