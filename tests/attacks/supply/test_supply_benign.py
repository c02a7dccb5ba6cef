"""Files as honest people write them must pass: a scanner that cries wolf gets switched off."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from casemate.attacks.supply._values import default_allowed
from casemate.attacks.supply.scan import Report, scan
from casemate.attacks.supply.sniff import Format, sniff


def assert_safe(path: Path, expected: Format) -> Report:
    report = scan(path)
    assert report.verdict == "safe", report.findings
    assert report.format is expected
    assert sniff(path) is expected
    return report


def safetensors(header: dict[str, object], size: int) -> bytes:
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + b"\x00" * size


@pytest.mark.parametrize("compress", [0, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)], ids=str)
def test_joblib_dump_of_an_estimator(compress: object, tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    path = tmp_path / "model.any"
    joblib.dump(fitted(), path, compress=compress)
    report = assert_safe(path, Format.JOBLIB)
    assert any("can run code when loaded" in finding.reason for finding in report.findings)
    assert {scanner.name for scanner in report.scanners} >= {"walker", "picklescan"}


@pytest.mark.parametrize("protocol", range(6))
def test_pickle_of_an_estimator(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(pickle.dumps(fitted(), protocol))
    assert_safe(path, Format.PICKLE)


def fitted() -> object:
    ensemble = pytest.importorskip("sklearn.ensemble")
    linear = pytest.importorskip("sklearn.linear_model")
    pipeline = pytest.importorskip("sklearn.pipeline")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 4)), np.array(["no", "yes"] * 30)
    boosted = ensemble.HistGradientBoostingClassifier(max_iter=2).fit(x, y)
    forest = ensemble.RandomForestClassifier(3, random_state=0).fit(x, y)
    steps = pipeline.make_pipeline(preprocessing.StandardScaler(), linear.LogisticRegression()).fit(x, y)
    return {"boosted": boosted, "forest": forest, "steps": steps}


def test_joblib_arrays_of_every_layout(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    arrays = {
        "c": np.zeros((3, 4)),
        "fortran": np.asfortranarray(np.ones((3, 4))),
        "record": np.zeros(3, dtype="i4,f8,U3"),
        "scalar": np.array(1.0),
        "dates": np.array(["2020-01-01"], dtype="M8[D]"),
        "bytes": np.frombuffer(b"cos\nsystem\n(tR.", dtype="u1"),
    }
    joblib.dump(arrays, tmp_path / "arrays")
    assert_safe(tmp_path / "arrays", Format.JOBLIB)
    joblib.dump(np.array([1, "a", {}], dtype=object), tmp_path / "objects")
    assert_safe(tmp_path / "objects", Format.JOBLIB)


@pytest.mark.parametrize("modern", [True, False], ids=["zip", "legacy"])
def test_torch_state_dict(modern: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Linear(3, 99), torch.nn.BatchNorm1d(99)).half()
    path = tmp_path / "weights"
    torch.save(module.state_dict(), path, _use_new_zipfile_serialization=modern)
    assert_safe(path, Format.TORCH_ZIP if modern else Format.TORCH_LEGACY)


def test_numpy_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(2, 3))
    assert_safe(tmp_path / "a.npy", Format.NPY)
    np.save(tmp_path / "o.npy", np.array([1, "a"], dtype=object))
    assert any(finding.what == "object array" for finding in assert_safe(tmp_path / "o.npy", Format.NPY).findings)
    np.savez(tmp_path / "z.npz", a=np.zeros(3), b=np.ones(2))
    assert_safe(tmp_path / "z.npz", Format.NPZ)
    np.savez_compressed(tmp_path / "c.npz", a=np.zeros(3000))
    assert_safe(tmp_path / "c.npz", Format.NPZ)


def test_safetensors_by_hand(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BF16", "shape": [], "data_offsets": [24, 26]},
    }
    (tmp_path / "m").write_bytes(safetensors(header, 26))
    assert_safe(tmp_path / "m", Format.SAFETENSORS)


def test_onnx_model(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper, path = onnx.helper, tmp_path / "m"
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy")
    onnx.save(helper.make_model(helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])), path)
    assert_safe(path, Format.ONNX)


def test_model_directory(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"hidden_size": 4}')
    (tmp_path / "README.md").write_text("# A model\n\nIt reads digits.\n")
    (tmp_path / "model.safetensors").write_bytes(safetensors({}, 0))
    report = scan(tmp_path)
    assert report.verdict == "safe", report.findings
    assert report.format is Format.DIRECTORY
    assert [where for where, _ in report.members] == ["README.md", "config.json", "model.safetensors"]
    assert json.loads(json.dumps(report.to_dict()))["verdict"] == "safe"
    (tmp_path / "config.json").write_text('{"hidden_size": 5}')
    assert scan(tmp_path).sha256 != report.sha256


def test_allow_list_names_only_what_its_libraries_define() -> None:
    """A re-exported name would let a harmless line of the list reach another library."""
    import importlib

    pytest.importorskip("sklearn")
    for module, name in default_allowed():
        if module.startswith("sklearn.") and not name.startswith("__pyx"):
            found = getattr(importlib.import_module(module), name, None)
            if found is not None and getattr(found, "__module__", None):
                assert found.__module__.startswith("sklearn."), (module, name)
