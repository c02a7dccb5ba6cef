"""One blob of bytes to findings: which readers look at which format, and what each of them leaves open."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from casemate.attacks.supply import _archive, _documents, _onnx, _tensors, walk
from casemate.attacks.supply._finding import (
    Data,
    Finding,
    Limits,
    Notebook,
    Severity,
    verdict_of,
)
from casemate.attacks.supply._machine import Storage
from casemate.attacks.supply._values import Allowed
from casemate.attacks.supply.sniff import (
    Format,
    compression,
    decompress,
    is_inert,
    is_pickle,
    sniff_bytes,
)
from casemate.attacks.supply.walk import Loader, Walk, broken_finding

SNIFFER = "format"
PICKLESCAN = "picklescan"
TENSORS = "tensor reader"

_PICKLES = {Format.PICKLE, Format.JOBLIB, Format.TORCH_LEGACY}
_ZIPS = {Format.ZIP, Format.NPZ, Format.TORCH_ZIP, Format.TORCHSCRIPT, Format.KERAS, Format.SKOPS}
_BITS_OF_TORCH = {
    "DoubleStorage": 8,
    "LongStorage": 8,
    "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16,
    "FloatStorage": 4,
    "IntStorage": 4,
    "QInt32Storage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "ShortStorage": 2,
}
_TORCH_NOTES = {"version", "byteorder", ".format_version", ".storage_alignment", ".data/serialization_id"}


@dataclass(slots=True)
class Inspection:
    """What one scan accumulates."""

    allowed: Allowed
    limits: Limits
    left: _archive.Allowance
    findings: list[Finding] = field(default_factory=list)
    formats: list[tuple[str, Format]] = field(default_factory=list)
    ran: dict[str, int] = field(default_factory=dict)
    external: set[Path] = field(default_factory=set)

    def note(self, scanner: str, where: str) -> Notebook:
        """A notebook for one scanner at one place; what is written there is kept even if the scanner then fails."""
        self.ran[scanner] = self.ran.get(scanner, 0) + 1
        return Notebook(where, scanner, found=self.findings)


def inspect(i: Inspection, data: Data, where: str, *, folder: Path | None = None, deep: int = 0) -> Format:
    """Look at one blob with everything that fits its format. A reader that fails is a finding, never an exception."""
    book = i.note(SNIFFER, where)
    if deep > i.limits.depth:
        book.add(Severity.MEDIUM, None, "nested too deep", "it was not looked at")
        return Format.UNKNOWN
    try:
        found = sniff_bytes(data)
        i.formats.append((where, found))
        _read(i, found, data, where, folder, deep, book)
        _second_faces(i, found, data, where, deep, book)
    except Exception as error:  # noqa: BLE001  whatever a crafted file breaks, the file is not vouched for
        text = f"a reader failed: {type(error).__name__}: {error}"
        book.add(Severity.MEDIUM, None, text, "what cannot be read cannot be vouched for")
        return Format.UNKNOWN
    return found


def _read(i: Inspection, found: Format, data: Data, where: str, folder: Path | None, deep: int, book: Notebook) -> None:
    if found in _ZIPS:
        _zip(i, found, data, where, deep)
    elif found in _PICKLES and not compression(data):
        pickle_streams(i, data, where, Loader.TORCH if found is Format.TORCH_LEGACY else Loader.PICKLE)
    elif found in (Format.JOBLIB, Format.COMPRESSED):
        _compressed(i, data, where, deep, book)
    elif found is Format.ONNX:
        _onnx.check_onnx(data, i.note(_onnx.SCANNER, where), i.limits, folder, i.external)
    elif found is Format.TAR:
        _members(i, _archive.tar_members(data, i.note(_archive.SCANNER, where), i.limits, i.left), where, deep)
    elif found is Format.EMPTY:
        book.add(Severity.INFO, None, "empty file", "there is nothing to load")
    elif not _plain(i, found, data, where):
        book.add(Severity.MEDIUM, 0, f"format: {found}", "there is no reader for it here, so that nobody looked")


def _plain(i: Inspection, found: Format, data: Data, where: str) -> bool:
    """The formats without members; False when there is no reader."""
    if found is Format.SAFETENSORS:
        _tensors.check_safetensors(data, i.note(TENSORS, where))
    elif found is Format.GGUF:
        _tensors.check_gguf(data, i.note(TENSORS, where), i.limits)
    elif found is Format.NPY:
        start = _tensors.check_npy(data, i.note(TENSORS, where))
        if start is not None:
            pickle_streams(i, data, where, Loader.PICKLE, start)
    elif found is Format.JSON:
        _documents.check_json(data, i.note(_documents.SCANNER, where))
    elif found is Format.TEXT:
        _documents.check_text(data, i.note(_documents.SCANNER, where), i.limits)
    else:
        _documents.check_markers(data, i.note(_documents.SCANNER, where))
        return False
    return True


def _second_faces(i: Inspection, found: Format, data: Data, where: str, deep: int, book: Notebook) -> None:
    """A file that two readers understand differently: each reading is followed, and the double meaning is a finding."""
    also = found not in _PICKLES and is_pickle(data) and not is_inert(data)
    if also and _does_something(_walk(i, data, where, Loader.PICKLE, 0, None)):
        book.add(Severity.HIGH, 0, f"{found} that also reads as a pickle", "the loader decides which of the two it is")
        pickle_streams(i, data, where, Loader.PICKLE)
    if found not in _ZIPS | {Format.TAR} and not compression(data) and _archive.has_zip_tail(data):
        book.add(
            Severity.HIGH, None, f"{found} with a zip archive behind it", "the loader decides which of the two it is"
        )
        _zip(i, Format.ZIP, data, where, deep)


def _does_something(result: Walk) -> bool:
    """Magic numbers are opcodes too; they matter if an unpickler would get to a global or an end, or nobody can tell."""
    blind = any(finding.severity is Severity.CRITICAL for finding in result.findings)
    return bool(result.streams or result.globals or blind) or not result.certain


def _compressed(i: Inspection, data: Data, where: str, deep: int, book: Notebook) -> None:
    content, whole, behind = decompress(data, min(i.limits.member_bytes, i.left.bytes))
    i.left.bytes -= len(content)
    if not whole:
        book.add(Severity.HIGH, None, "compressed stream is cut or too large", "a loader may read more than was judged")
    if behind:
        book.add(
            Severity.MEDIUM, None, f"{behind} bytes behind the compressed stream", "another reader may start there"
        )
    inspect(i, content, f"{where}!{compression(data)}", deep=deep + 1)


def _members(i: Inspection, members: Iterator[_archive.Member], where: str, deep: int) -> None:
    for member in members:
        if member.content is not None and not member.name.endswith("/"):
            inspect(i, member.content, f"{where}!{member.name}", deep=deep + 1)


def _zip(i: Inspection, found: Format, data: Data, where: str, deep: int) -> None:
    members = _archive.zip_members(data, i.note(_archive.SCANNER, where), i.limits, i.left)
    if found in (Format.TORCH_ZIP, Format.TORCHSCRIPT):
        _torch(i, members, where, deep)
        return
    for member in members:
        if member.content is None or (member.name.endswith("/") and not member.content):
            continue
        inside = f"{where}!{member.name}"
        inspect(i, member.content, inside, deep=deep + 1)
        if found is Format.KERAS and member.name == "config.json":
            _documents.check_keras(member.content, i.note(_documents.SCANNER, inside))
        if found is Format.SKOPS and member.name == "schema.json":
            _documents.check_skops(member.content, i.note(_documents.SCANNER, inside), i.allowed)


def _torch(i: Inspection, members: Iterator[_archive.Member], where: str, deep: int) -> None:
    """Raw tensor files mean nothing by themselves: they must be the ones that the pickle names, of the right size."""
    raw: dict[str, int] = {}
    named: dict[str, int | None] = {}
    for member in members:
        inside, tail = f"{where}!{member.name}", member.name.split("/", 1)[-1]
        if member.content is None:
            continue
        if tail in ("data.pkl", "constants.pkl"):
            i.formats.append((inside, Format.PICKLE))
            for storage in pickle_streams(i, member.content, inside, Loader.TORCH).storages:
                named[storage.key] = storage_bytes(storage)
        elif tail.startswith("data/"):
            raw[tail[5:]] = len(member.content)
        elif tail.startswith("code/"):
            book = i.note(SNIFFER, inside)
            book.add(Severity.MEDIUM, None, "TorchScript code", "a program with file access; it was not judged")
        elif tail not in _TORCH_NOTES or len(member.content) > 64:
            inspect(i, member.content, inside, deep=deep + 1)
    book = i.note(TENSORS, where)
    for key, size in raw.items():
        if named.get(key) not in (size, None) or key not in named:
            book.add(Severity.MEDIUM, None, f"data/{key}: {size} bytes", "the pickle does not describe these bytes")
    for key in named.keys() - raw.keys():
        book.add(Severity.MEDIUM, None, f"data/{key} is missing", "the pickle names bytes that are not in the file")


def storage_bytes(storage: Storage) -> int:
    """Bytes of a torch storage; the one-byte types are those not listed."""
    return storage.elements * _BITS_OF_TORCH.get(storage.dtype, 1)


def pickle_streams(i: Inspection, data: Data, where: str, loader: Loader, start: int = 0) -> Walk:
    """Walk the pickles, as every loader that may read them would, and ask picklescan about the same opcodes."""
    legacy = loader is Loader.TORCH and start == 0 and sniff_bytes(data) is Format.TORCH_LEGACY
    before = len(i.findings)
    book = i.note(walk.SCANNER, where)
    result = _walk(i, data, where, loader, start, 5 if legacy else None)
    explained = legacy and len(data) - result.end == _storage_area(result)
    i.findings.extend(result.findings)
    if result.uses_joblib:
        arrays = _walk(i, data, where, Loader.JOBLIB, start, None)
        i.findings.extend(arrays.findings)
        complete = arrays.broken is None and arrays.end == len(data)
        if complete and (result.streams or result.certain):
            result, explained = arrays, True  # a plain unpickler stops inside the array bytes, joblib reads them
        elif not complete:
            result = arrays if arrays.broken else result
    broken = broken_finding(result, where)
    if broken:
        i.findings.append(broken)
    elif result.end < len(data) and not explained:
        book.add(Severity.MEDIUM, result.end, "bytes behind the pickle", "no reader here accounts for them")
    book.add(Severity.LOW, start, "pickle", "a format that can run code when loaded; what it names was judged")
    ours = verdict_of(i.findings[before:])
    _compare(i, ours, picklescan(i, data, result, where), where)
    return result


def _walk(i: Inspection, data: Data, where: str, loader: Loader, start: int, most: int | None) -> Walk:
    return walk.walk(data, start=start, where=where, loader=loader, allowed=i.allowed, limits=i.limits, most=most)


def _storage_area(result: Walk) -> int:
    """A legacy torch file ends with each storage as a count of eight bytes and its raw bytes."""
    return sum(8 + storage_bytes(storage) for storage in {s.key: s for s in result.storages}.values())


def picklescan(i: Inspection, data: Data, result: Walk, where: str) -> bool | None:
    """Ask picklescan about the opcodes without the array bytes, which it would stumble over. None when it failed."""
    book = i.note(PICKLESCAN, where)
    if result.opcodes > i.limits.opcodes:
        book.add(Severity.MEDIUM, None, "not run", "too many opcodes: it keeps all of them in memory")
        return None
    try:
        # imported here: it brings an HTTP client, and not every scan meets a pickle
        from picklescan.scanner import SafetyLevel, scan_pickle_bytes

        logging.getLogger("picklescan").addHandler(logging.NullHandler())
        opcodes = b"".join(data[start:end] for start, end in result.spans)
        answer = scan_pickle_bytes(io.BytesIO(opcodes), where)
    except Exception as error:  # noqa: BLE001  a scanner that fails is a finding
        book.add(Severity.MEDIUM, None, f"failed: {type(error).__name__}: {error}", "it did not vouch for the file")
        return None
    for name in answer.globals:
        if name.safety is SafetyLevel.Dangerous:
            book.add(Severity.HIGH, None, f"{name.module}.{name.name}", "on picklescan's list of dangerous globals")
    if answer.scan_err:
        book.add(Severity.MEDIUM, None, "stopped early", "it could not read the stream to its end")
    return bool(answer.issues_count)


def _compare(i: Inspection, ours: str, theirs: bool | None, where: str) -> None:
    if theirs is not None and theirs != (ours == "unsafe"):
        book = Notebook(where, "comparison", found=i.findings)
        text = f"scanners disagree: walker {ours}, picklescan {'unsafe' if theirs else 'finds nothing'}"
        book.add(Severity.LOW, None, text, "two readers understand the file differently; the stricter one decides")
