"""Model files are read, never loaded: the facts of one real artifact per format, and what hostile files get."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import pickle
import struct
import subprocess
import sys
import typing
import zipfile
from pathlib import Path

import gguf
import h5py
import joblib
import numpy as np
import pytest
import skops.io
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from sklearn.datasets import load_iris
from sklearn.ensemble import AdaBoostClassifier, IsolationForest, RandomForestClassifier, StackingClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.impute import KNNImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from casemate.attacks.supply._archive import has_zip_tail
from casemate.attacks.supply.scan import scan
from casemate.attacks.supply.sniff import sniff_bytes
from casemate.core import entities
from casemate.core.errors import UsageError
from casemate.imports._protobuf import Steps
from casemate.imports._tflite import Table
from casemate.imports.found import Import
from casemate.imports.model_files import mapped, read_model

HERE = Path(__file__).parent / "artifacts"
X, Y = load_iris(return_X_y=True)
X = X.astype(np.float32)
FITTED: dict[str, typing.Any] = {}


def facts(path: Path) -> dict[str, typing.Any]:
    """Path to value, without what every import has."""
    found = read_model(path)
    assert found is not None
    plain = {fact.path.removeprefix("$model."): fact.value for fact in found.facts}
    assert plain.pop("artifact.digest") == "sha256:" + scan(path).sha256
    assert plain.pop("artifact.path") == found.file == str(path)
    assert all(fact.because and fact.path.startswith(("$model.", "system.")) for fact in found.facts)
    assert plain["artifact.format"] in typing.get_args(entities.Format)
    assert found.format
    return plain


def notes(path: Path) -> str:
    found = read_model(path)
    assert found is not None
    return "\n".join(found.notes)


def fitted(model: typing.Any) -> typing.Any:
    return model.fit(X, Y)


def pickled(path: Path, value: object) -> Path:
    path.write_bytes(pickle.dumps(value))
    return path


TREES = {"model.family": "tree_ensemble", "model.differentiable": "no", "model.stores_training_examples": "no"}
LINEAR = {"model.family": "linear", "model.differentiable": "yes", "model.stores_training_examples": "no"}
KNN = {"model.family": "knn", "model.differentiable": "no", "model.stores_training_examples": "yes"}
SVM = {"model.family": "svm", "model.differentiable": "yes", "model.stores_training_examples": "yes"}
NN = {"model.family": "nn", "model.differentiable": "yes", "model.stores_training_examples": "no"}
MULTI = {"system.task": "multiclass"}


# Python objects ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (LogisticRegression(), LINEAR | MULTI),
        (Ridge(), LINEAR | {"system.task": "regression"}),
        (make_pipeline(StandardScaler(), LogisticRegression()), LINEAR),
        (DecisionTreeClassifier(), TREES | MULTI | {"model.family": "tree"}),
        (RandomForestClassifier(3), TREES | MULTI),
        (AdaBoostClassifier(n_estimators=2), TREES | MULTI),
        (IsolationForest(n_estimators=3), TREES | {"system.task": "anomaly"}),
        (KNeighborsClassifier(), KNN | MULTI),
        (SVC(), SVM | MULTI),
        (MLPClassifier(3, max_iter=2), NN | MULTI),
        (GaussianProcessRegressor(), {"model.family": "gp", "model.stores_training_examples": "yes", "system.task": "regression"}),
        (make_pipeline(KNNImputer(), LogisticRegression()), LINEAR | {"model.stores_training_examples": "yes"}),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, dict) else "",
)
@pytest.mark.filterwarnings("ignore")
def test_a_pickled_estimator_shows_its_family(model, expected, tmp_path):
    assert facts(pickled(tmp_path / "m.pkl", fitted(model))) == {"artifact.format": "pickle"} | expected


def test_two_classes_are_a_binary_task(tmp_path):
    keep = Y < 2
    path = pickled(tmp_path / "m.pkl", LogisticRegression().fit(X[keep], Y[keep]))
    assert facts(path)["system.task"] == "binary"


def test_a_callable_kernel_leaves_the_gradient_open(tmp_path):
    path = pickled(tmp_path / "m.pkl", SVC(kernel="precomputed").fit(X @ X.T, Y))
    assert "model.differentiable" not in facts(path)


def test_an_encoder_before_a_linear_model_leaves_the_gradient_open(tmp_path):
    path = pickled(tmp_path / "m.pkl", make_pipeline(OneHotEncoder(), LogisticRegression()).fit(Y[:, None], Y))
    assert "model.differentiable" not in facts(path)
    assert "OneHotEncoder before the model has no gradient" in notes(path)


def test_a_stack_of_several_families_is_not_given_one(tmp_path):
    model = fitted(StackingClassifier([("a", LogisticRegression()), ("b", DecisionTreeClassifier())], cv=2))
    path = pickled(tmp_path / "m.pkl", model)
    assert "model.family" not in facts(path)
    assert "several families (linear, tree)" in notes(path)


class Wrapped:
    """A class of the user's own around a known model."""

    def __init__(self, inner: object) -> None:
        self.inner = inner


def test_a_class_of_the_users_own_is_not_believed_to_be_what_it_holds(tmp_path):
    path = pickled(tmp_path / "m.pkl", Wrapped(fitted(LogisticRegression())))
    assert facts(path) == {"artifact.format": "pickle"}
    assert "Wrapped, which is not known here; inside: LogisticRegression" in notes(path)


def test_a_pickle_of_data_says_that_it_shows_no_model(tmp_path):
    path = pickled(tmp_path / "m.pkl", {"threshold": 0.5})
    assert facts(path) == {"artifact.format": "pickle"}
    assert "no model of a library known here" in notes(path)


@pytest.mark.parametrize(("word", "family"), [("gbtree", "tree_ensemble"), ("gblinear", None)])
def test_xgboost_is_told_by_the_word_in_its_buffer(word, family, tmp_path):
    path = tmp_path / "m.pkl"
    path.write_bytes(b"\x80\x04cxgboost.sklearn\nXGBClassifier\n)\x81}X\x04\x00\x00\x00nameX" + struct.pack("<I", len(word)))
    path.write_bytes(path.read_bytes() + word.encode() + b"sb.")
    assert facts(path).get("model.family") == family


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("lzma", 3), ("xz", 3)], ids=str)
def test_joblib_compressed_or_not(compress, tmp_path):
    path = tmp_path / "m.joblib"
    joblib.dump(fitted(RandomForestClassifier(3)), path, compress=compress)
    assert facts(path) == {"artifact.format": "joblib"} | TREES | MULTI


def test_joblib_arrays_of_training_examples(tmp_path):
    path = tmp_path / "m.joblib"
    joblib.dump(fitted(KNeighborsClassifier()), path)
    assert facts(path) == {"artifact.format": "joblib"} | KNN


def test_skops(tmp_path):
    path = tmp_path / "m.skops"
    skops.io.dump(fitted(RandomForestClassifier(3)), path)
    assert facts(path) == {"artifact.format": "skops"} | TREES
    assert "written by skops" in notes(path)


# torch and safetensors -----------------------------------------------------------------------------------------------


def net() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(72, 3))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_whole_torch_module_takes_the_full_unpickler(zipped, tmp_path):
    torch.save(net(), tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    assert facts(tmp_path / "m.pt") == {"artifact.format": "torch"} | NN


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_state_dict_is_weights_only_and_shows_no_wiring(zipped, tmp_path):
    torch.save(net().state_dict(), tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    assert facts(tmp_path / "m.pt") == {"artifact.format": "torch_weights_only", "model.family": "nn"}
    assert "whether the loader does so, it cannot show" in notes(tmp_path / "m.pt")


def test_a_checkpoint_with_its_optimizer_is_weights_only(tmp_path):
    model = net()
    state = {"state_dict": model.state_dict(), "epoch": 3, "optimizer": torch.optim.Adam(model.parameters()).state_dict()}
    torch.save(state, tmp_path / "m.ckpt")
    torch.load(tmp_path / "m.ckpt", weights_only=True)  # torch agrees
    assert facts(tmp_path / "m.ckpt") == {"artifact.format": "torch_weights_only", "model.family": "nn"}


class Small(torch.nn.Module):
    """A module whose forward pass lies in the user's own code."""

    def __init__(self) -> None:
        super().__init__()
        self.line = torch.nn.Linear(3, 2)


def test_a_module_of_the_users_own_leaves_the_gradient_open(tmp_path):
    torch.save(Small(), tmp_path / "m.pt")
    assert facts(tmp_path / "m.pt") == {"artifact.format": "torch", "model.family": "nn"}


def test_torchscript_is_a_program_and_states_nothing_about_the_model(tmp_path):
    torch.jit.save(torch.jit.script(net()), tmp_path / "m.pt")
    assert facts(tmp_path / "m.pt") == {"artifact.format": "torchscript"}


def test_safetensors_with_its_parent(tmp_path):
    tensors = {"a.weight": np.zeros((4, 3), np.float32), "a.bias": np.zeros(4, np.float32), "b.weight": np.zeros((2, 4), np.float32)}
    save_file(tensors, tmp_path / "m.safetensors", metadata={"format": "pt", "base_model": "org/base"})
    expected = {"artifact.format": "safetensors", "model.family": "nn", "provenance.parent.ref": "org/base"}
    assert facts(tmp_path / "m.safetensors") == expected


def test_one_matrix_may_be_a_linear_model(tmp_path):
    save_file({"weight": np.zeros((4, 3), np.float32)}, tmp_path / "m.safetensors")
    assert facts(tmp_path / "m.safetensors") == {"artifact.format": "safetensors"}


# ONNX ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (LogisticRegression(), LINEAR | {"model.output": "score"} | MULTI),
        (Ridge(), LINEAR | {"system.task": "regression"}),
        (DecisionTreeClassifier(), TREES | {"model.family": "tree", "model.output": "score"} | MULTI),
        (RandomForestClassifier(3), TREES | {"model.output": "score"} | MULTI),
        (KNeighborsClassifier(), KNN | {"model.output": "score"} | MULTI),
        (SVC(), SVM | {"model.output": "score"} | MULTI),
        (MLPClassifier(3, max_iter=2), {"model.family": "nn", "model.differentiable": "yes", "model.output": "score"} | MULTI),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, dict) else "",
)
@pytest.mark.filterwarnings("ignore")
def test_onnx_of_an_estimator(model, expected, tmp_path):
    from skl2onnx import to_onnx

    path = tmp_path / "m.onnx"
    path.write_bytes(to_onnx(fitted(model), X[:1], target_opset={"": 17, "ai.onnx.ml": 3}).SerializeToString())
    assert facts(path) == {"artifact.format": "onnx"} | expected
    assert "producer: skl2onnx" in notes(path)


def small_onnx(ops: list[str], *, shape: tuple[int, ...] = (1, 3, 8, 8), denotation: str = "", **props: str):
    from onnx import TensorProto, helper

    names = [f"t{i}" for i in range(len(ops) + 1)]
    nodes = [helper.make_node(op, [names[i]], [names[i + 1]]) for i, op in enumerate(ops)]
    value = helper.make_tensor_value_info("t0", TensorProto.FLOAT, shape)
    value.type.denotation = denotation
    graph = helper.make_graph(nodes, "g", [value], [helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, None)])
    model = helper.make_model(graph)
    helper.set_model_props(model, props)
    return model


def test_onnx_shape_of_an_image_is_a_note_and_a_denotation_a_fact(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(small_onnx(["Conv", "Relu", "ArgMax"]).SerializeToString())
    assert facts(path) == {
        "artifact.format": "onnx", "model.family": "nn", "model.differentiable": "yes", "model.output": "label",
    }  # fmt: skip
    assert "looks like images" in notes(path)
    path.write_bytes(small_onnx(["Conv", "Softmax"], denotation="IMAGE", base_model="org/base", task="detect").SerializeToString())
    found = facts(path)
    assert (found["system.modality"], found["model.output"], found["system.task"]) == ("image", "score", "detection")
    assert found["provenance.parent.ref"] == "org/base"
    assert "looks like images" not in notes(path)


def test_onnx_inside_a_branch_is_seen(tmp_path):
    from onnx import TensorProto, helper

    inner = helper.make_graph([helper.make_node("LSTM", ["x"], ["y"])], "b", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    model = small_onnx(["Identity"])
    model.graph.node.append(helper.make_node("If", ["t1"], ["z"], then_branch=inner, else_branch=inner))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert facts(tmp_path / "m.onnx")["model.family"] == "nn"


def test_onnx_foreign_operators_are_named(tmp_path):
    model = small_onnx(["Conv"])
    model.graph.node[0].domain = "acme.ops"
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert "operators outside the standard: acme.ops.Conv" in notes(tmp_path / "m.onnx")
    assert "model.differentiable" not in facts(tmp_path / "m.onnx")


# Keras, SavedModel, TFLite -------------------------------------------------------------------------------------------

DIGITS = NN | {"model.output": "score", "system.task": "multiclass"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digits.keras", DIGITS | {"artifact.format": "keras_v3"}),
        ("digits.h5", DIGITS | {"artifact.format": "keras_h5"}),
        ("digits.weights.h5", {"artifact.format": "keras_h5"}),
        ("line.keras", LINEAR | {"artifact.format": "keras_v3", "model.output": "score", "system.task": "binary"}),
        ("lambda.keras", {"artifact.format": "keras_v3", "model.family": "nn"}),
        ("lambda.h5", {"artifact.format": "keras_h5", "model.family": "nn"}),
        ("digits_saved", {"artifact.format": "savedmodel", "model.family": "nn", "model.output": "score"}),
        ("digits.tflite", {"artifact.format": "tflite", "model.family": "nn", "model.differentiable": "yes", "model.output": "score"}),
        ("digits_int8.tflite", {"artifact.format": "tflite", "model.family": "nn", "model.output": "score"}),
        (
            "digits_metadata.tflite",
            {
                "artifact.format": "tflite", "model.family": "nn", "model.differentiable": "yes", "model.output": "score",
                "system.modality": "image",
            },
        ),
        ("line.tflite", {"artifact.format": "tflite", "model.family": "linear", "model.differentiable": "yes", "model.output": "score"}),
    ],
)  # fmt: skip
def test_artifacts_of_tensorflow(name, expected):
    assert facts(HERE / name) == expected


@pytest.mark.parametrize("name", ["lambda.keras", "lambda.h5"])
def test_a_lambda_layer_is_said_to_execute(name):
    assert "loading a Lambda layer executes the Python that it carries" in notes(HERE / name)


@pytest.mark.parametrize("name", ["digits.keras", "digits.h5", "digits_saved", "digits.tflite"])
def test_a_shape_like_an_image_is_a_note(name):
    assert "looks like images" in notes(HERE / name)


def test_hdf5_text_in_place_and_behind_a_user_block(tmp_path):
    config = json.dumps({"class_name": "Sequential", "config": {"layers": [{"class_name": "Dense", "config": {"units": 1}}]}})
    for block, value in ((0, config), (512, config), (0, np.bytes_(config))):
        path = tmp_path / f"m{block}.h5"
        with h5py.File(path, "w", userblock_size=block) as file:
            file.attrs["keras_version"] = "2.15.0"
            file.attrs["model_config"] = value
        assert facts(path)["model.family"] == "linear"


def test_hdf5_of_something_else_is_refused(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["table"] = np.zeros(4)
    with pytest.raises(UsageError, match="without the attributes that Keras writes"):
        read_model(tmp_path / "m.h5")


def test_keras_logits_are_shown_by_the_loss(tmp_path):
    config = {
        "class_name": "Sequential",
        "config": {"layers": [{"class_name": "Dense", "config": {"units": 5, "activation": "linear"}}]},
        "compile_config": {"loss": {"class_name": "SparseCategoricalCrossentropy", "config": {"from_logits": True}}},
    }
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as made:
        made.writestr("config.json", json.dumps(config))
        made.writestr("metadata.json", "{}")
    found = facts(tmp_path / "m.keras")
    assert (found["model.output"], found["system.task"]) == ("logits", "multiclass")


def test_a_folder_that_is_no_savedmodel_is_none(tmp_path):
    assert read_model(tmp_path) is None


# GGUF ----------------------------------------------------------------------------------------------------------------


def test_gguf_with_its_lineage(tmp_path):
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_base_model_count(1)
    writer.add_base_model_name(0, "Base")
    writer.add_base_model_organization(0, "Org")
    writer.add_dataset_count(2)
    writer.add_dataset_name(0, "one")
    writer.add_dataset_name(1, "two")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["a"] * 100)
    writer.add_chat_template("{{ messages }}")
    writer.add_tensor("t", np.zeros((4, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert facts(path) == {
        "artifact.format": "gguf", "model.family": "nn", "system.modality": "text", "provenance.parent.ref": "Base",
        "provenance.parent.source": "Org", "provenance.datasets": ["one", "two"],
    }  # fmt: skip
    assert "chat template" in notes(path) and "general.name: tiny" in notes(path)


# Nothing is loaded ---------------------------------------------------------------------------------------------------

CHILD = """
import sys
HEAVY = "torch tensorflow onnx onnxruntime sklearn keras h5py skops safetensors gguf joblib pandas scipy picklescan".split()
from casemate.imports.model_files import mapped, read_model
for path in sys.argv[1:]:
    assert read_model(path) is not None
print([name for name in HEAVY if name in sys.modules])
"""


class Bomb:
    """Would create a file when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


def test_nothing_is_loaded_and_no_code_runs(tmp_path):
    target = tmp_path / "was-here"
    joblib.dump([Bomb(target), fitted(RandomForestClassifier(2))], tmp_path / "b.joblib", compress=3)
    torch.save({"a": Bomb(target)}, tmp_path / "b.pt")
    torch.save({"a": Bomb(target)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    torch.save(net(), tmp_path / "net.pt")
    pickled(tmp_path / "b.pkl", Bomb(target))
    skops.io.dump(fitted(RandomForestClassifier(2)), tmp_path / "m.skops")
    (tmp_path / "m.onnx").write_bytes(small_onnx(["Conv"]).SerializeToString())
    save_file({"a": np.zeros(3)}, tmp_path / "m.safetensors")
    paths = [*map(str, tmp_path.iterdir()), *(str(HERE / name) for name in ("lambda.keras", "lambda.h5", "digits.tflite", "digits_saved"))]
    done = subprocess.run([sys.executable, "-c", CHILD, *paths], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
    assert not target.exists()
    assert facts(tmp_path / "b.pt")["artifact.format"] == facts(tmp_path / "old.pt")["artifact.format"] == "torch"
    for name in ("b.pkl", "b.joblib", "b.pt", "old.pt"):
        assert "posix.system: loading imports it" in notes(tmp_path / name)


# Hostile and broken files --------------------------------------------------------------------------------------------


def test_content_decides_and_a_wrong_ending_is_told(tmp_path):
    path = pickled(tmp_path / "m.safetensors", fitted(LogisticRegression()))
    assert facts(path)["artifact.format"] == "pickle"
    assert "named .safetensors, but its bytes are a pickle file, a format that can execute code" in notes(path)


def test_a_zip_behind_another_model_is_told(tmp_path):
    save_file({"a": np.zeros(3)}, tmp_path / "m.safetensors")
    with zipfile.ZipFile(tmp_path / "m.safetensors", "a") as behind:
        behind.writestr("data.pkl", b"\x80\x02N.")
    assert "a zip archive lies behind the model" in notes(tmp_path / "m.safetensors")


def header(tensors: dict[str, typing.Any]) -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return path


def test_ten_gigabytes_that_are_only_declared_are_told(tmp_path):
    path = tmp_path / "m.safetensors"
    size = 10 << 30
    path.write_bytes(header({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}))
    assert facts(path)["artifact.format"] == "safetensors"
    assert "the tensors end at byte" in notes(path)


def test_a_zip_bomb_is_refused(tmp_path):
    path = zip_of(tmp_path / "m.keras", {"metadata.json": b"{}", "config.json": b" " * (33 << 20)})
    with pytest.raises(UsageError, match=r"config\.json unpacks to more than .* a zip bomb"):
        read_model(path)


def test_a_directory_of_millions_of_members_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "m.keras"
    path.write_bytes(b"PK\x03\x04" + bytes(17 << 20) + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 65535, 65535, 17 << 20, 4, 0))
    with pytest.raises(UsageError, match="a zip file with a directory of 17,825,792 bytes"):
        read_model(path)


def test_members_that_leave_the_folder_are_told_and_nothing_is_unpacked(tmp_path):
    (tmp_path / "in").mkdir()
    config = json.dumps({"class_name": "Sequential", "config": {"layers": []}}).encode()
    path = zip_of(tmp_path / "in" / "m.keras", {"metadata.json": b"{}", "config.json": config, "../../evil.py": b"x"})
    assert "unpacking it writes outside the directory" in notes(path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["in", "m.keras"]


def test_two_members_of_one_name_are_told(tmp_path):
    torch.save(net().state_dict(), tmp_path / "m.pt")
    with zipfile.ZipFile(tmp_path / "m.pt", "a") as more, pytest.warns(UserWarning, match="Duplicate"):
        more.writestr("m/data.pkl", pickle.dumps(Bomb(tmp_path / "was-here")))
    assert facts(tmp_path / "m.pt")["artifact.format"] == "torch"
    assert "two members are named m/data.pkl" in notes(tmp_path / "m.pt")


def test_a_compressed_bomb_is_read_up_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("casemate.imports._pickles._MOST_UNPACKED", 1 << 20)
    path = tmp_path / "m.joblib"
    path.write_bytes(lzma.compress(pickle.dumps([b"\x00" * (8 << 20), "end"])))
    assert "what comes later was not seen" in notes(path)
    assert facts(path) == {"artifact.format": "joblib"}


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("m.json", b"[" * 100_000, None),
        ("m.safetensors", struct.pack("<Q", 200_000) + b'{"a":' + b"[" * 199_995, "no JSON that can be read"),
        ("m.safetensors", struct.pack("<Q", 40 << 20) + b"{" + bytes(41 << 20), "header of 41,943,040 bytes"),
        ("m.gguf", b"GGUF" + struct.pack("<IQQ", 3, 1, 1 << 62), "cannot be read"),
        ("m.gguf", b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 8, 1 << 60), "cannot be read"),
        ("m.gguf", b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 5000, "nested too deep"),
        ("m.tflite", b"\xff\xff\xff\x7fTFL3" + bytes(8), "cannot be read to its end"),
        ("m.h5", b"\x89HDF\r\n\x1a\n" + bytes(64), "without the attributes that Keras writes"),
        ("m.pt", b"PK\x03\x04" + bytes(100), "cut short"),
        ("m.onnx", bytes(100), "no model format known here"),
        ("m.pkl", b"", "is empty"),
        ("m.pkl", b"just words", "holds text"),
        ("m.bin", bytes(range(256)), None),
        ("m.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", None),
        ("m.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        ("m.joblib", b"\x04\x22\x4d\x18" + bytes(20), "compressed with lz4"),
        ("m.npy", b"\x93NUMPY\x01\x00", "arrays of NumPy"),
        ("m.bin", b"7z\xbc\xaf\x27\x1c" + bytes(20), "archive that is no model"),
    ],
    ids=lambda value: value[:12].hex() if isinstance(value, bytes) else str(value)[:30],
)  # fmt: skip
def test_broken_files_get_one_clear_message(name, content, why, tmp_path):
    (tmp_path / name).write_bytes(content)
    if why is None:
        assert read_model(tmp_path / name) is None
        return
    with pytest.raises(UsageError, match=why) as told:
        read_model(tmp_path / name)
    assert str(told.value).startswith(str(tmp_path / name)) and "\n" not in str(told.value)


def test_what_cannot_be_opened_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="there is no such file"):
        read_model(tmp_path / "nothing.pkl")
    os.mkfifo(tmp_path / "pipe.pkl")
    with pytest.raises(UsageError, match="no regular file"):
        read_model(tmp_path / "pipe.pkl")


def test_hostile_names_do_not_reach_a_terminal(tmp_path):
    model = small_onnx(["Conv"], shape=(1, 3, 4, 4), evil="\x1b[2J<script>")
    model.producer_name = "\x1b]0;owned\x07"
    model.graph.input[0].name = model.graph.node[0].input[0] = "a\nb\x1b"
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    found = read_model(tmp_path / "m.onnx")
    assert found is not None
    assert all(text.isprintable() for text in (*found.notes, *(fact.because for fact in found.facts)))


def test_lists_that_share_their_bytes_end():
    """A hostile FlatBuffer lets every operator have the same long list; reading it for each would take for ever."""
    # root offset, identifier, vtable of one slot, the table, a list of 1,000 numbers
    data = struct.pack("<I4sHHHxxiII", 16, b"TFL3", 6, 8, 4, 8, 4, 1000) + bytes(4000)
    table = Table(data, 16, Steps(10_000))
    assert len(table.numbers(0)) == 1000
    for _ in range(8):
        table.numbers(0)
    with pytest.raises(ValueError, match="too many entries"):
        [table.numbers(0) for _ in range(2)]


def test_a_graph_of_too_many_fields_is_refused(tmp_path, monkeypatch):
    (tmp_path / "m.onnx").write_bytes(small_onnx(["Conv"] * 50).SerializeToString())
    assert read_model(tmp_path / "m.onnx") is not None
    monkeypatch.setattr("casemate.imports._onnx._MOST_FIELDS", 100)
    with pytest.raises(UsageError, match="too many fields"):
        read_model(tmp_path / "m.onnx")


def test_graphs_within_graphs_end(tmp_path):
    from onnx import helper

    graph = helper.make_graph([], "g", [], [])
    for _ in range(20):
        graph = helper.make_graph([helper.make_node("If", ["x"], ["y"], then_branch=graph)], "g", [], [])
    (tmp_path / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(UsageError, match="graphs nested too deep"):
        read_model(tmp_path / "m.onnx")


def test_a_file_that_was_read_to_its_end_is_still_searched_from_its_start(tmp_path):
    """`find` of a memory map begins where the map stands, so that a marker before that place would be missed."""
    path = zip_of(tmp_path / "tail", {"a": b"b"})
    with mapped(path) as data:
        data.seek(0, os.SEEK_END)
        assert has_zip_tail(data)
    joblib.dump([np.zeros(3)], tmp_path / "m", protocol=0)
    with mapped(tmp_path / "m") as data:
        data.seek(0, os.SEEK_END)
        assert sniff_bytes(data) == "joblib"


def test_git_lfs_folders_and_text_beside_models_are_left_to_others(tmp_path):
    for name, content in (("README.md", b"---\nbase_model: a/b\n---\n"), ("c.yaml", b"services: {}\n"), ("a.json", b"{}"), ("x.json", b"\xff\xfe{\x00")):
        (tmp_path / name).write_bytes(content)
        assert read_model(tmp_path / name) is None


REAL = ["digits.keras", "digits.h5", "digits.tflite", "digits_metadata.tflite", "line.keras", "lambda.h5"]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_file_gives_facts_or_a_usage_error(data, tmp_path):
    name = data.draw(st.sampled_from(REAL))
    content = bytearray((HERE / name).read_bytes())
    for _ in range(data.draw(st.integers(0, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(content))))
    path = tmp_path / name
    path.write_bytes(bytes(content[:cut]))
    try:
        found = read_model(path)
    except UsageError:
        return
    assert found is None or isinstance(found, Import)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_graph_gives_facts_or_a_usage_error(data, tmp_path):
    content = bytearray((HERE / "digits_saved" / "saved_model.pb").read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path / "saved"
    folder.mkdir(exist_ok=True)
    (folder / "saved_model.pb").write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
    try:
        found = read_model(folder)
    except UsageError:
        return
    assert isinstance(found, Import)


def test_the_digest_of_a_folder_covers_names_and_contents(tmp_path):
    for name, content in (("saved_model.pbtxt", b"a"), ("variables/v", b"b")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)

    def digest() -> str:
        found = read_model(tmp_path)
        assert found is not None
        return {fact.path: fact.value for fact in found.facts}["$model.artifact.digest"]

    lines = "".join(f"{hashlib.sha256(c).hexdigest()}  {n}\n" for n, c in (("saved_model.pbtxt", b"a"), ("variables/v", b"b")))
    before = digest()
    assert before == "sha256:" + hashlib.sha256(lines.encode()).hexdigest()
    (tmp_path / "variables" / "v").rename(tmp_path / "variables" / "w")
    assert digest() != before
