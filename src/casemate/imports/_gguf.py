"""GGUF: the key-value header. The tensors behind it are not read."""

from __future__ import annotations

import struct
from typing import Any

from casemate.attacks.supply._finding import Data, Limits, Notebook, printable
from casemate.attacks.supply._tensors import check_gguf
from casemate.imports._reading import Reading, refuse

_MOST_PAIRS = 100_000
_MOST_STEPS = 3_000_000  # strings in lists: a vocabulary has some 200,000
_MOST_TENSORS = 10_000_000
_KEPT = 4096
_CODES = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _LIST = 8, 9
_DEEPEST = 4
_SHOWN = ("general.name", "general.organization", "general.author", "general.license", "general.quantized_by", "general.version")


class _Header:
    """A reader that walks over the header once."""

    def __init__(self, data: Data) -> None:
        self._data, self.at, self._steps = data, 4, 0

    def number(self, code: str) -> Any:
        (value,) = struct.unpack_from(code, self._data, self.at)
        self.at += struct.calcsize(code)
        return value

    def string(self) -> str:
        """A string; of a long one only its head is kept."""
        length = self.number("<Q")
        if self.at + length > len(self._data):
            raise ValueError("a string reaches past the end")
        kept = bytes(self._data[self.at : self.at + min(length, _KEPT)])
        self.at += length
        return kept.decode("utf-8", "replace")

    def value(self, kind: int, deep: int = 0) -> Any:
        """A value; of a list of more than 64 the first 64."""
        self._steps += 1
        if self._steps > _MOST_STEPS or deep > _DEEPEST:
            raise ValueError("too many values, or nested too deep")
        if kind == _STRING:
            return self.string()
        if kind in _CODES:
            return self.number(_CODES[kind])
        if kind != _LIST:
            raise ValueError(f"value type {kind}")
        inner, count = self.number("<I"), self.number("<Q")
        if inner in _CODES:
            width = struct.calcsize(_CODES[inner])
            if self.at + width * count > len(self._data):
                raise ValueError("a list reaches past the end")
            kept = [self.number(_CODES[inner]) for _ in range(min(count, 64))]
            self.at += width * (count - len(kept))
            return kept
        kept = []
        for index in range(count):
            item = self.value(inner, deep + 1)
            if index < 64:
                kept.append(item)
        return kept


def read_gguf(r: Reading, data: Data) -> None:
    """The keys that say what the model is and what it was made from."""
    r.format = "GGUF file"
    r.model("artifact.format", "gguf", "magic bytes GGUF")
    try:
        keys, tensors = _pairs(data)
    except (struct.error, ValueError) as error:
        raise refuse(r.file, f"a GGUF file whose header cannot be read ({error}): cut short, crafted, or big-endian") from error
    book = Notebook(r.file, "gguf")
    check_gguf(data, book, Limits(opcodes=_MOST_STEPS))
    r.objections(book.found)
    for found in book.found:
        if found.what == "chat template":
            r.note("holds a chat template, which is a Jinja program: render it in Jinja's sandbox only")
    architecture = keys.get("general.architecture")
    if isinstance(architecture, str) and tensors:
        r.model("model.family", "nn", f"general.architecture: {printable(architecture, 60)}, with {tensors} tensors")
    if any(key.startswith("tokenizer.ggml.") for key in keys):
        r.system("modality", "text", "keys tokenizer.ggml.*: a tokenizer for text lies in the file")
    _lineage(r, keys)
    for key in _SHOWN:
        if isinstance(value := keys.get(key), str) and value:
            r.note(f"{key}: {printable(value, 80)}")
    r.note("the way the tensors are quantised and sampled is not read: differentiable and output are left open")


def _pairs(data: Data) -> tuple[dict[str, Any], int]:
    header = _Header(data)
    version, tensors, pairs = header.number("<I"), header.number("<Q"), header.number("<Q")
    if version not in (2, 3) or pairs > _MOST_PAIRS or tensors > _MOST_TENSORS:
        raise ValueError(f"version {version} with {tensors} tensors and {pairs} keys")
    found: dict[str, Any] = {}
    for _ in range(pairs):
        key = header.string()
        found[key] = header.value(header.number("<I"))
    return found, tensors


def _lineage(r: Reading, keys: dict[str, Any]) -> None:
    """The model it was made from, and the data sets, as the file claims them."""
    for key in ("general.base_model.0.repo_url", "general.base_model.0.name"):
        if isinstance(value := keys.get(key), str) and value:
            r.model("provenance.parent.ref", printable(value), key)
            break
    owner = keys.get("general.base_model.0.organization")
    if isinstance(owner, str) and owner:
        r.model("provenance.parent.source", printable(owner), "general.base_model.0.organization")
    count = keys.get("general.base_model.count")
    if isinstance(count, int) and count > 1:
        r.note(f"general.base_model.count: made from {count} models; the first was read")
    wanted = [f"general.dataset.{n}.{part}" for n in range(16) for part in ("repo_url", "name")]
    sets = [keys[key] for key in wanted if key in keys]
    named = keys.get("general.datasets")
    sets = sets or (named if isinstance(named, list) else [])
    told = [printable(one) for one in sets if isinstance(one, str) and one]
    if told:
        r.model("provenance.datasets", told, "general.dataset.*" if named is None else "general.datasets")
