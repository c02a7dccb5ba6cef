"""Everything that is registered keeps its contract."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import casemate as cm
from casemate.core.attack import attacks
from casemate.core.control import controls
from casemate.testing import attack_checks, control_checks, target_checks
from casemate.testing._nets import linear, smooth
from casemate.testing._set_rigs import cloud, fit_centroids
from casemate.testing.rig import Tally, counted

OWN = "casemate."


def listed(registry, checks):
    """One test for each check of each definition of casemate's own; a plugin tests itself."""
    found = []
    for id in registry:
        if registry.get(id).__module__.startswith(OWN):
            found += [pytest.param(check, id=f"{id}: {name}") for name, check in checks(id)]
    return found


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("check", listed(attacks, attack_checks))
def test_attack(check):
    check()


@pytest.mark.parametrize("check", listed(controls, control_checks))
def test_control(check):
    check()


RNG = np.random.default_rng(2)
X, Y = cloud(60, 1)


def torch_target():
    return cm.wrap(smooth(6, 4, 5), name="network"), RNG.random((7, 1, 6, 6))


def torch_single():
    return cm.wrap(linear(12, 3, 5).float(), name="linear in float32"), RNG.random((7, 12)).astype(np.float32)


def torch_staged():
    stages = (
        cm.Stage(name="halve", kind="resize", forward=lambda x: x[..., ::2, ::2]),
        cm.Stage(name="centre", kind="normalise", forward=lambda x: (x - 0.5) * 2),
    )
    return cm.wrap(smooth(6, 4, 5), stages=stages, decision=cm.Threshold(0.4), name="staged"), RNG.random((7, 1, 12, 12))


def torch_quantised():
    made = controls.get("inference.transport_quantise")(levels=16)
    return made.harden_target(cm.wrap(smooth(6, 4, 5), name="quantised")), RNG.random((7, 1, 6, 6))


def random_stage():
    def blur(x, rows, draw):
        noise = cm.RowRandom(3).normal(np.asarray(rows), draw, tuple(x.shape[1:]))
        return x + 0.05 * torch.as_tensor(noise)

    return cm.wrap(linear(12, 3, 5), stages=(cm.Stage(name="blur", forward=blur, random=True),), name="blurred"), RNG.random((7, 12))


def regression():
    may = cm.Need.LABEL | cm.Need.LOGIT | cm.Need.GRADIENT | cm.Need.ARTIFACT  # a number has no scores
    return cm.wrap(linear(12, 1, 5), name="torch regression", offers=may), RNG.random((7, 12))


def function():
    target = cm.wrap(counted(Tally(), lambda x: (x.sum(1) > 0).astype(int)), classes=2, version="1", name="labels only")
    other = cm.wrap(counted(Tally(), lambda x: (x.sum(1) > 1).astype(int)), classes=2, version="2", name="labels only")
    return target, X[:7], other


def scores():
    return fit_centroids(X, Y, 0), X[:7]


def text():
    def vowels(rows):
        return [int(sum(c in "aeiou" for c in row) > 3) for row in rows]

    return cm.wrap(vowels, classes=2, version="1", name="text"), ["casemate", "fort", "rampart", "bastion", "audacious"]


def estimator(kind):
    sklearn = pytest.importorskip("sklearn")
    del sklearn
    from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier
    from sklearn.linear_model import LinearRegression, LogisticRegression

    models = {
        "logistic": LogisticRegression, "forest": lambda **k: RandomForestClassifier(n_estimators=7, random_state=0, **k),
        "boosting": lambda **k: HistGradientBoostingClassifier(max_iter=5, **k), "regression": LinearRegression,
        "outlier": lambda **k: IsolationForest(n_estimators=7, random_state=0, **k),
    }  # fmt: skip
    y = X[:, 0] * 2 + 0.1 * Y if kind == "regression" else Y
    return cm.wrap(models[kind]().fit(X, y)), X[:7], cm.wrap(models[kind]().fit(X[:40] * 1.1, y[:40]))


def frame():
    pandas = pytest.importorskip("pandas")
    from sklearn.linear_model import LogisticRegression

    table = pandas.DataFrame(X, columns=list("abcd"))
    return cm.wrap(LogisticRegression().fit(table, Y)), table[:7]


def onnx(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    made = []
    for bias in (0.0, 1.0):
        helper, numpy_helper = onnx.helper, onnx.numpy_helper
        weight = np.random.default_rng(1).normal(size=(12, 3)).astype(np.float32)
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Add", ["h", "b"], ["out"])], "toy",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 12])],
            [helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, ["n", 3])],
            [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.full(3, bias, np.float32), "b")],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        path = tmp_path / f"model{bias:g}.onnx"
        onnx.save(model, path)
        made.append(cm.wrap(str(path)))
    return made[0], RNG.random((7, 12)).astype(np.float32), made[1]


PLAIN = (torch_target, torch_single, torch_staged, torch_quantised, random_stage, regression, function, scores, text, frame)
KINDS = ("logistic", "forest", "boosting", "regression", "outlier")


def check_all(target, sample, changed=None):
    for _, check in target_checks(target, sample, changed=changed):
        check()


@pytest.mark.parametrize("make", PLAIN, ids=lambda make: make.__name__)
def test_target(make):
    check_all(*make())


@pytest.mark.parametrize("kind", KINDS)
def test_estimator(kind):
    check_all(*estimator(kind))


def test_onnx(tmp_path):
    check_all(*onnx(tmp_path))
