"""Costly inputs against exact answers: every leaf of small trees, every point of a grid, a threshold known in closed form."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import casemate as cm
from casemate.attacks.availability.deep_paths import DeepPaths
from casemate.attacks.availability.slow_exit import SlowExit
from casemate.attacks.availability.sponge import SpongeInputs
from casemate.controls.service.query_budget import QueryBudget
from casemate.core.adversary import Adversary, Budget, Need, researcher
from casemate.core.availability import Heavy, Sponge, Work
from casemate.core.case import Load
from casemate.core.errors import BadInput, NotGranted
from casemate.core.evidence import Verdict
from casemate.judges import sponge
from casemate.targets.combined import Cascade
from casemate.targets.pipeline import Pipeline
from casemate.targets.work import depths, paths, work_of
from casemate.testing import check_attack

RNG = np.random.default_rng(0)
X = RNG.uniform(size=(200, 3))
Y = ((X[:, 0] > 0.5) ^ (X[:, 1] * X[:, 2] > 0.3)).astype(int)
SENDER = Adversary(name="sender", may=Need.SUBMIT)
READER = Adversary(name="reader", may=Need.SUBMIT | Need.STRUCTURE)


def forest(trees, depth=4, seed=0):
    return cm.wrap(ExtraTreesClassifier(trees, max_depth=depth, max_features=1, random_state=seed).fit(X, Y))


def case(target, **more):
    return Sponge(**{"x": X, "work": work_of(target), "low": 0.0, "high": 1.0} | more)


def by_enumeration(target, low, high):
    """The most splits any input of the box passes: one input for every cell that the cuts make of it."""
    trees = target.structure()
    axes = []
    for f in range(trees.width):
        cuts = np.unique(trees.cut[trees.feature == f])
        ends = [np.broadcast_to(end, trees.width)[f] for end in (low, high)]
        axes.append(np.unique(np.clip(np.append(cuts, np.inf), *ends)))
    cells = np.array(list(itertools.product(*axes)))
    return max(float(paths(trees)(part).max()) for part in np.array_split(cells, max(1, len(cells) // 20000)))


@pytest.mark.parametrize("attack", ["sponge", "deep_paths", "slow_exit"])
def test_they_keep_the_contract(attack):
    check_attack(f"availability.{attack}")


# trees


@pytest.mark.parametrize(("trees", "seed", "low", "high"), [(1, 0, 0, 1), (3, 1, 0, 1), (4, 2, 0.3, 0.7), (5, 3, 0.0, 0.4)])
def test_the_deepest_paths_are_those_of_enumeration(trees, seed, low, high):
    target = forest(trees, seed=seed)
    found = cm.run(DeepPaths(nodes=20_000), target, case(target, low=low, high=high), adversary=READER)
    exact = by_enumeration(target, low, high)
    assert found.extra["found"] == exact == found.extra["proven_bound"]
    assert found.extra["exact"] and found.spent["queries"] == 0


def test_a_scaler_in_front_and_a_single_tree():
    model = make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0)).fit(X, Y)
    target = cm.wrap(model)
    found = cm.run("availability.deep_paths", target, case(target), adversary=READER)
    assert found.extra["found"] == model[-1].get_depth() == by_enumeration(target, 0, 1)


def test_ended_early_the_bound_still_holds():
    target = forest(8, depth=8, seed=4)
    few, many = (cm.run(DeepPaths(nodes=n), target, case(target), adversary=READER).extra for n in (1, 3000))
    assert few["found"] <= many["found"] <= many["proven_bound"] <= few["proven_bound"]
    exact = by_enumeration(forest(3, seed=1), 0, 1)
    early = cm.run(DeepPaths(nodes=1), forest(3, seed=1), case(forest(3, seed=1)), adversary=READER).extra
    assert early["found"] <= exact <= early["proven_bound"]


def test_frames_of_numbers_are_taken_and_words_are_refused():
    frame = pd.DataFrame(X, columns=list("abc"))
    target = cm.wrap(RandomForestClassifier(3, max_depth=3, random_state=0).fit(frame, Y))
    found = cm.run("availability.deep_paths", target, case(target, x=frame, low=None, high=None), adversary=READER)
    assert found.extra["found"] == by_enumeration(target, X.min(0), X.max(0))
    words = case(target, x=frame.assign(a="yes"), low=None, high=None)
    with pytest.raises(BadInput, match="columns of numbers; a"):
        next(DeepPaths()(_Structure(target), words, rng=None))


class _Structure:
    def __init__(self, target):
        self.structure = target.structure


def test_the_depth_of_nodes_is_that_of_the_library():
    model = RandomForestClassifier(4, random_state=0).fit(X, Y)
    ours = paths(cm.wrap(model).structure())(X)
    theirs = sum(np.asarray(tree.decision_path(X.astype(np.float32)).sum(1)).ravel() - 1 for tree in model.estimators_)
    np.testing.assert_array_equal(ours, theirs)
    assert depths(cm.wrap(model).structure()).max() == max(tree.get_depth() for tree in model.estimators_)


def test_breeding_comes_near_the_exact_answer_and_pays_for_every_input():
    target = forest(6, depth=9, seed=5)
    exact = cm.run(DeepPaths(nodes=20_000), target, case(target), adversary=READER).extra
    bred = cm.run("availability.sponge", target, case(target, x=X[:40], asks=600), adversary=SENDER)
    assert bred.extra["honest_most"] < bred.extra["found"] <= exact["proven_bound"]
    assert bred.extra["found"] >= 0.93 * exact["found"]
    assert bred.spent["queries"] == bred.extra["asked"] == 600


# neighbours


@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree"])
def test_distances_are_counted_and_the_costliest_point_of_a_grid_is_met(algorithm):
    points = RNG.normal(size=(400, 2)) * [1, 0.2]
    target = cm.wrap(KNeighborsClassifier(3, algorithm=algorithm, leaf_size=10).fit(points, (points[:, 0] > 0).astype(int)))
    work = work_of(target)
    grid = np.array(list(itertools.product(np.linspace(-4, 4, 33), repeat=2)))
    made = Sponge(x=points[:100], work=work, low=-4.0, high=4.0, asks=800)
    found = cm.run("availability.sponge", target, made, adversary=SENDER)
    assert found.extra["found"] >= 0.97 * work(grid).max()
    assert found.extra["found"] >= found.extra["honest_most"]


def test_brute_force_does_the_same_work_for_all():
    assert work_of(cm.wrap(KNeighborsClassifier(3, algorithm="brute").fit(X, Y))) is None
    assert work_of(cm.wrap(LogisticRegression().fit(X, Y))) is None


# networks


def relu_net(seed=0, images=False):
    import torch

    torch.manual_seed(seed)
    if images:
        parts = [torch.nn.Conv2d(1, 4, 3, stride=2, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(64, 2)]
    else:
        parts = [torch.nn.Linear(6, 40), torch.nn.ReLU(), torch.nn.Linear(40, 40), torch.nn.ReLU(), torch.nn.Linear(40, 2)]
    return torch.nn.Sequential(*parts).eval()


def test_energy_is_what_a_hand_counts():
    import torch

    net = relu_net()
    target, x = cm.wrap(net), RNG.normal(size=(300, 6)).astype(np.float32)  # more rows than one slice of the adapter
    x[:, 0] *= np.arange(300) % 2
    with torch.no_grad():
        first = net[1](net[0](torch.as_tensor(x)))
        second = net[3](net[2](first))
    inputs, open_ = (x != 0).sum(1), [(h > 0).sum(1).numpy() for h in (first, second)]
    operations = inputs * 40 + open_[0] * 40 + open_[1] * 2
    np.testing.assert_allclose(work_of(target)(x), 3.7 * operations + 1950 * (inputs + open_[0] + open_[1]))
    density = work_of(target).beside["activation density"](x)
    np.testing.assert_allclose(density, (inputs + open_[0] + open_[1]) / (6 + 40 + 40))


def test_the_energy_of_a_convolution_counts_every_multiplication_by_hand():
    import torch

    net = relu_net(images=True)
    x = (RNG.random((3, 1, 8, 8)) > 0.6).astype(np.float32)
    padded = np.pad(x[:, 0], ((0, 0), (1, 1), (1, 1)))
    met = sum((padded[:, i : i + 3, j : j + 3] != 0).sum((1, 2)) for i in range(0, 8, 2) for j in range(0, 8, 2))
    with torch.no_grad():
        open_ = (net[2](net[1](net[0](torch.as_tensor(x)))) > 0).sum(1).numpy()
    wanted = 3.7 * (4 * met + 2 * open_) + 1950 * ((x != 0).sum((1, 2, 3)) + open_)
    np.testing.assert_allclose(work_of(cm.wrap(net))(x), wanted)


def test_a_slope_finds_more_energy_than_chance_and_leaves_no_hook():
    net = relu_net(3)
    target = cm.wrap(net)
    x = RNG.normal(size=(60, 6)).astype(np.float32).clip(-3, 3)
    made = Sponge(x=x, work=work_of(target), low=-3.0, high=3.0, asks=400, inputs=4)
    climbed = cm.run(SpongeInputs(population=20, steps=25), target, made)
    assert climbed.spent["gradients"] > 0 and climbed.spent["queries"] == 0
    assert climbed.extra["found"] > climbed.extra["honest_most"]
    assert climbed.extra["activation density"]["found"] > climbed.extra["activation density"]["honest_mean"]
    assert not any(part._forward_pre_hooks for part in net.modules())
    random = max(float(work_of(target)(RNG.uniform(-3, 3, (400, 6)).astype(np.float32)).max()), 1.0)
    assert climbed.extra["found"] >= random


def test_a_network_without_kinks_has_no_count():
    import torch

    assert work_of(cm.wrap(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).eval())) is None


# cascades


def cascade(weight, sure=0.9):
    import torch

    first, then = torch.nn.Linear(4, 2).double(), torch.nn.Linear(4, 2).double()
    with torch.no_grad():
        first.weight.copy_(torch.as_tensor(np.stack([-weight / 2, weight / 2])))
        first.bias.zero_()
    return Pipeline(model=Cascade(first=cm.wrap(first.eval()), then=cm.wrap(then.eval()), sure=sure))


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("sure", [0.7, 0.9])
def test_a_cascade_goes_the_whole_way_at_the_exact_distance_and_no_nearer(norm, sure):
    """The first model is unsure where |w x| is below the log-odds of its threshold: a slab at a known distance."""
    weight = np.array([3.0, -1.0, 2.0, 0.5])
    target = cascade(weight, sure)
    x = RNG.uniform(-3, 3, (80, 4))
    margin = np.abs(x @ weight)
    slab = np.log(sure / (1 - sure))
    size = np.abs(weight).sum() if norm == "linf" else np.linalg.norm(weight)
    away = (margin - slab) / size
    x, away = x[away > 0.1][:30], away[away > 0.1][:30]
    for i in range(0, len(x), 6):
        for factor, models in ((0.99, 1.0), (1.02, 2.0)):
            within = cm.Ball(norm, factor * away[i], low=-9.0, high=9.0)
            made = Sponge(x=x[i : i + 1], work=work_of(target), within=within, inputs=1)
            found = cm.run("availability.slow_exit", target, made)
            assert float(found.rows["work"].max()) == models, (i, factor)


def test_every_input_goes_the_whole_way_and_the_share_of_it_is_told():
    target = cascade(np.array([3.0, -1.0, 2.0, 0.5]))
    x = RNG.uniform(-3, 3, (200, 4))
    x = x[np.abs(x @ [3.0, -1.0, 2.0, 0.5]) > 2.5][:60]
    found = cm.run("availability.slow_exit", target, Sponge(x=x, work=work_of(target), low=-3.0, high=3.0))
    assert found.verdict is Verdict.BROKEN and found.rate == 2.0 and found.extra["share_of_most"] == 1.0
    assert (found.rows["work"] == 2).all() and len(found.rows["work"]) == 10


def test_a_cascade_in_a_cascade_counts_each_model():
    inner = cascade(np.ones(4), 0.8)
    outer = Pipeline(model=Cascade(first=cascade(np.ones(4), 0.6).model.first, then=inner, sure=0.6))
    work = work_of(outer)
    x = np.array([[9.0] * 4, [0.2] * 4, [0.0] * 4])  # odds of 36, 0.8 and 0: sure of the first; of the second; of neither
    assert work.most == 3 and work(x).tolist() == [1, 1, 3]
    assert work(np.full((1, 4), 0.09)).tolist() == [3] and work(np.full((1, 4), 0.101)).tolist() == [3]


# texts


def backtracks(text):
    """Steps of a matcher of (a+)+$ that goes back over every way to split a run: 2 ** run, where it does not end there."""
    runs = re.findall("a+", text.rstrip("a"))
    return min(2.0 ** max(map(len, runs), default=0), 1e12)


def reader():
    return cm.wrap(lambda x: np.array([len(one) % 2 for one in x]), output="labels", classes=2, name="reader")


def test_a_text_that_makes_a_matcher_go_back_is_bred():
    honest = [f"banana {i} salad" for i in range(40)]
    made = Sponge(x=honest, work=Work(count=lambda x: [backtracks(one) for one in x], name="steps"), longest=60, asks=600)
    found = cm.run("availability.sponge", reader(), made, adversary=SENDER)
    assert found.verdict is Verdict.BROKEN and found.extra["found"] >= 2.0**20
    assert all(len(one) <= 60 for one in found.claims.x)


def test_files_are_bred_as_texts_are():
    honest = [bytes([i, 1, 2, 3]) for i in range(30)]
    work = Work(count=lambda x: [one.count(b"\x00") + 1 for one in x], name="zeros")
    found = cm.run("availability.sponge", reader(), Sponge(x=honest, work=work, asks=400), adversary=SENDER)
    assert found.extra["found"] > 3 * found.extra["honest_most"] and len(found.claims.x[0]) <= 16


def test_rows_of_words_are_bred_too():
    frame = pd.DataFrame({"job": ["none", "clerk"] * 20, "debts": np.arange(40) % 5})
    work = Work(count=lambda x: (x["job"].to_numpy() == "clerk") * 10 + x["debts"].to_numpy(), name="checks")
    target = cm.wrap(lambda x: np.zeros(len(x), int), output="labels", classes=2, name="table")
    found = cm.run("availability.sponge", target, Sponge(x=frame, work=work, asks=120), adversary=SENDER)
    assert found.extra["found"] == 14.0


# budgets, refusals, judging


def test_what_is_refused_is_not_seen_and_a_budget_ends_it():
    target = forest(4)
    budget = Budget(queries=37)
    found = cm.run("availability.sponge", target, case(target), adversary=SENDER, budget=budget)
    assert found.spent["queries"] == 37
    met = cm.run("availability.sponge", target, case(target, asks=100), adversary=SENDER, controls=[QueryBudget(rows=15)])
    assert met.spent["refused"] == 85
    none = cm.run("availability.sponge", target, case(target), adversary=SENDER, budget=Budget(queries=0))
    assert none.verdict is Verdict.INCONCLUSIVE and none.n == 0


def test_what_is_needed_is_asked_for():
    target = forest(2)
    with pytest.raises(NotGranted):
        cm.run("availability.deep_paths", target, case(target), adversary=SENDER)
    ball = case(target, within=cm.Ball("linf", 0.1))
    with pytest.raises(BadInput, match=r"availability\.sponge"):
        cm.run("availability.deep_paths", target, ball, adversary=READER)


def test_within_a_ball_every_claim_is_a_change_of_its_origin():
    target = forest(6, depth=6, seed=5)
    ball = cm.Ball("l2", 0.2)
    found = cm.run("availability.sponge", target, case(target, within=ball, asks=300), adversary=SENDER)
    assert ball.check(found.claims.x, X[found.claims.origin]).all()
    assert not any(check.ok is False for check in found.health if check.number == 4)


WORK = Work(count=lambda x: np.asarray(x)[:, 0], name="first value", unit="ms")
HONEST = np.linspace(0.1, 1.0, 50)[:, None]


def judged(top, claim=None, **more):
    made = Sponge(**{"x": HONEST, "work": WORK, "high": 10.0, "low": 0.0} | more)
    return sponge.judge(made, claim or Heavy(x=np.array([[top], [0.5]])), queries=9)


def test_the_line_is_a_factor_on_the_costliest_honest_input():
    assert judged(1.11).broken and judged(1.11).queries == 9
    between = judged(1.05)
    assert not between.broken and "no more than 1.1 times" in between.undecided
    assert not judged(0.9).undecided
    proven = judged(0, Heavy(x=np.array([[1.05]]), bound=1.05))
    assert not proven.undecided and not proven.broken
    opinion = judged(2.0)
    assert opinion.rate == 2.0 and opinion.extra["to_mean"] == pytest.approx(2 / HONEST.mean())
    low, high = opinion.extra["to_mean_interval"]
    assert low < 2 / HONEST.mean() < high
    assert opinion.extra["honest_beyond_at_most"] == pytest.approx(1 - 0.05 ** (1 / 50))


def test_a_search_that_could_not_begin_concludes_nothing():
    """A few queries all go to honest inputs: that none is costlier than the costliest says nothing."""
    target = forest(6, depth=9, seed=5)
    found = cm.run("availability.sponge", target, case(target, asks=30), adversary=SENDER)
    assert found.verdict is not Verdict.RESISTED and found.extra["bred"] < 50


def test_few_honest_inputs_decide_nothing():
    few = judged(5.0, x=HONEST[:19])
    assert not few.broken and not next(c for c in few.checks if c.number == 61).ok


@pytest.mark.parametrize(("claim", "words"), [
    (Heavy(x=np.array([[11.0]])), "outside the domain"), (Heavy(x=np.array([[np.nan]])), "finite"),
    (Heavy(x=np.zeros((11, 1))), "11 inputs"), (Heavy(x=np.zeros((0, 1))), "0 inputs"), (Heavy(x=np.zeros((1, 2))), "shape"),
])  # fmt: skip
def test_a_claim_that_breaks_the_rules_is_worth_nothing(claim, words):
    opinion = judged(0, claim)
    assert not opinion.broken and words in opinion.why[0]


def test_a_bound_below_what_was_found_is_no_bound():
    assert not judged(0, Heavy(x=np.array([[2.0]]), bound=1.5)).checks[0].ok


@pytest.mark.parametrize(("changes", "words"), [
    ({"x": X[:0]}, "no rows"), ({"work": len}, "counts nothing"), ({"inputs": 0}, "inputs=0"), ({"asks": 1.5}, "asks=1.5"),
    ({"factor": 0.5}, "factor=0.5"), ({"x": X * np.nan}, "not finite"), ({"low": 2.0}, "ends of the domain"),
    ({"x": ["a"], "longest": 0, "low": None, "high": None}, "no room"),
    ({"work": Work(count=lambda x: np.full(len(x), -1.0))}, "from 0"), ({"work": Work(count=lambda x: [1.0])}, "for each"),
])  # fmt: skip
def test_bad_cases_are_refused(changes, words):
    target = forest(2)
    with pytest.raises(BadInput, match=words):
        cm.run("availability.sponge", target, case(target, **changes), adversary=SENDER)


@pytest.mark.parametrize("bad", [
    lambda: SpongeInputs(population=1), lambda: SpongeInputs(mutate=0.0), lambda: SpongeInputs(size=0.0),
    lambda: DeepPaths(nodes=0), lambda: SlowExit(size=0.0), lambda: SlowExit(steps=0),
])  # fmt: skip
def test_bad_parameters_are_refused(bad):
    with pytest.raises(BadInput, match=r"availability\."):
        bad()


def test_time_is_told_and_no_part_of_what_repeats():
    target = forest(4)
    first, again = (cm.run("availability.sponge", target, case(target, asks=80), adversary=SENDER) for _ in range(2))
    assert first.digest() == again.digest()
    assert first.extra["honest_median_seconds"] > 0 and first.extra["costliest_median_seconds"] > 0
    assert isinstance(first.claims, Heavy) and not isinstance(first.claims, Load) and researcher().may
