"""Defects found in other libraries, each as a test here. docs/reference/peer-defects.md lists them all, with the tests of
other files; what none of those holds is here, under the number of its row."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import casemate as cm
from casemate.attacks import APGD, FGSM, PGD, ConstrainedPGD, HopSkipJump, Standard
from casemate.core.attack import attacks
from casemate.judges.statistics import clopper_pearson
from casemate.testing import attack_contract
from casemate.testing.fakes import fakes
from casemate.testing.toys import constant, linear

torch.set_num_threads(1)
ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "reference" / "peer-defects.md"


def evade(toy, n=20, radius=0.2, norm="linf", dtype="float64"):
    x, y = toy.inputs(n, dtype=dtype)
    return cm.Evade(x, y, cm.Ball(norm, radius, toy.low, toy.high))


class Recorded(nn.Module):
    """A model that remembers what it was asked."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.asked = inner, Asked()
        self.eval()

    def forward(self, x):
        self.asked.points.append(x.detach().clone())
        return self.inner(x)


class Asked:
    """Questions, hidden from the hash of the target: to remember them is no change."""

    def __init__(self):
        self.points = []

    def __getstate__(self):
        return None


# -- names and definitions ------------------------------------------------------------------------------------------------


def test_g10_a_name_means_what_the_literature_means_by_it_regression():
    whole = attacks.get("AutoAttack")
    assert whole.info.id == "evasion.autoattack"
    assert [attacks.get(name).info.id for name in ("APGD-CE", "APGD-T", "FAB-T", "C&W", "HSJ")] == [
        "evasion.apgd_ce", "evasion.apgd_t", "evasion.fab_t", "evasion.carlini_wagner", "evasion.hopskipjump",
    ]  # fmt: skip
    evidence = cm.run(whole(), constant_module(), evade(linear(4, (6,)), 2, 0.01), budget=cm.Budget(gradients_per_row=1, queries_per_row=1))
    ids = [stage["attack"] for stage in evidence.extra["stages"]]
    assert ids == ["evasion.apgd_ce", "evasion.apgd_t", "evasion.fab_t", "evasion.square"]


def constant_module():
    class Same(nn.Module):
        """Decides as the toy does, with no slope to follow."""

        def __init__(self):
            super().__init__()
            self.inner = linear(4, (6,)).module("float64")
            self.eval()

        def forward(self, x):
            return self.inner(x.detach()) + 0 * x.sum(1, keepdim=True)

    return Same()


# -- steps and starts -------------------------------------------------------------------------------------------------------


def test_g11_every_restart_of_apgd_begins_at_a_start_of_its_own_regression():
    flat = Recorded(linear(2, (6,)).module("float64"))
    flat.inner[1].weight.zero_()
    flat.inner[1].bias.copy_(torch.tensor([1.0, 0.0]))
    x = np.full((200, 6), 0.5)
    cm.run(APGD(steps=1, restarts=2), flat, cm.Evade(x, np.zeros(200, int), cm.Ball("linf", 0.2)))
    starts = [(points - 0.5).flatten().numpy() for points in flat.asked.points if len(points) == 200 and (points != 0.5).any()]
    first, second = starts[0], starts[2]  # a gradient and a look each, and nothing moves where there is no slope
    np.testing.assert_array_equal(starts[1], first)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.1
    for start in (first, second):
        np.testing.assert_allclose(np.abs(start.reshape(200, 6)).max(1), 0.2, rtol=1e-6)


def test_g11_the_first_step_of_apgd_is_two_radii_long_regression():
    toy = linear(2, (6,))
    model = Recorded(toy.module("float64"))
    case = evade(toy, 8, 0.02)
    cm.run(APGD(steps=1), model, case)
    whole = [points.numpy() for points in model.asked.points if len(points) == len(case) and (points.numpy() != case.x).any()]
    assert (np.abs(whole[0] - case.x) < 0.0199).any()  # the start is inside
    np.testing.assert_allclose(np.abs(whole[1] - case.x), 0.02, rtol=1e-6)  # from any start, a step reaches every face


def probes(size):
    """How long the probes of a jump are, as a share of the distance they are made at: the median over a walk."""
    toy = linear(2, (size,), seed=3)
    model = Recorded(toy.module("float64"))
    x, y = toy.inputs(1, dtype="float64")
    case = cm.Evade(x, y, cm.Ball("l2", np.inf), seek="nearest")
    cm.run(HopSkipJump(steps=6), model, case, budget=cm.Budget(queries_per_row=1000))
    shares = []
    for points in model.asked.points:
        if len(points) < 50:  # falls and jumps ask about few points at a time
            continue
        at = points.mean(0)
        shares.append(float((points - at).norm(dim=1).median() / (at - torch.as_tensor(x[0])).norm()))
    return np.median(shares[1:])  # the first is a tenth of the domain, as published


def test_g12_probes_of_hopskipjump_shrink_with_the_dimension_as_published_regression():
    assert probes(576) / probes(2304) == pytest.approx(4, rel=0.1)  # as 1 / d


# -- what is reported ---------------------------------------------------------------------------------------------------------


def test_g13_a_system_that_nothing_breaks_has_no_small_distance_regression():
    x = np.random.default_rng(0).random((20, 5))
    evidence = cm.run("evasion.square", cm.wrap(constant(0), output="logits", classes=2), cm.Evade(x, np.zeros(20, int), cm.Ball("linf", 0.1)),
                      budget=cm.Budget(queries_per_row=20))  # fmt: skip
    assert evidence.rate == 0
    assert np.isinf(evidence.rows["distance"]).all()
    assert "median_distance" not in evidence.extra
    assert evidence.cost.queries is None


class HalfShut(nn.Module):
    """Two classes; half of the inputs (those with a small first value) are decided alike whatever else they hold."""

    def __init__(self):
        super().__init__()
        self.inner = linear(2, (6,)).module()
        self.eval()

    def forward(self, x):
        logits = self.inner(x)
        shut = torch.stack([torch.ones(len(x)), -torch.ones(len(x))], 1) + 0 * logits
        return torch.where(x.detach()[:, :1] < 0.5, shut, logits)


def test_g14_without_a_radius_every_row_must_fall_and_not_as_many_as_chance_regression():
    """Half of the rows stand at any radius: an accuracy of one half, as guessing has with two classes, and a sick attack."""
    x = np.random.default_rng(0).uniform(0.3, 0.7, (24, 6)).astype(np.float32)
    model = HalfShut()
    y = cm.wrap(model).respond(x).label.numpy()

    class Shy(cm.Ball):
        """Holds the first value where it is, so that no row leaves its half."""

        def project(self, x, origin):
            held = super().project(x, origin)
            held[:, 0] = origin[:, 0]
            return held

        def unbounded(self):
            return Shy(self.norm, np.inf, self.low, self.high)

    evidence = cm.run(PGD(steps=20), model, cm.Evade(x, y, Shy("linf", 0.4)))
    assert 0.2 < evidence.rate < 0.8
    line = next(check for check in evidence.health if check.number == 14)
    assert line.ok is False


def test_g22_a_second_evaluation_of_the_claims_gives_the_same_count_regression():
    toy = linear(4, (9,))
    case = evade(toy, 40, 0.05, dtype="float32")
    evidence = cm.run(APGD(steps=20), toy.module(), case)
    assert 0 < evidence.rate < 1
    module = toy.module()
    for size in (1, 7, 40):
        parts = torch.split(torch.as_tensor(evidence.claims.x), size)
        again = torch.cat([module(part).argmax(1) for part in parts]).numpy()
        np.testing.assert_array_equal(again != case.y, evidence.rows["broken"])
    with pytest.raises(cm.BadInput, match="one label"):
        cm.Evade(case.x, np.eye(4)[case.y], case.within)


def test_g25_nothing_adds_up_from_one_run_to_the_next_regression():
    toy, attack = linear(4, (9,)), PGD(steps=10)
    case = evade(toy, 40, 0.05)
    half = cm.run(attack, toy.module(), case.only(np.arange(20)))
    for _ in range(2):
        whole = cm.run(attack, toy.module(), case)
        assert whole.rate == whole.rows["broken"].sum() / 40
        assert cm.run(attack, toy.module(), case.only(np.arange(20))).rate == half.rate
    wrong = cm.Evade(case.x, np.where(np.arange(40) < 10, (case.y + 1) % 4, case.y), case.within)
    apart = cm.run(attack, toy.module(), wrong)
    assert apart.n == 30
    assert apart.rate == apart.rows["broken"].sum() / 30


@pytest.mark.parametrize("attack", [PGD(steps=1, stride=1.0, random_start=False), FGSM(), APGD(steps=1)], ids=lambda a: a.info.id)
def test_g25_the_point_after_the_last_step_is_looked_at_regression(attack):
    toy = linear(2, (6,))
    case = evade(toy, 12)
    distance = toy.distance(case.x, case.y, "linf")
    just = cm.Ball("linf", 1.02 * float(distance.max()))
    assert cm.run(attack, toy.module("float64"), cm.Evade(case.x, case.y, just)).rate == 1


# -- losses -----------------------------------------------------------------------------------------------------------------------


def test_g26_an_attack_on_tables_does_not_see_a_shift_of_all_logits_regression():
    names = tuple("abcd")
    table = cm.Table({name: cm.Column(kind="real", low=0.0, high=1.0) for name in names}, 0.15, {}, names)
    toy = linear(3, (4,), seed=1)
    x, y = toy.inputs(20, dtype="float64")
    found = []
    for shift in (0.0, -50.0, 50.0):
        module = toy.module("float64")
        module[1].bias.add_(shift)
        found.append(cm.run(ConstrainedPGD(), module, cm.Evade(x, y, table)))
    assert 0 < found[0].rate < 1
    for other in found[1:]:
        np.testing.assert_array_equal(other.rows["broken"], found[0].rows["broken"])
        np.testing.assert_allclose(other.claims.x, found[0].claims.x, atol=1e-9)  # the same way, not only the same end


# -- the ground it stands on -------------------------------------------------------------------------------------------------------

GONE = {
    "distutils", "imp", "pkg_resources", "binom_test", "sklearn.externals", "scipy.misc", "np.float", "np.int", "np.bool",
    "np.object", "np.product", "np.in1d", "np.trapz", "np.row_stack",
}  # fmt: skip


def test_g27_nothing_rests_on_names_that_were_taken_out_regression():
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = set()
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {node.module or "", *(alias.name for alias in node.names)}
            elif isinstance(node, ast.Attribute):
                names = {node.attr, ast.unparse(node)}
            assert not names & GONE, f"{path}:{node.lineno}: {sorted(names & GONE)}"


@pytest.mark.parametrize(("hits", "n"), [(0, 20), (3, 20), (20, 20), (137, 500)])
def test_g27_the_interval_is_the_exact_one_of_today_s_scipy_regression(hits, n):
    from scipy.stats import binomtest

    ours, theirs = clopper_pearson(hits, n), binomtest(hits, n).proportion_ci(0.95, "exact")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


# -- against others -----------------------------------------------------------------------------------------------------------------


def one_step(case, module, radius):
    """FGSM by hand."""
    x = torch.as_tensor(case.x).requires_grad_(True)
    loss = nn.functional.cross_entropy(module(x), torch.as_tensor(case.y), reduction="sum")
    (slope,) = torch.autograd.grad(loss, x)
    return (x.detach() + radius * slope.sign()).clamp(0, 1)


def peer_foolbox(case, module, radius):
    foolbox = pytest.importorskip("foolbox", exc_type=ImportError)
    model = foolbox.PyTorchModel(module, bounds=(0, 1))
    attack = foolbox.attacks.LinfFastGradientAttack(random_start=False)
    return attack(model, torch.as_tensor(case.x), torch.as_tensor(case.y), epsilons=radius)[1]


def peer_torchattacks(case, module, radius):
    torchattacks = pytest.importorskip("torchattacks", exc_type=ImportError)
    return torchattacks.FGSM(module, eps=radius)(torch.as_tensor(case.x), torch.as_tensor(case.y))


@pytest.mark.parametrize("peer", [one_step, peer_foolbox, peer_torchattacks])
def test_g28_fgsm_breaks_the_rows_that_others_break_regression(peer):
    toy = linear(4, (1, 4, 4), seed=2)
    case, module = evade(toy, 60, 0.03, dtype="float32"), toy.module()
    evidence = cm.run(FGSM(), module, case)
    theirs = module(peer(case, module, 0.03)).argmax(1).numpy() != case.y
    assert 0.1 < theirs.mean() < 0.95
    assert (evidence.rows["broken"] != theirs).sum() <= 1  # a row on the boundary may go either way


# -- positive controls ---------------------------------------------------------------------------------------------------------------

TOY = linear(4, (1, 6, 6), seed=4)


def watchman():
    """Finds fault with what leaves the middle of the domain: a detector that is told by one number."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(36, 2)).requires_grad_(False).eval()
    module[1].weight.copy_(torch.stack([torch.zeros(36), torch.full((36,), 0.5)]))
    module[1].bias.copy_(torch.tensor([0.0, -14.0]))
    return module


@pytest.mark.parametrize("fake", fakes(TOY.module(), watchman()), ids=lambda fake: fake.name)
def test_g30_no_fake_defence_comes_out_as_resisted_regression(fake):
    x, y = TOY.inputs(40)
    case = cm.Evade(x, y, cm.Ball("linf", 0.15))
    evidence = cm.run(Standard(), fake.target, case, budget=cm.Budget(queries_per_row=150, gradients_per_row=150))
    assert evidence.n >= 17  # enough rows to be called resisted
    assert evidence.verdict != "resisted"
    assert evidence.rate > 0.5 or any(check.fatal and check.ok is False for check in evidence.health)


# -- the page -------------------------------------------------------------------------------------------------------------------------


def rows_of_the_page():
    """Number of each row, and what it names as its tests."""
    found = re.findall(r"^\| (\d+) \|(.*)\|$", PAGE.read_text(encoding="utf-8"), re.M)
    return {int(number): re.findall(r"`([^`]+)`", text.rpartition("|")[2]) for number, text in found}


def test_every_defect_has_a_row_and_every_row_a_test():
    rows = rows_of_the_page()
    assert sorted(rows) == list(range(1, 31))
    assert all(rows.values()), [number for number, tests in rows.items() if not tests]


@pytest.mark.parametrize("number", range(1, 31))
def test_every_test_the_page_names_exists(number):
    rules = {rule.__name__.strip("_") for rule in attack_contract._rules(PGD())}
    for name in rows_of_the_page()[number]:
        if name.startswith("contract: "):
            assert name.removeprefix("contract: ") in rules, name
            continue
        path, _, test = name.partition("::")
        functions = {node.name for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)}
        assert test in functions, name


def test_every_test_of_this_file_is_on_the_page():
    text = PAGE.read_text(encoding="utf-8")
    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    missing = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_g") and node.name not in text]
    assert not missing
