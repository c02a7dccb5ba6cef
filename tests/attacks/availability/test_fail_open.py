"""A drill: each fault, each way to meet it, and what a system decides then."""

import threading
import time

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import casemate as cm
from casemate.attacks.availability._faults import FAULTS
from casemate.attacks.availability.fail_open import FailOpen
from casemate.core.availability import Drill, Drilled
from casemate.core.errors import BadInput, TargetFailed
from casemate.core.goal import Becomes, Routed, Wrong
from casemate.core.target import REJECT
from casemate.judges import drill
from casemate.runs.kinds.drill import decides
from casemate.testing import check_attack

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3))
Y = (X[:, 0] > 0).astype(int)
MODEL = LogisticRegression().fit(X, Y)
TARGET = cm.wrap(MODEL)
USUAL = TARGET.respond(X).label
REFUSED = X[USUAL == 1][:8]  # class 0 is granted; these are not
GOOD = np.ones(8, int)


GRANTED = Becomes(0)


def case(fallback, goal=GRANTED, **more):
    return Drill(**{"x": REFUSED, "y": GOOD, "usual": GOOD, "fallback": fallback, "goal": goal} | more)


def on_error(answer):
    """The usual way round a model: whatever goes wrong, one answer."""

    def fallback(model):
        def decide(x):
            try:
                label = model.respond(x).label
                if len(label) != len(x) or not np.isfinite(label).all():
                    raise ValueError("nonsense")
            except Exception:
                return np.full(len(x), answer)
            return label

        return decide

    return fallback


def trusting(model):
    """Nothing is caught and nothing is looked at."""
    return lambda x: model.respond(x).label


def threshold(model):
    """Refused from a score of 0.5 on: NaN is not 0.5 or more, so it is granted."""
    return lambda x: (model.predict_proba(x)[:, 1] >= 0.5).astype(int)


def test_it_keeps_the_contract():
    check_attack("availability.fail_open")


def test_allowing_on_error_is_open_under_every_fault():
    found = cm.run("availability.fail_open", TARGET, case(on_error(0)))
    assert str(found.verdict) == "broken" and found.rate == 1.0 and found.n == len(FAULTS)
    assert found.extra["open"] == list(FAULTS)
    assert found.spent["queries"] == 0 and found.spent["judge"] == len(REFUSED)


@pytest.mark.parametrize("answer", [1, REJECT])
def test_denying_or_queueing_holds_under_every_fault(answer):
    found = cm.run("availability.fail_open", TARGET, case(on_error(answer)))
    assert str(found.verdict) == "resisted" and found.rate == 0.0
    assert all(("queued" if answer == REJECT else "held") in words for words in found.extra["faults"].values())


def test_a_comparison_with_nan_is_the_one_that_is_open():
    found = cm.run("availability.fail_open", TARGET, case(threshold))
    assert found.extra["open"] == ["nan"]
    assert found.extra["faults"]["raises"] == "error to the caller: RuntimeError"
    assert found.extra["faults"]["short"].startswith("malformed")
    assert str(found.verdict) == "broken" and found.rate == pytest.approx(1 / len(FAULTS))


def test_trusting_code_hands_errors_to_the_caller_and_is_not_open():
    found = cm.run("availability.fail_open", TARGET, case(trusting))
    assert str(found.verdict) == "resisted"
    assert found.extra["faults"]["hangs"] == "error to the caller: TimeoutError"
    assert found.extra["faults"]["nan"] == "malformed: NaN in place of decisions"


def test_the_goal_decides_what_is_open():
    """A constant 2 is nobody's goal of becoming 0, yet wrong for everybody, and a route of its own."""
    deaf = on_error(2)
    assert cm.run("availability.fail_open", TARGET, case(deaf, Becomes(0))).rate == 0.0
    assert cm.run("availability.fail_open", TARGET, case(deaf, Wrong())).rate == 1.0
    assert cm.run("availability.fail_open", TARGET, case(deaf, Routed())).rate == 1.0
    assert cm.run("availability.fail_open", TARGET, case(on_error(1), Wrong())).rate == 0.0  # right by luck is not open


def test_a_timeout_of_its_own_is_seen():
    def impatient(model):
        from concurrent.futures import ThreadPoolExecutor, TimeoutError

        def decide(x):
            pool = ThreadPoolExecutor(1)
            try:
                return pool.submit(model.respond, x).result(timeout=0.01).label
            except TimeoutError:
                return np.zeros(len(x), int)
            finally:
                pool.shutdown(wait=False)

        return decide

    found = cm.run(FailOpen(faults=("hangs",), patience=0.15), TARGET, case(impatient))
    assert found.extra["open"] == ["hangs"]


def test_a_system_that_asks_for_ever_is_cut():
    def stubborn(model):
        def decide(x):
            while True:
                try:
                    return model.respond(x).label
                except Exception:
                    time.sleep(0.001)

        return decide

    began = time.perf_counter()
    found = cm.run(FailOpen(faults=("raises",), patience=0.02), TARGET, case(stubborn))
    assert found.extra["faults"]["raises"] == "no answer" and str(found.verdict) == "resisted"
    assert time.perf_counter() - began < 3


@pytest.mark.parametrize("ask", [
    lambda m: lambda x: m.predict(x), lambda m: lambda x: m.predict_proba(x).argmax(1),
    lambda m: lambda x: (m.decision_function(x) > 0).astype(int),
])  # fmt: skip
def test_a_model_is_asked_as_its_library_is(ask):
    found = cm.run("availability.fail_open", TARGET, case(ask))
    assert next(c for c in found.health if c.number == 60).ok


def test_a_network_is_called_with_tensors():
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(3, 2)
    target = cm.wrap(net.eval())
    x = REFUSED.astype(np.float32)
    usual = np.asarray(target.respond(torch.as_tensor(x)).label)

    def decides(model):
        return lambda x: (model(torch.as_tensor(x)).softmax(1)[:, 1] > 2).long()  # never class 1

    found = cm.run("availability.fail_open", target, Drill(x=x, y=usual, usual=usual, fallback=decides, goal=Becomes(5)))
    assert found.extra["faults"]["none"].startswith("error to the caller")


def test_a_fallback_that_is_not_the_deployed_system_does_not_resist():
    found = cm.run("availability.fail_open", TARGET, case(lambda model: lambda x: np.full(len(x), REJECT)))
    assert str(found.verdict) == "inconclusive" and "60" in found.reasons[-1]


def test_a_claim_that_does_not_come_out_again_is_no_claim():
    made = case(on_error(REJECT))
    lie = Drilled(decided={"raises": np.zeros(8, int)})
    opinion = drill.judge(made, lie, again=lambda fault: (np.full(8, REJECT), ""), working=GOOD)
    assert not opinion.broken and not opinion.checks[0].ok
    short = drill.judge(made, Drilled(decided={"raises": np.zeros(3, int)}), again=lambda fault: (None, ""), working=GOOD)
    assert not short.broken and "shape" in short.why[0]


@pytest.mark.parametrize(("changes", "words"), [
    ({"x": REFUSED[:0], "y": GOOD[:0], "usual": GOOD[:0]}, "no rows"), ({"usual": GOOD[:3]}, "usual has shape"),
    ({"usual": 0 * GOOD}, "decided as the attacker wants"), ({"fallback": None}, "no function"), ({"classes": 1}, "classes=1"),
])  # fmt: skip
def test_bad_cases_are_refused(changes, words):
    with pytest.raises(BadInput, match=words):
        cm.run("availability.fail_open", TARGET, case(**{"fallback": trusting} | changes))


@pytest.mark.parametrize("bad", [{"faults": ("explodes",)}, {"faults": ()}, {"patience": 0.0}, {"patience": float("nan")}])
def test_bad_parameters_are_refused(bad):
    with pytest.raises(BadInput, match="fail_open"):
        FailOpen(**bad)


def test_the_same_seed_gives_the_same_evidence():
    first, again = (cm.run("availability.fail_open", TARGET, case(on_error(0))) for _ in range(2))
    assert first.digest() == again.digest()


def test_a_bound_function_that_never_answers_holds_up_neither_the_drill_nor_the_process():
    over, began = threading.Event(), time.monotonic()
    assert decides(lambda: over.wait(60), 0.1) is None
    assert time.monotonic() - began < 5
    assert all(thread.daemon for thread in threading.enumerate() if thread.name.startswith("drill"))
    over.set()
    assert decides(lambda: 3, None) == 3

    def down():
        raise TargetFailed("the deployed model is down")

    with pytest.raises(TargetFailed, match="deployed model"):
        decides(down, 1.0)


@pytest.mark.parametrize("name", ["usual", "y"])
def test_words_in_a_drill_are_refused_and_not_blamed_on_the_fallback_regression(name):
    given = {"x": np.zeros((2, 2)), "y": np.ones(2, int), "usual": np.ones(2, int), name: np.array(["no", "no"])}
    with pytest.raises(cm.BadInput, match=f"{name} has words such as 'no', and a decision is a number; give target.respond"):
        Drill(fallback=lambda model: model.predict, **given)
