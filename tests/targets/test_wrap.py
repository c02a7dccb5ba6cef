"""`wrap`, torch modules and stages."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from casemate.core.adversary import Need
from casemate.core.errors import BadInput, MissingExtra, TargetFailed, UnknownName
from casemate.core.random import RowRandom
from casemate.core.target import REJECT, Target
from casemate.targets.pipeline import Cut, Pipeline, Stage, Threshold
from casemate.targets.wrap import wrap


def net(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 3)).to(dtype).eval()


def x(n: int = 20, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(n, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def margin(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return logits.logsumexp(1) - logits.gather(1, y[:, None])[:, 0]


# -- torch -----------------------------------------------------------------------------------------------------------
def test_a_module_in_training_mode_is_copied_and_never_touched() -> None:
    module = net().train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    target = wrap(module)
    first, second = target.respond(x()), target.respond(x())
    target.gradient(x(), np.zeros(20, int), margin)
    assert torch.equal(first.logits, second.logits)
    assert module.training and target.model.module is not module
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    evaluating = net()
    assert wrap(evaluating).model.module is evaluating


def test_calls_leave_the_state_as_it_was() -> None:
    target = wrap(net())
    before = target.state()
    target.respond(x())
    target.gradient(x(), np.zeros(20, int), margin)
    assert target.state() == before
    target.model.module[0].weight.data[0, 0] += 1e-3
    assert target.state() != before


def test_float64_is_kept() -> None:
    target = wrap(net(torch.float64))
    response = target.respond(x(dtype=torch.float64).numpy())
    assert response.logits.dtype == torch.float64
    single = torch.cat([target.respond(x(dtype=torch.float64)[i : i + 1]).logits for i in range(20)])
    torch.testing.assert_close(single, response.logits, rtol=1e-12, atol=1e-12)
    assert target.gradient(x(dtype=torch.float64), np.zeros(20, int), margin).slope.dtype == torch.float64


def test_the_gradient_is_the_gradient() -> None:
    target, at, y = wrap(net(torch.float64)), x(dtype=torch.float64), np.zeros(20, int)
    slope = target.gradient(at, y, margin)
    step = torch.zeros(4, dtype=torch.float64)
    step[1] = 1e-6
    truth = torch.zeros(20, dtype=torch.long)
    plus, minus = (margin(target.respond(at + sign * step).logits, truth) for sign in (1, -1))
    torch.testing.assert_close((plus - minus) / 2e-6, slope.slope[:, 1], atol=1e-6, rtol=1e-5)


def test_wrong_shapes_have_one_clear_message() -> None:
    with pytest.raises(TargetFailed, match=r"Sequential raised on inputs of shape \(5, 3\): RuntimeError"):
        wrap(net()).respond(torch.zeros(5, 3))
    with pytest.raises(TargetFailed, match=r"raised on inputs of shape \(5, 3\)"):
        wrap(net()).gradient(torch.zeros(5, 3), np.zeros(5, int), margin)

    with pytest.raises(BadInput, match="takes arrays or tensors of numbers; got list"):
        wrap(net()).respond([b"ab", b"c"])

    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(TargetFailed, match="returned a tuple; expected a tensor"):
        wrap(Pair()).respond(x())


# -- stages and decisions --------------------------------------------------------------------------------------------
def rounded() -> Stage:
    return Stage(name="round", kind="quantise", forward=lambda x: (x * 4).round() / 4, backward="straight_through")


def test_a_straight_through_stage() -> None:
    target = wrap(net(), stages=[rounded()])
    coarse = (x() * 4).round() / 4
    assert torch.equal(target.respond(x()).logits, wrap(net()).respond(coarse).logits)
    y = np.zeros(20, int)
    slope, plain = target.gradient(x(), y, margin), wrap(net()).gradient(coarse, y, margin)
    torch.testing.assert_close(slope.slope, plain.slope)
    torch.testing.assert_close(slope.loss, plain.loss)
    dead = wrap(net(), stages=[Stage(name="round", forward=lambda x: (x * 4).round() / 4)])
    assert (dead.gradient(x(), y, margin).slope == 0).all()


def test_a_stand_in_for_the_backward_pass() -> None:
    stage = Stage(name="round", forward=lambda x: (x * 4).round() / 4, backward=lambda x: x * 2)
    y = np.zeros(20, int)
    ratio = wrap(net(), stages=[stage]).gradient(x(), y, margin).slope
    torch.testing.assert_close(ratio, 2 * wrap(net(), stages=[rounded()]).gradient(x(), y, margin).slope)


def jitter(values: torch.Tensor, rows: np.ndarray, draw: int) -> torch.Tensor:
    noise = RowRandom(3).normal(rows, (draw,), tuple(values.shape[1:]))
    return values + torch.as_tensor(noise, dtype=values.dtype)


def test_a_random_stage_is_keyed_by_rows_and_draw() -> None:
    target = wrap(net(), stages=[Stage(name="jitter", forward=jitter, random=True)])
    assert target.random and not wrap(net()).random
    rows = np.arange(100, 120)
    first = target.respond(x(), rows=rows, draw=4).logits
    assert torch.equal(first, target.respond(x(), rows=rows, draw=4).logits)
    assert not torch.equal(first, target.respond(x(), rows=rows, draw=5).logits)
    order = np.random.default_rng(0).permutation(20)
    torch.testing.assert_close(target.respond(x()[order], rows=rows[order], draw=4).logits, first[order])


def test_a_raising_stage_is_named() -> None:
    target = wrap(net(), stages=[Stage(name="resize", forward=lambda x: x.reshape(7, -1))])
    with pytest.raises(TargetFailed, match="stage resize raised on 20 rows: RuntimeError"):
        target.respond(x())


def test_threshold_rejects_and_cut_moves_the_line() -> None:
    target = wrap(net(), decision=Threshold(at=0.45))
    response, plain = target.respond(x()), wrap(net()).respond(x())
    sure = plain.scores.max(1).values >= 0.45
    assert (response.label[~sure] == REJECT).all() and torch.equal(response.label[sure], plain.label[sure])
    two = wrap(lambda x: np.array([[0.7, 0.3], [0.9, 0.1]]), output="scores", decision=Cut(at=0.2))
    assert two.respond(np.zeros((2, 1))).label.tolist() == [1, 0]
    with pytest.raises(BadInput, match="needs scores"):
        wrap(lambda x: [0, 1], decision=Threshold(at=0.5)).respond(np.zeros((2, 1)))


def test_stages_before_an_estimator() -> None:
    from sklearn.linear_model import LogisticRegression

    data = np.random.default_rng(0).random((100, 4))
    model = LogisticRegression().fit(data, data[:, 0] > 0.5)
    target = wrap(model, stages=[Stage(name="scale", forward=lambda x: x / 255)])
    np.testing.assert_array_equal(target.respond(torch.as_tensor(data * 255)).label, model.predict(data))


def test_identity_covers_stages_decisions_and_weights() -> None:
    prints = {
        wrap(net()).fingerprint(), wrap(net(), stages=[rounded()]).fingerprint(), wrap(net(), version="2").fingerprint(),
        wrap(net(), decision=Threshold(at=0.5)).fingerprint(), wrap(net(), decision=Threshold(at=0.6)).fingerprint(),
        wrap(net(torch.float64)).fingerprint(),
    }  # fmt: skip
    assert len(prints) == 6 and wrap(net()).fingerprint() in prints
    assert wrap(lambda x: [0], stages=[rounded()]).fingerprint() is None


# -- wrap ------------------------------------------------------------------------------------------------------------
def test_a_target_is_a_target() -> None:
    target = wrap(net(), name="digits")
    assert isinstance(target, Target) and wrap(target) is target and target.name == "digits"
    assert wrap(target, decision=Threshold(at=0.5)).decision == Threshold(at=0.5)
    with pytest.raises(BadInput, match="digits is a target already: name cannot be set"):
        wrap(target, name="other")
    assert Need.GRADIENT in target.offers


@pytest.mark.parametrize("thing", [None, 3, [1, 2], {"url": "x"}, np.zeros(3)])
def test_what_cannot_be_wrapped(thing) -> None:
    with pytest.raises(BadInput, match="cannot wrap a"):
        wrap(thing)


def test_classes_and_unknown_options() -> None:
    with pytest.raises(BadInput, match="cannot wrap the class Linear; make an instance of it first"):
        wrap(nn.Linear)
    with pytest.raises(UnknownName, match="no option of TorchModule is called 'divice'; did you mean 'device'"):
        wrap(net(), divice="cpu")


def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtra, match=r"pip install 'casemate\[onnx\]'"):
        wrap("model.onnx")
    monkeypatch.setitem(sys.modules, "urllib3", None)
    with pytest.raises(MissingExtra, match=r"pip install 'casemate\[http\]'"):
        wrap("https://h/p", query_cap=1, pace_per_s=1.0, label_path="x")


def test_adapters_load_no_library_before_it_is_used() -> None:
    code = (
        "import sys; from casemate.targets import conflict, estimator, function, http, onnx_model, pipeline, wrap;"
        "wrap.wrap(lambda x: x);"
        "print(sorted({'torch', 'sklearn', 'onnxruntime', 'onnx', 'urllib3', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_pipeline_counts_the_answers() -> None:
    class Short:
        name, offers, classes = "short", Need.LABEL, 2

        def forward(self, x):
            from casemate.core.target import Response

            return Response(np.zeros(len(x) - 1, int))

    with pytest.raises(TargetFailed, match="3 rows went in and 2 decisions came out"):
        Pipeline(model=Short()).respond(np.zeros((3, 1)))
