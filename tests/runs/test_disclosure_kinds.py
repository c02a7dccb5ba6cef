"""From a description to a case of attribute, property, inversion and leak; and why there is none."""

import shutil
from pathlib import Path

import pytest

import casemate as cm
from casemate.attacks.privacy.attribute import AttributeInference
from casemate.attacks.privacy.gradient_inversion import GradientInversion
from casemate.attacks.privacy.inversion import ModelInversion
from casemate.attacks.privacy.property import PropertyInference
from casemate.core.adversary import researcher
from casemate.runs.bench import open_bench
from casemate.runs.kinds import KINDS
from casemate.runs.plan import _cell
from casemate.runs.profiles import QUICK
from casemate.threats.load import load

LOANS = Path(__file__).parents[2] / "examples" / "loans"
SEX = "personal_status_and_sex"

TOY = '''
import numpy as np, torch
import casemate as cm
from casemate.testing.worlds import digits

X, Y = digits()

def fit(x, y, seed):
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(64, 512), torch.nn.ReLU(), torch.nn.Linear(512, 10))
    opt = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(60):
        opt.zero_grad()
        torch.nn.functional.cross_entropy(net(torch.as_tensor(x).float()), torch.as_tensor(y)).backward()
        opt.step()
    return cm.wrap(net.eval(), name="digits")

def target(): return fit(X[:500], Y[:500], 0)
def holdout(): return cm.Holdout(x=X[500:], y=Y[500:])
def recipe(): return cm.Recipe(fit, X[:500], Y[:500], version="1")
'''
DESCRIBED = """
casemate: 1
system:
  name: digits
  target: [{component: reader, factory: bind:target, data: bind:holdout, recipe: bind:recipe%s}]
zones: [{id: inside, trust: prod}]
components: [{id: reader, kind: server, zone: inside}]
"""


def loans(folder, **stated):
    """The loans example with more said of its target."""
    shutil.copytree(LOANS, folder, ignore=shutil.ignore_patterns(".cache", "__pycache__"))
    own = folder / "system.yaml"
    more = "".join(f"      {key}: {value}\n" for key, value in stated.items())
    kept = [line for line in own.read_text().splitlines(keepends=True) if line.split(":")[0].strip() not in ("sensitive", "property")]
    text = "".join(kept)
    own.write_text(text.replace("      recipe: bind:recipe\n", "      recipe: bind:recipe\n" + more, 1))
    return open_bench(load(own), "scoring")


def digits(folder, more=""):
    folder.mkdir()
    (folder / "bind.py").write_text(TOY)
    (folder / "system.yaml").write_text(DESCRIBED % more)
    return open_bench(load(folder / "system.yaml"), "reader")


def built(bench, attack):
    """Plan a cell and build its case, as an assessment does."""
    kind = KINDS[attack.info.case]
    assert kind.why_not(bench, researcher()) is None
    cell = _cell(bench, attack, researcher(), QUICK, 0, (0, 0), 1.0)
    case = kind.build(bench, cell).case
    kind.check(case)
    return case, cell


def test_a_sensitive_column_of_the_loans(tmp_path):
    bench = loans(tmp_path / "a", sensitive=f"[{SEX}]", property=f"{{column: {SEX}, equals: female}}")
    name = next((c for c in bench.data.x.columns if "sex" in c), None)
    bench = loans(tmp_path / "b", sensitive=f"[{name}, credit_amount]")
    case, cell = built(bench, AttributeInference())
    assert case.column == name and len(set(case.x[name].astype(str))) == 1
    found = cm.run(AttributeInference(), bench.target, case)
    assert found.spent["queries"] == len(case.y) * len(case.values) <= cell.queries
    assert not any(check.number == 48 and check.ok is False for check in found.health)
    number, _ = built(bench, AttributeInference(column="credit_amount"))
    assert number.column == "credit_amount" and len(number.values) == 4  # told by quarters


def test_a_secret_share_of_the_loans(tmp_path):
    plain = loans(tmp_path / "a")
    value = plain.data.x["purpose"].astype(str).value_counts().index[0]
    bench = loans(tmp_path / "b", property=f"{{column: purpose, equals: {value!r}, shares: [0.1, 0.5]}}")
    case, _ = built(bench, PropertyInference())
    assert case.shares == (0.1, 0.5) and 20 <= case.size <= 500
    assert case.flag.sum() == (bench.data.x["purpose"].astype(str) == value).sum()


def test_nothing_stated_is_a_reason(tmp_path):
    bench = loans(tmp_path / "a")
    why = {name: KINDS[name].why_not(bench, researcher()) for name in ("attribute", "property", "invert", "leak")}
    assert why == {
        "attribute": "no sensitive column is stated: target.sensitive",
        "property": "no secret share is stated: target.property (column, equals, shares)",
        "invert": "inputs are reconstructed value by value, and these are no arrays of numbers",
        "leak": "no federated training is stated: target.federated",
    }


@pytest.mark.parametrize(("kind", "stated", "words"), [
    ("attribute", {"sensitive": "[shoe_size]"}, "there is no column 'shoe_size'"),
    ("property", {"property": "{column: purpose}"}, "lacks equals"),
    ("property", {"property": "{column: purpose, equals: others, shares: [0.5, 0.5]}"}, "two unlike shares"),
    ("property", {"property": "{column: purpose, equals: holidays}"}, "are the fewest"),
])  # fmt: skip
def test_what_is_stated_wrongly_is_said(tmp_path, kind, stated, words):
    assert words in KINDS[kind].why_not(loans(tmp_path / "a", **stated), researcher())


def test_digits_are_inverted_and_leak_in_a_federated_training(tmp_path):
    bench = digits(tmp_path / "a", ", federated: bind:rounds")
    case, _ = built(bench, ModelInversion())
    found = cm.run(ModelInversion(), bench.target, case)
    assert found.n == 10 and min(found.extra["confidence"]) > 0.9 and not found.broken
    leak, _ = built(bench, GradientInversion())
    found = cm.run(GradientInversion(steps=0), None, leak)
    assert found.n == 32 and found.extra["batch_norm"] == "none"
    assert found.extra["read_off_the_first_layer"] > 0 and found.broken
    assert "no federated training" in KINDS["leak"].why_not(digits(tmp_path / "b"), researcher())
