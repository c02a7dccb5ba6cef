"""ONNX files: made by skl2onnx, by hand, and by somebody with bad intentions."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn import ensemble, linear_model
from sklearn.datasets import make_classification

from casemate.core.adversary import Need
from casemate.core.errors import BadInput, NotGranted, UnknownName
from casemate.targets.onnx_model import OnnxModel
from casemate.targets.wrap import wrap

WEIGHTS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def graph(path: Path, batch: int | str = "n", dtype: int = TensorProto.FLOAT, end: str = "", draw: bool = False) -> Path:
    """``x @ W``, maybe through a softmax."""
    weights = WEIGHTS.astype(helper.tensor_dtype_to_np_dtype(dtype))
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"])]
    if draw:
        nodes += [helper.make_node("RandomNormalLike", ["h"], ["r"]), helper.make_node("Add", ["h", "r"], ["g"])]
    nodes.append(helper.make_node(end or "Identity", ["g" if draw else "h"], ["out"]))
    body = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", dtype, [batch, 4])],
        [helper.make_tensor_value_info("out", dtype, [batch, 3])], [numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    onnx.save(helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def x(n: int = 50, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, 4)).astype(dtype)


def test_logits_scores_and_labels(tmp_path: Path) -> None:
    logits = wrap(graph(tmp_path / "a.onnx"))
    assert logits.offers == Need.LABEL | Need.SCORE | Need.LOGIT | Need.ARTIFACT and logits.classes == 3
    response = logits.respond(x())
    np.testing.assert_allclose(response.logits, x() @ WEIGHTS, rtol=1e-5)
    np.testing.assert_array_equal(response.label, (x() @ WEIGHTS).argmax(1))
    scores = wrap(str(graph(tmp_path / "b.onnx", end="Softmax")))
    assert Need.LOGIT not in scores.offers and Need.SCORE in scores.offers
    np.testing.assert_allclose(scores.respond(x()).scores, response.scores, rtol=1e-5)
    assert scores.respond(x()).logits is None
    labels = wrap(tmp_path / "a.onnx", output="labels")
    assert labels.offers == Need.LABEL | Need.ARTIFACT and labels.respond(x()).scores is None
    np.testing.assert_array_equal(labels.respond(x()).label, response.label)


def test_no_gradient_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotGranted, match="adapter of a has no gradient"):
        wrap(graph(tmp_path / "a.onnx")).gradient(x(), np.zeros(50, int), lambda logits, y: logits)


def test_the_model_s_own_precision(tmp_path: Path) -> None:
    double = wrap(graph(tmp_path / "d.onnx", dtype=TensorProto.DOUBLE))
    near = np.zeros((2, 4))
    near[1, 0] = 1e-12
    logits = double.respond(torch.as_tensor(near)).logits
    assert logits.dtype == np.float64 and (logits[0] != logits[1]).any()
    assert wrap(graph(tmp_path / "f.onnx")).respond(x(dtype=np.float64)).logits.dtype == np.float32


@pytest.mark.parametrize("batch", [1, 8])
def test_a_fixed_batch_is_looped_over(tmp_path: Path, batch: int) -> None:
    free, fixed = wrap(graph(tmp_path / "a.onnx")), wrap(graph(tmp_path / "b.onnx", batch=batch))
    for rows in (1, 8, 21):
        np.testing.assert_allclose(fixed.respond(x(rows)).logits, free.respond(x(rows)).logits, rtol=1e-5, atol=1e-6)


def test_randomness_in_the_graph_is_declared(tmp_path: Path) -> None:
    assert wrap(graph(tmp_path / "r.onnx", draw=True)).random
    assert not wrap(graph(tmp_path / "a.onnx")).random


@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("words", [True, False])
@pytest.mark.parametrize("make", [linear_model.LogisticRegression, ensemble.RandomForestClassifier])
def test_what_sklearn_onnx_writes(tmp_path: Path, make: type, words: bool, zipmap: bool) -> None:
    data, y = make_classification(300, 4, n_informative=4, n_redundant=0, n_classes=3, random_state=0)
    data = data.astype(np.float32)
    truth = np.array(["cat", "dog", "eel"])[y] if words else y + 5
    model = make().fit(data, truth)
    options = {"zipmap": zipmap}
    proto = to_onnx(model, data[:1], options={id(model): options})
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    target = wrap(tmp_path / "m.onnx")
    response = target.respond(data)
    assert target.model.values == tuple(model.classes_.tolist()) and Need.LOGIT not in target.offers
    assert (model.classes_[response.label] == model.predict(data)).mean() > 0.99  # float32 inside
    np.testing.assert_allclose(response.scores, model.predict_proba(data), atol=1e-4)


def test_a_frame_feeds_one_input_for_each_column(tmp_path: Path) -> None:
    kinds = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in ("age", "sum")]
    body = helper.make_graph(
        [helper.make_node("Concat", ["age", "sum"], ["out"], axis=1)], "g", kinds,
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None, 2])],
    )  # fmt: skip
    onnx.save(helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "f.onnx")
    target = wrap(tmp_path / "f.onnx")
    table = pd.DataFrame({"sum": [1.0, 0.0], "age": [0, 3]})
    assert target.respond(table).label.tolist() == [1, 0]
    with pytest.raises(BadInput, match="one input for each column; give a frame with: age, sum"):
        target.respond(np.zeros((2, 2)))


def test_bad_files_have_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no\.onnx: cannot read the model file: No such file"):
        wrap(tmp_path / "no.onnx")
    for content in (b"", b"\x80\x04cos\nsystem\n", b"hello"):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(BadInput, match="is not an ONNX model"):
            wrap(tmp_path / "bad.onnx")
    with pytest.raises(BadInput, match=r"only an \.onnx file is opened here"):
        wrap(tmp_path / "model.pkl")
    good = graph(tmp_path / "a.onnx")
    with pytest.raises(BadInput, match=r"takes shape \(n, 4\); got \(5, 3\)"):
        wrap(good).respond(np.zeros((5, 3), np.float32))
    with pytest.raises(BadInput, match="no input 'y'; it has: x"):
        wrap(good, input="y")
    with pytest.raises(BadInput, match="no output 'y'; it has: out"):
        wrap(good, output_name="y")
    with pytest.raises(BadInput, match="are not available"):
        wrap(good, providers=["NoSuchProvider"])
    with pytest.raises(UnknownName, match="did you mean 'threads'"):
        wrap(good, thread=1)
    body = helper.make_graph([helper.make_node("Nonsense", ["x"], ["y"])], "g", [], [helper.make_tensor_value_info("y", 1, [1])])
    onnx.save(helper.make_model(body), tmp_path / "op.onnx")
    with pytest.raises(BadInput, match="ONNX Runtime cannot run this model"):
        wrap(tmp_path / "op.onnx")


@pytest.mark.parametrize("place", ["../w.bin", "/etc/hostname", "deep/../../w.bin"])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    with pytest.raises(BadInput, match="outside its own folder; that is refused"):
        wrap(_external(tmp_path / "inside" / "m.onnx", place))


def test_external_data_through_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    (tmp_path / "inside" / "w.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(BadInput, match="outside its own folder"):
        wrap(_external(tmp_path / "inside" / "m.onnx", "w.bin"))


def test_external_data_beside_the_model_is_hashed(tmp_path: Path) -> None:
    path = _external(tmp_path / "m.onnx", "w.bin")
    with pytest.raises(BadInput, match=r"'w\.bin', which cannot be read"):
        wrap(path)
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    target = wrap(path)
    np.testing.assert_allclose(target.respond(x()).logits, x() @ WEIGHTS, rtol=1e-5)
    (tmp_path / "w.bin").write_bytes((WEIGHTS + 1).tobytes())
    assert wrap(path).fingerprint() != target.fingerprint()


def _external(path: Path, place: str) -> Path:
    model = onnx.load(graph(path))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    path.write_bytes(model.SerializeToString())
    return path


def test_identity_is_the_bytes(tmp_path: Path) -> None:
    one, two = graph(tmp_path / "a.onnx"), graph(tmp_path / "b.onnx")
    assert wrap(one).fingerprint() == wrap(two).fingerprint() != wrap(one, output="labels").fingerprint()
    assert wrap(one).fingerprint() != wrap(graph(tmp_path / "c.onnx", end="Softmax")).fingerprint()
    target = wrap(one)
    state = target.state()
    target.respond(x())
    assert target.state() == state
    with pytest.raises(BadInput, match="open the file there"):
        copy.copy(target.model)


def test_a_row_gets_the_same_answer_in_any_batch(tmp_path: Path) -> None:
    target = OnnxModel.open(graph(tmp_path / "a.onnx", dtype=TensorProto.DOUBLE))
    rows = x(dtype=np.float64)
    single = np.concatenate([target.forward(rows[i : i + 1]).logits for i in range(len(rows))])
    np.testing.assert_allclose(target.forward(rows).logits, single, rtol=1e-12)
