"""Containers and data formats: what their readers must refuse, and what the report must say about it."""

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path

import pytest

from casemate.attacks.supply.scan import scan
from casemate.attacks.supply.sniff import Format, sniff_bytes
from casemate.core.errors import BadInput


def safetensors(raw: bytes, size: int = 0) -> bytes:
    return struct.pack("<Q", len(raw)) + raw + b"\x00" * size


def tensor(begin: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


BAD_SAFETENSORS = {
    "duplicate-key": (b'{"a": %s, "a": %s}' % ((b'{"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}',) * 2), 1),
    "overlap": (json.dumps({"a": tensor(0, 8, [2]), "b": tensor(4, 12, [2])}).encode(), 12),
    "hole": (json.dumps({"a": tensor(0, 4, [1]), "b": tensor(8, 12, [1])}).encode(), 12),
    "shape": (json.dumps({"a": tensor(0, 8, [3])}).encode(), 8),
    "negative": (json.dumps({"a": tensor(0, 8, [-2])}).encode(), 8),
    "dtype": (json.dumps({"a": tensor(0, 8, [2], "OBJECT")}).encode(), 8),
    "trailing": (json.dumps({"a": tensor(0, 8, [2])}).encode(), 9),
    "metadata": (b'{"__metadata__": {"a": 1}}', 0),
    "not-json": (b"{nonsense}", 0),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_SAFETENSORS)
def test_bad_safetensors(name: str, tmp_path: Path) -> None:
    raw, size = BAD_SAFETENSORS[name]
    (tmp_path / "m.safetensors").write_bytes(safetensors(raw, size))
    report = scan(tmp_path / "m.safetensors")
    assert report.format is Format.SAFETENSORS
    assert report.verdict == "unsafe"


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return bytes([number << 3, value])
    assert len(value) < 128
    return varint(number << 3 | 2) + bytes([len(value)]) + value


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128, value >> 7])


def onnx_with(graph: bytes) -> bytes:
    return field(1, 8) + field(7, graph) + field(8, field(2, 17))


def external(location: str) -> bytes:
    return onnx_with(field(5, field(13, field(1, b"location") + field(2, location.encode())) + field(14, 1)))


@pytest.mark.parametrize("location", ["../../etc/passwd", "/etc/passwd", "a/../../b", "..\\..\\b", "C:\\b", "\\b", ""])
def test_onnx_external_data_traversal(location: str, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(external(location))
    report = scan(tmp_path / "m.onnx")
    assert report.format is Format.ONNX
    assert report.verdict == "unsafe"


def test_onnx_external_data_beside_the_model(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(external("weights.bin"))
    assert scan(tmp_path).verdict == "unknown"
    (tmp_path / "weights.bin").write_bytes(b"\x00\x01" * 8)
    assert scan(tmp_path).verdict == "safe"
    assert scan(tmp_path / "weights.bin").verdict == "unknown"


def test_onnx_external_data_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"x")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "w").symlink_to(tmp_path / "outside")
    (tmp_path / "model" / "m").write_bytes(external("w"))
    assert scan(tmp_path / "model" / "m").verdict == "unsafe"


def test_onnx_operators(tmp_path: Path) -> None:
    path = tmp_path / "m"
    verdicts = {}
    for domain, name in ((b"", b"Relu"), (b"com.example", b"Own"), (b"ai.onnx.contrib", b"PyOp")):
        node = field(4, name) + (field(7, domain) if domain else b"")
        path.write_bytes(onnx_with(field(1, node)))
        verdicts[name] = scan(path).verdict
        inner = field(5, field(6, field(1, node)))  # in the body of an If
        path.write_bytes(onnx_with(field(1, field(4, b"If") + inner)))
        assert scan(path).verdict == verdicts[name]
    assert verdicts == {b"Relu": "safe", b"Own": "unknown", b"PyOp": "unsafe"}


MAGIC = {
    b"\x89HDF\r\n\x1a\n": Format.HDF5,
    b"7z\xbc\xaf\x27\x1c": Format.SEVEN_ZIP,
    b"\x1c\x00\x00\x00TFL3": Format.TFLITE,
    b"\x04\x22\x4d\x18": Format.COMPRESSED,
    b"ZF0x10": Format.TEXT,
    b"": Format.EMPTY,
    b"\x00\xff\x00": Format.UNKNOWN,
    b"I1\n.": Format.PICKLE,
    b"(lp0\n.": Format.PICKLE,
}


@pytest.mark.parametrize("content", MAGIC, ids=repr)
def test_sniff(content: bytes) -> None:
    assert sniff_bytes(content) is MAGIC[content]


@pytest.mark.parametrize("content", [c for c in MAGIC if MAGIC[c] in (Format.HDF5, Format.SEVEN_ZIP, Format.TFLITE)])
def test_a_format_without_a_reader_is_not_safe(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(content + b"\x00" * 40)
    assert scan(tmp_path / "m").verdict == "unknown"


def test_skops_types(tmp_path: Path) -> None:
    import zipfile

    for module, name, expected in (("sklearn.linear_model._logistic", "LogisticRegression", "safe"),
                                   ("os", "system", "unsafe")):  # fmt: skip
        schema = {"__class__": name, "__module__": module, "__loader__": "ObjectNode", "content": None}
        with zipfile.ZipFile(tmp_path / "m", "w") as archive:
            archive.writestr("schema.json", json.dumps(schema))
        report = scan(tmp_path / "m")
        assert (report.format, report.verdict) == (Format.SKOPS, expected), report.findings


def test_source_code_beside_a_model_is_not_vouched_for(tmp_path: Path) -> None:
    (tmp_path / "modeling.py").write_text("import os\n\nclass Own:\n    pass\n")
    assert scan(tmp_path).verdict == "unknown"


def test_links_and_pipes(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret").write_bytes(pickle.dumps(1))
    (tmp_path / "inside" / "a").write_bytes(pickle.dumps([1]))
    (tmp_path / "inside" / "b").symlink_to("a")
    assert scan(tmp_path / "inside").verdict == "safe"
    (tmp_path / "inside" / "c").symlink_to(tmp_path / "secret")
    report = scan(tmp_path / "inside")
    assert report.verdict == "unknown"
    assert "c" not in dict(report.members)
    os.mkfifo(tmp_path / "pipe")
    assert scan(tmp_path / "pipe").verdict == "unknown"


def test_names_from_the_file_cannot_drive_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"\x80\x02c\x1b[2Jos\nsystem\n.")
    assert all(finding.what.isprintable() for finding in scan(tmp_path / "m").findings)


def test_missing_path_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        scan(tmp_path / "nothing")
