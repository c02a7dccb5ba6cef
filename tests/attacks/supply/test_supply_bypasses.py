"""Published ways past artifact scanners, re-created with inert payloads. Each must not come out as safe.

The payloads name dangerous functions and would at most create the canary file or echo a word; nothing here is loaded.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from casemate.attacks.supply.scan import scan

Build = Callable[[str], bytes]


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def call(module: str, name: str, *args: str) -> bytes:
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(map(text, args)) + b"tR"


def whole(body: bytes, proto: int = 2) -> bytes:
    return b"\x80" + bytes([proto]) + body + b"."


def evil(canary: str) -> bytes:
    return whole(call("builtins", "open", canary, "w"), 4)


def zipped(content: bytes, name: str = "model/data.pkl", method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr(name, content)
    return out.getvalue()


def b(value: bytes) -> Build:
    return lambda canary: value


def memo_confusion(canary: str) -> bytes:
    """MEMOIZE stores the top of the stack, not the operand of the opcode before it."""
    hide = b"N0\x94"
    return whole(text("os") + hide + text("system") + hide + b"00h\x00h\x01\x93" + text("echo inert") + b"\x85R", 4)


def memo_overwritten(canary: str) -> bytes:
    return whole(
        text("collections")
        + b"q\x000"
        + text("os")
        + b"q\x000"
        + text("OrderedDict")
        + b"q\x010"
        + text("system")
        + b"q\x010h\x00h\x01\x93"
        + text("echo inert")
        + b"\x85R",
        4,
    )


def name_mismatch(canary: str) -> bytes:
    raw = zipped(evil(canary))
    return raw.replace(b"model/data.pkl", b"model/data.txt", 1)


def flag_bits(canary: str) -> bytes:
    raw = bytearray(zipped(evil(canary)))
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    return bytes(raw)


def bad_crc(canary: str) -> bytes:
    raw = zipped(evil(canary))
    crc = struct.pack("<I", zlib.crc32(evil(canary)))
    return raw.replace(crc, b"\x01\x02\x03\x04")


def hidden_member(canary: str) -> bytes:
    shown, hidden = zipped(pickle.dumps([1])), zipped(evil(canary))
    return hidden[: hidden.index(b"PK\x01\x02")] + shown


def legacy_tar(canary: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in (("sys_info", pickle.dumps({})), ("pickle", evil(canary))):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def tar_link(canary: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("weights")
        info.type, info.linkname = tarfile.SYMTYPE, "../../elsewhere"
        archive.addfile(info)
    return out.getvalue()


def keras_module(canary: str) -> bytes:
    layer = {"module": "subprocess", "class_name": "function", "config": "run", "registered_name": "run"}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", json.dumps({"class_name": "Sequential", "config": {"layers": [layer]}}))
    return out.getvalue()


def nested_tuples(canary: str) -> bytes:
    return whole(b")q\x00" + b"h\x00h\x00\x86q\x00" * 64)


def zip_bomb(canary: str) -> bytes:
    return zipped(b"\x80\x02" + b"N0" * 4_000_000 + b"N.", method=zipfile.ZIP_DEFLATED)


def overlapping_zip(canary: str) -> bytes:
    raw = zipped(pickle.dumps([1]), "a.pkl")
    at, end = raw.index(b"PK\x01\x02"), raw.index(b"PK\x05\x06")
    directory = raw[at:end]
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 2, 2, 2 * len(directory), at, 0)
    return raw[:at] + directory + directory + tail


def joblib_payload_is_a_program(canary: str) -> bytes:
    """joblib skips these bytes as an array; a plain unpickler goes on executing them."""
    program = call("builtins", "open", canary, "w") + b"."
    state = (
        b"}("
        + text("subclass")
        + b"cnumpy\nndarray\n"
        + text("shape")
        + b"K"
        + bytes([len(program)])
        + b"\x85"
        + text("order")
        + text("C")
        + text("dtype")
        + b"cnumpy\ndtype\n("
        + text("u1")
        + b"\x89\x88tR"
        + text("allow_mmap")
        + b"\x89u"
    )
    return b"\x80\x02cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81" + state + b"b" + program + b"."


def polyglot_safetensors(canary: str) -> bytes:
    return struct.pack("<Q", 2) + b"{}" + zipped(evil(canary))


def numpy_builtins(canary: str) -> bytes:
    return whole(b"cnumpy\n__builtins__\n}" + text("x") + text("y") + b"sb")


def state_on_class(canary: str) -> bytes:
    return whole(b"ccollections\nOrderedDict\nN}" + text("update") + b"ccollections\nOrderedDict\ns\x86b")


def setstate_injected(canary: str) -> bytes:
    return whole(b"ccollections\nOrderedDict\n)\x81}" + text("__setstate__") + b"cnumpy\nmean\nsb" + text("x") + b"b")


def object_npy(canary: str) -> bytes:
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + evil(canary)


def gguf_template(canary: str) -> bytes:
    key, value = b"tokenizer.chat_template", b"{{ cycler.__init__.__globals__ }}"
    pair = struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(value)) + value
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + pair


BYPASSES: dict[str, tuple[str, Build]] = {
    "01-nullifai-7z": ("model.pt", lambda c: b"7z\xbc\xaf\x27\x1c\x00\x04" + evil(c)),
    "01-nullifai-broken-after-call": ("model.pt", lambda c: evil(c)[:-1] + b"\xff\xff"),
    "01-truncated-after-call": ("model.pkl", lambda c: evil(c)[:-1]),
    "02-memo-confusion": ("model.pkl", memo_confusion),
    "02-memo-overwritten": ("model.pkl", memo_overwritten),
    "03-wrong-extension-text": ("notes.txt", evil),
    "03-wrong-extension-image": ("logo.png", evil),
    "03-pickle-named-torch": ("model.pt", evil),
    "03-pickle-named-safetensors": ("model.safetensors", evil),
    "03-zip-name-mismatch": ("model.pt", name_mismatch),
    "03-zip-flag-bits": ("model.pt", flag_bits),
    "03-zip-bad-crc": ("model.pt", bad_crc),
    "03-zip-hidden-member": ("model.pt", hidden_member),
    "03-zip-odd-member-name": ("model.pt", lambda c: zipped(evil(c), "weights")),
    "03-zip-traversal": ("model.zip", lambda c: zipped(b"{}", "../../startup.json")),
    "03-pip-main": ("model.pkl", b(whole(call("pip", "main", "inert")))),
    "03-submodule": ("model.pkl", b(whole(call("asyncio.unix_events", "_UnixSubprocessTransport._start", "x")))),
    "04-resolve-name": ("model.pkl", b(whole(call("pkgutil", "resolve_name", "os:system")))),
    "04-importlib": ("model.pkl", b(whole(call("importlib", "import_module", "os")))),
    "04-attrgetter-chain": (
        "model.pkl",
        b(whole(call("operator", "attrgetter", "system") + b"(" + call("importlib", "import_module", "os") + b"tR")),
    ),
    "04-partial": ("model.pkl", b(whole(b"cfunctools\npartial\n(cos\nsystem\n" + text("echo inert") + b"tR"))),
    "04-computed-global": (
        "model.pkl",
        b(whole(b"c_codecs\nencode\n" + text("os") + text("utf-8") + b"\x86R" + text("system") + b"\x93", 4)),
    ),
    "05-numpy-builtins-build": ("model.pkl", numpy_builtins),
    "05-state-on-class": ("model.pkl", state_on_class),
    "05-setstate-injected": ("model.pkl", setstate_injected),
    "06-collect-env": ("model.pkl", b(whole(call("torch.utils.collect_env", "run", "echo inert")))),
    "06-spawnv-passfds": ("model.pkl", b(whole(call("multiprocessing.util", "spawnv_passfds", "echo")))),
    "06-mailcap": ("model.pkl", b(whole(call("mailcap", "findmatch", "x")))),
    "06-mlflow": ("model.pkl", b(whole(call("mlflow.projects.backend.local", "_run_entry_point", "echo inert")))),
    "06-pandas-exfiltration": ("model.pkl", b(whole(call("pandas.io.parsers.readers", "read_csv", "inert")))),
    "06-nested-unpickle": ("model.pkl", b(whole(call("torch.storage", "_load_from_bytes", "inert")))),
    "07-popped-call": ("model.pkl", lambda c: whole(call("builtins", "open", c, "w") + b"0N")),
    "07-scanner-deactivation": ("model.pkl", b(whole(call("fickling.hook", "deactivate_safe_ml_environment")))),
    "08-keras-module": ("model.keras", keras_module),
    "08-keras-h5-lambda": ("model.h5", b(b"\x89HDF\r\n\x1a\n" + b'{"class_name": "Lambda", "config": {}}')),
    "09-torch-legacy-tar": ("model.pt", legacy_tar),
    "09-tar-link": ("model.tar", tar_link),
    "10-nested-memo": ("model.pkl", nested_tuples),
    "10-zip-bomb": ("model.pt", zip_bomb),
    "10-overlapping-zip": ("model.zip", overlapping_zip),
    "10-huge-allocation": ("model.pkl", b(whole(b"cbuiltins\nbytearray\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85R"))),
    "11-joblib-payload": ("model.joblib", joblib_payload_is_a_program),
    "11-second-pickle": ("model.pkl", lambda c: pickle.dumps([1]) + evil(c)),
    "11-safetensors-and-zip": ("model.safetensors", polyglot_safetensors),
    "11-pickle-behind-tar-name": ("model.tar", lambda c: evil(c).ljust(257, b".") + b"ustar" + b"\x00" * 300),
    "11-hexadecimal-integer": ("notes.txt", b(b"I0x10\n0cos\nsystem\n(S'true'\ntR.")),
    "11-long-base-zero": ("notes.txt", b(b"L0x10L\n0cos\nsystem\n(S'true'\ntR.")),
    "11-string-beyond-ascii": ("notes.txt", b("S'é'\n0cos\nsystem\n(S'true'\ntR.".encode())),
    "11-global-without-last-newline": ("notes.txt", b(b"cantigravity\nflyX")),
    "11-hexadecimal-behind-tar-name": (
        "m.tar",
        b(b"I0x10\n0cos\nsystem\n(S'true'\ntR.".ljust(257, b".") + b"ustar" + b"\x00" * 300),
    ),
    "12-inst": ("model.pkl", b(b"(" + text("echo inert") + b"ios\nsystem\n.")),
    "12-obj": ("model.pkl", b(whole(b"(cos\nsystem\n" + text("echo inert") + b"o"))),
    "12-newobj": ("model.pkl", b(whole(b"csubprocess\nPopen\n" + text("echo") + b"\x85\x81"))),
    "12-newobj-ex": ("model.pkl", b(whole(b"csubprocess\nPopen\n" + text("echo") + b"\x85}\x92", 4))),
    "12-extension": ("model.pkl", b(whole(b"\x82\x01"))),
    "12-persistent-id": ("model.pkl", b(whole(text("x") + b"Q"))),
    "12-next-buffer": ("model.pkl", b(whole(b"\x97", 5))),
    "12-python-2-names": ("model.pkl", b(b"c__builtin__\neval\n(S'1'\ntR.")),
    "12-object-npy": ("array.npy", object_npy),
    "12-object-npz": ("arrays.npz", lambda c: zipped(object_npy(c), "a.npy")),
    "12-compressed": ("model.joblib", lambda c: zlib.compress(evil(c))),
    "12-gguf-template": ("model.gguf", gguf_template),
    "12-auto-map": ("config.json", b(b'{"auto_map": {"AutoModel": "modeling.Own"}}')),
    "12-unknown-format": ("model.bin", b(b"\x00\x01\x02 nobody knows")),
}

# What picklescan alone lets through, kept as a measurement: an upgrade that changes it shows here
PICKLESCAN_MISSES_AT_LEAST = 10


@pytest.mark.parametrize("name", BYPASSES)
def test_bypass_is_never_safe_and_never_runs(name: str, tmp_path: Path) -> None:
    filename, build = BYPASSES[name]
    canary = tmp_path / "canary"
    path = tmp_path / filename
    path.write_bytes(build(str(canary)))
    report = scan(path)
    assert report.verdict != "safe", report.findings
    assert report.blocks
    assert not canary.exists()


@pytest.mark.parametrize("name", [name for name in BYPASSES if name[:2] in ("02", "04", "06", "07")])
def test_code_is_reported_as_unsafe_not_merely_unknown(name: str, tmp_path: Path) -> None:
    filename, build = BYPASSES[name]
    path = tmp_path / filename
    path.write_bytes(build(str(tmp_path / "canary")))
    assert scan(path).verdict == "unsafe"


def picklescan_catches(path: Path) -> bool:
    from picklescan.scanner import scan_file_path  # type: ignore[import-untyped]

    try:
        answer = scan_file_path(str(path))
    except Exception:
        return True  # generous: an exception at least stops a careful caller
    return bool(answer.issues_count or answer.scan_err)


def test_union_catches_what_picklescan_alone_misses(tmp_path: Path) -> None:
    missed = []
    for name, (filename, build) in BYPASSES.items():
        if name == "10-zip-bomb":
            continue  # picklescan needs ten seconds and most of the memory for it
        path = tmp_path / name / filename
        path.parent.mkdir()
        path.write_bytes(build(str(tmp_path / "canary")))
        if not picklescan_catches(path):
            missed.append(name)
    assert len(missed) >= PICKLESCAN_MISSES_AT_LEAST, missed
    assert scan(tmp_path).verdict == "unsafe"
    assert not (tmp_path / "canary").exists()
    print(f"{len(BYPASSES)} re-creations; picklescan alone misses {len(missed)}: {', '.join(missed)}")


def test_canary_fires_when_really_loaded(tmp_path: Path) -> None:
    """The canary is a real one: our own file, loaded on purpose, creates it. Otherwise its absence proves nothing."""
    canary = tmp_path / "canary"
    pickle.loads(evil(str(canary))).close()
    assert canary.exists()


def test_opcode_limit_is_a_finding(tmp_path: Path) -> None:
    from casemate.attacks.supply._finding import Limits

    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x02" + b"N0" * 5000 + b"N.")
    assert scan(path).verdict == "safe"
    report = scan(path, limits=Limits(opcodes=1000))
    assert report.verdict == "unknown"
    assert {s.name for s in report.scanners if s.verdict == "unknown"} == {"walker", "picklescan"}


def test_a_scanner_that_fails_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import picklescan.scanner  # type: ignore[import-untyped]

    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(picklescan.scanner, "scan_pickle_bytes", broken)
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps([1, 2]))
    report = scan(path)
    assert report.verdict == "unknown"
    assert any("out of order" in finding.what for finding in report.findings)
