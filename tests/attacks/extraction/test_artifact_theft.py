"""A stolen file is opened only where nothing in it can run."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import casemate as cm
from casemate.attacks.extraction.artifact_theft import ArtifactTheft
from casemate.core.adversary import Need, researcher
from casemate.core.case import Copy, Holdout
from casemate.core.errors import NotGranted
from casemate.core.oracle import Known
from casemate.testing import check_attack
from casemate.testing._set_rigs import copy_setup
from casemate.testing.rig import Variant

THIEF = replace(researcher(), may=Need.LABEL | Need.ARTIFACT)


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    x = x / 16
    return LogisticRegression(max_iter=200).fit(x[:900], y[:900]), Copy(pool=x[:900], truth=Holdout(x=x[900:], y=y[900:]))


def steal(digits, path, adversary=THIEF):
    model, case = digits
    return cm.run(ArtifactTheft(), model, case, adversary=adversary, known=Known(artifact=path))


def test_a_safetensors_file_of_dense_layers_is_the_model(digits, tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    model = digits[0]
    path = tmp_path / "model.bin"  # the content decides, not the name
    safetensors.save_file({"fc.weight": np.ascontiguousarray(model.coef_), "fc.bias": model.intercept_.copy()}, path)
    evidence = steal(digits, path)
    found = evidence.extra["copy"]
    assert (found["format"], found["loaded"], found["through"]) == ("safetensors", True, "the file")
    assert "1 dense layer" in found["reading"]
    assert evidence.rate == 1.0
    assert evidence.spent["queries"] == 0


def test_another_model_in_the_file_does_not_agree(digits, tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    model = digits[0]
    path = tmp_path / "other.safetensors"
    safetensors.save_file({"weight": np.ascontiguousarray(-model.coef_), "bias": model.intercept_.copy()}, path)
    assert steal(digits, path).rate < 0.6


def test_skops_and_onnx(digits, tmp_path):
    skops = pytest.importorskip("skops.io")
    convert = pytest.importorskip("skl2onnx")
    pytest.importorskip("onnxruntime")
    skops.dump(digits[0], tmp_path / "a")
    graph = convert.to_onnx(digits[0], digits[1].pool[:1].astype(np.float32), options={"zipmap": False})
    (tmp_path / "b").write_bytes(graph.SerializeToString())
    for name in ("a", "b"):
        evidence = steal(digits, tmp_path / name)
        assert evidence.extra["copy"]["loaded"] is True, evidence.extra["copy"]
        assert evidence.rate > 0.995


class Trap:
    """Would leave a mark if it were unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


def test_a_pickle_is_never_opened_and_what_it_means_is_said(digits, tmp_path):
    path, mark = tmp_path / "model.pkl", tmp_path / "ran"
    path.write_bytes(pickle.dumps(Trap(mark)))
    evidence = steal(digits, path)
    assert not mark.exists()
    found = evidence.extra["copy"]
    assert found["loaded"] is False
    assert "readable by an attacker who unpickles it" in found["why"]
    assert found["through"] == "the bound target"
    assert evidence.rate == 1.0


def test_a_broken_file_is_said_to_be_so(digits, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\x10\0\0\0\0\0\0\0{\"w\": {}} broken")
    found = steal(digits, path).extra["copy"]
    assert found["loaded"] is False
    assert found["why"]


def test_who_does_not_hold_the_file_is_refused(digits, tmp_path):
    with pytest.raises(NotGranted):
        steal(digits, tmp_path, replace(THIEF, may=Need.LABEL))


def test_the_contract():
    check_attack(ArtifactTheft())


def test_the_contract_is_kept_with_a_file_that_opens():
    pytest.importorskip("safetensors.numpy")
    setup = copy_setup(Variant())
    evidence = cm.run(ArtifactTheft(), setup.target, setup.case, adversary=THIEF, known=setup.known)
    assert evidence.extra["copy"]["through"] == "the file"
    assert evidence.extra["copy"]["agreement"] == 1.0
    assert evidence.rate == 1.0
