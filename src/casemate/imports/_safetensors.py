"""safetensors: the JSON header names every tensor; the numbers behind it are not read."""

from __future__ import annotations

from casemate.attacks.supply._finding import Data, Notebook, printable
from casemate.attacks.supply._tensors import check_safetensors
from casemate.imports._json import parsed
from casemate.imports._reading import MOST_JSON, Reading, refuse
from casemate.imports._weights import judge_tensors

_SHOWN = ("format", "modelspec.architecture", "modelspec.title", "ss_base_model_version", "licence", "license")
_PARENT = ("base_model", "ss_sd_model_name", "modelspec.merged_from")


def read_safetensors(r: Reading, data: Data) -> None:
    """The names and shapes of the tensors, and what the free metadata says."""
    r.format = "safetensors file"
    length = int.from_bytes(data[:8], "little")
    if length > MOST_JSON:
        raise refuse(r.file, f"a safetensors header of {length:,} bytes; at most {MOST_JSON:,} are read, and no model needs more")
    header = parsed(r, data[8 : 8 + length], "the safetensors header")
    if not isinstance(header, dict):
        raise refuse(r.file, "the safetensors header is no JSON object; save the model again")
    r.model("artifact.format", "safetensors", f"a header of {length} bytes that describes {len(header)} entries")
    book = Notebook(r.file, "safetensors")
    check_safetensors(data, book)
    r.objections(book.found)
    shapes = {}
    for name, entry in header.items():
        shape = entry.get("shape") if isinstance(entry, dict) and name != "__metadata__" else None
        if isinstance(shape, list) and all(type(size) is int for size in shape):
            shapes[name] = tuple(shape)
    judge_tensors(r, shapes, "header")
    _metadata(r, header.get("__metadata__"))


def _metadata(r: Reading, metadata: object) -> None:
    if not isinstance(metadata, dict):
        return
    told = {key: value for key, value in metadata.items() if isinstance(value, str) and value}
    for key in _PARENT:
        if key in told:
            r.model("provenance.parent.ref", printable(told[key]), f"header: __metadata__.{key}")
            break
    for key in _SHOWN:
        if key in told:
            r.note(f"__metadata__.{key}: {printable(told[key], 80)}")
