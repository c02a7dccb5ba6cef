"""A model file, read without loading it: what its bytes show about the model, each fact with its place.

Nothing is imported, unpickled or executed. The content decides what a file is, never its name. What a file does not show
is left open: a shape that looks like images is a note, not a fact.
"""

from __future__ import annotations

import mmap
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from casemate.attacks.supply._archive import has_zip_tail
from casemate.attacks.supply._finding import Data
from casemate.attacks.supply.sniff import Format, sniff_bytes
from casemate.core.errors import UsageError
from casemate.imports._gguf import read_gguf
from casemate.imports._hdf5 import start_of
from casemate.imports._keras import read_hdf5, read_keras
from casemate.imports._onnx import read_onnx
from casemate.imports._pickles import read_pickle, read_torch
from casemate.imports._reading import Reading, digest, digest_folder, refuse
from casemate.imports._safetensors import read_safetensors
from casemate.imports._savedmodel import GRAPH, KERAS, TEXT_GRAPH, read_savedmodel
from casemate.imports._skops import read_skops
from casemate.imports._tflite import read_tflite
from casemate.imports._zip import check_directory
from casemate.imports.found import Import

_PICKLES = {Format.PICKLE, Format.JOBLIB}
_TORCH = {Format.TORCH_ZIP, Format.TORCH_LEGACY}
_PLAIN: dict[Format, Callable[[Reading, Data], None]] = {
    Format.SAFETENSORS: read_safetensors,
    Format.ONNX: read_onnx,
    Format.KERAS: read_keras,
    Format.TFLITE: read_tflite,
    Format.GGUF: read_gguf,
    Format.SKOPS: read_skops,
}
_ENDINGS: dict[str, set[Format]] = {
    ".pkl": _PICKLES, ".pickle": _PICKLES, ".joblib": _PICKLES, ".safetensors": {Format.SAFETENSORS}, ".onnx": {Format.ONNX},
    ".pt": _TORCH | {Format.TORCHSCRIPT}, ".pth": _TORCH | {Format.TORCHSCRIPT}, ".ckpt": _TORCH, ".keras": {Format.KERAS},
    ".h5": {Format.HDF5}, ".hdf5": {Format.HDF5}, ".tflite": {Format.TFLITE}, ".gguf": {Format.GGUF}, ".skops": {Format.SKOPS},
}  # fmt: skip
_NO_MODEL = {Format.TEXT, Format.JSON, Format.EMPTY, Format.UNKNOWN}
_RUNS_CODE = _PICKLES | _TORCH | {Format.HDF5, Format.TORCHSCRIPT}
_POINTER = b"version https://git-lfs"
_KNOWN = "pickle, joblib, torch, safetensors, ONNX, Keras, SavedModel, TFLite, skops, GGUF"


def read_model(path: str | Path) -> Import | None:
    """Facts from a model file or SavedModel folder; None for text, unknown bytes and other folders that are not named as models.

    Args:
        path: Becomes `artifact.path` as it is given.

    Raises:
        UsageError: There is nothing at `path`, it cannot be read, or its bytes are no model that is known here.
    """
    place, shown = Path(path), str(path)
    try:
        kind = place.stat().st_mode
        if stat.S_ISDIR(kind):
            return _folder(place, shown)
        if not stat.S_ISREG(kind):
            raise refuse(shown, "is no regular file (a pipe or a device); copy the model to a file")
        with mapped(place) as data:
            return _file(data, shown, place.suffix.lower())
    except FileNotFoundError as error:
        raise refuse(shown, "there is no such file; correct the path") from error
    except UsageError:
        raise
    except OSError as error:
        raise refuse(shown, f"cannot be read ({error.strerror or type(error).__name__})") from error


@contextmanager
def mapped(path: Path) -> Iterator[Data]:
    """The bytes of a file, mapped, so that a model of gigabytes is not copied."""
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


def _file(data: Data, shown: str, ending: str) -> Import | None:
    r = Reading(file=shown, format="")
    found, base = _sniff(data, shown)
    if found in _NO_MODEL:
        if ending not in _ENDINGS:
            return None
        raise refuse(shown, _no_model(data, found))
    if found in _PICKLES:
        read_pickle(r, data, found)
    elif found in _TORCH:
        read_torch(r, data, found)
    elif found is Format.HDF5:
        read_hdf5(r, data, base)
    elif found is Format.TORCHSCRIPT:
        _torchscript(r)
    elif found in _PLAIN:
        _PLAIN[found](r, data)
    else:
        raise refuse(shown, _unknown(found))
    r.model("artifact.digest", digest(data), "SHA-256 of all bytes of the file")
    r.model("artifact.path", shown, "the path that was given")
    _mismatch(r, found, ending)
    if found in (Format.SAFETENSORS, Format.ONNX, Format.GGUF, Format.HDF5, Format.PICKLE) and has_zip_tail(data):
        r.note("a zip archive lies behind the model: another loader may read that instead")
    return r.done()


def _sniff(data: Data, shown: str) -> tuple[Format, int]:
    """The format, and for HDF5 where it starts."""
    if data[:2] == b"PK":
        check_directory(data, shown)
    try:
        found = sniff_bytes(data)
    except (ValueError, EOFError, zlib.error, RecursionError, MemoryError) as error:
        raise refuse(shown, f"what it is cannot be told ({type(error).__name__}): damaged or crafted") from error
    base = start_of(data) if found in (Format.UNKNOWN, Format.HDF5) else None
    return (found, 0) if base is None else (Format.HDF5, base)


def _no_model(data: Data, found: Format) -> str:
    if data[: len(_POINTER)] == _POINTER:
        return "is a pointer of Git LFS, not the model; fetch the model with `git lfs pull`"
    if found is Format.UNKNOWN:
        return f"its bytes are no model format known here ({_KNOWN}): cut short, encrypted, or another format"
    return "is empty" if found is Format.EMPTY else f"is named as a model, but holds {found}; name the model file itself"


def _unknown(found: Format) -> str:
    if found is Format.COMPRESSED:
        return "is a compressed file that is no joblib dump, or compressed with lz4, which is not read; unpack it first"
    if found in (Format.ZIP, Format.TAR, Format.SEVEN_ZIP):
        return f"is a {found} archive that is no model known here; unpack it and name the model inside"
    if found in (Format.NPY, Format.NPZ):
        return "holds arrays of NumPy, which are no model by themselves; name the file that the server loads"
    return f"is {found}, which is no model format known here ({_KNOWN})"


def _torchscript(r: Reading) -> None:
    r.format = "TorchScript file"
    r.model("artifact.format", "torchscript", "a zip with constants.pkl or code/")
    r.note("TorchScript is a program that can reach files: its code was not read, and nothing about the model is stated")


def _mismatch(r: Reading, found: Format, ending: str) -> None:
    wanted = _ENDINGS.get(ending)
    if wanted is not None and found not in wanted:
        danger = ", a format that can execute code when it is loaded" if found in _RUNS_CODE else ""
        r.note(f"named {ending}, but its bytes are a {r.format}{danger}; the content was believed")


def _folder(folder: Path, shown: str) -> Import | None:
    """A SavedModel, or no model."""
    binary, text, keras = folder / GRAPH, folder / TEXT_GRAPH, folder / KERAS
    if not binary.is_file() and not text.is_file():
        return None
    r = Reading(file=shown, format="")
    if not binary.is_file():
        read_savedmodel(r, folder, None, None)
    elif keras.is_file():
        with mapped(binary) as data, mapped(keras) as beside:
            read_savedmodel(r, folder, data, beside)
    else:
        with mapped(binary) as data:
            read_savedmodel(r, folder, data, None)
    r.model("artifact.digest", digest_folder(folder, shown), "SHA-256 over the sorted names and digests of its files")
    r.model("artifact.path", shown, "the path that was given")
    return r.done()
