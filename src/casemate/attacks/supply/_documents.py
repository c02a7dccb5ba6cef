"""Text that describes a model: JSON, Keras and skops descriptions, and source code lying beside a model."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

from casemate.attacks.supply._finding import Data, Limits, Notebook, Severity
from casemate.attacks.supply._tensors import check_template
from casemate.attacks.supply._values import Allowed

SCANNER = "document reader"

_OPENS = re.compile(r"\{[{%]|\\x7b|\\u007b", re.IGNORECASE)  # YAML may write the brace as an escape
_STEPS = re.compile(r"""'(?:[^'\\]|\\.)*+(?:'|\\?\Z)|"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[}%]\}""", re.DOTALL)

_KERAS_MODULES = re.compile(
    r"(keras|keras\.(src\.)?(layers|models|initializers|regularizers|constraints|activations|losses|metrics"
    r"|optimizers|dtype_policies|ops|saving|random)(\.[a-z_0-9.]+)?|builtins)\Z"
)
_KERAS_BUILTINS = {"dict", "list", "tuple", "slice", "int", "float", "str", "bool"}
_RUNS_PYTHON = (b'"class_name": "Lambda"', b'"class_name":"Lambda"', b"__lambda__", b"!!python/", b'"TFOpLambda"')
_SKOPS_CODE = {"OperatorFuncNode", "MethodNode", "FunctionNode", "PartialNode", "JsonNode", "TypeNode"}


def check_json(data: Data, book: Notebook) -> Any:
    """The parsed document, or None; code that Hugging Face loaders fetch by ``auto_map`` is a finding."""
    try:
        parsed = json.loads(data[:].decode("utf-8"))
        _check_values(parsed, book)
        for node in _nodes(parsed):
            if "auto_map" in node or node.get("trust_remote_code"):
                reason = "loading with trust_remote_code runs the Python files that it names"
                book.add(Severity.MEDIUM, None, "auto_map or trust_remote_code", reason)
    except (ValueError, RecursionError) as error:
        book.add(Severity.MEDIUM, None, f"JSON cannot be read: {error}", "it was not judged")
        return None
    return parsed


def _check_values(parsed: Any, book: Notebook) -> None:
    """Chat templates are Jinja programs under any key of a configuration, as they are in GGUF."""
    todo = [(parsed, False)]
    while todo:
        node, named = todo.pop()
        if isinstance(node, dict):
            todo.extend((value, named or "template" in key) for key, value in node.items())
        elif isinstance(node, list):
            todo.extend((value, named) for value in node)
        elif isinstance(node, str) and (named or _OPENS.search(node)):
            _check_templates(node, named, book)


def _check_templates(text: str, whole: bool, book: Notebook) -> None:
    """What stands inside ``{{ }}`` and ``{% %}``; all of a text that a loader is told is a template."""
    for part in [text] if whole and _OPENS.search(text) else _expressions(text):
        check_template(part.encode("utf-8", "surrogatepass"), None, book, told=whole)


def _expressions(text: str) -> Iterator[str]:
    """The Jinja expressions and statements of a text; an end inside quotes is none."""
    at = 0
    while opened := _OPENS.search(text, at):
        at = opened.end()
        while (step := _STEPS.search(text, at)) and step[0][0] in "'\"":
            at = step.end()
        at = step.end() if step else len(text)
        yield text[opened.end() : at]


def _nodes(parsed: Any) -> Iterator[dict[str, Any]]:
    todo = [parsed]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            yield node
            todo.extend(node.values())
        elif isinstance(node, list):
            todo.extend(node)


def check_keras(data: Data, book: Notebook) -> None:
    """Every class that a Keras configuration asks the loader to import must be Keras's own."""
    for node in _nodes(check_json(data, book)):
        name, module = node.get("class_name"), node.get("module")
        if name in ("Lambda", "__lambda__", "TFOpLambda"):
            book.add(Severity.HIGH, None, f"Keras {name} layer", "it carries Python bytecode")
        if isinstance(module, str) and not _KERAS_MODULES.match(module):
            reason = "old loaders import whatever module a configuration names"
            book.add(Severity.HIGH, None, f"{module}.{name}", reason)
        if module == "builtins" and name not in _KERAS_BUILTINS:
            book.add(Severity.HIGH, None, f"builtins.{name}", "a builtin function named by a configuration")
        if name in ("function", "class") or str(node.get("registered_name") or "").startswith("Custom>"):
            target = node.get("config") if name == "function" else node.get("registered_name") or name
            reason = "what it names is code that the loader must be given or must look up"
            book.add(Severity.MEDIUM, None, f"custom object {target}", reason)


def check_skops(data: Data, book: Notebook, allowed: Allowed) -> None:
    """Every type in a skops schema must be on the allow list of the pickle walker too."""
    for node in _nodes(check_json(data, book)):
        module, name, loader = node.get("__module__"), node.get("__class__"), node.get("__loader__")
        if module is None and name is None:
            continue
        if (module, name) not in allowed and loader not in ("JsonNode", "ListNode", "DictNode", "TupleNode"):
            book.add(Severity.HIGH, None, f"{module}.{name}", "a type that is not on the allow list")
        elif loader in _SKOPS_CODE - {"JsonNode", "TypeNode"}:
            book.add(Severity.MEDIUM, None, f"{loader} {module}.{name}", "the loader resolves a function by name")


def check_markers(data: Data, book: Notebook) -> None:
    """Byte patterns of code in formats that have no reader here. Finding none proves nothing."""
    for marker in _RUNS_PYTHON:
        at = data.find(marker, 0)
        if at >= 0:
            book.add(Severity.HIGH, at, marker.decode(), "the loader turns it into running Python")


def check_text(data: Data, book: Notebook, limits: Limits) -> None:
    """Prose is harmless; source code beside a model may be what ``trust_remote_code`` runs."""
    check_markers(data, book)
    _check_templates(data[:].decode("utf-8", "replace"), False, book)
    if data[:2] == b"#!":
        book.add(Severity.MEDIUM, 0, "script", "a program, not a model; it was not judged")
    elif len(data) > limits.text_bytes >> 3:
        book.add(Severity.MEDIUM, None, "long text", "it was not searched for code")
    elif _is_python(data):
        book.add(Severity.MEDIUM, None, "Python source", "code that a loader may be told to run; it was not judged")
    else:
        book.add(Severity.INFO, None, "text, not a model", "no unpickler can execute it")


def _is_python(data: Data) -> bool:
    try:
        tree = ast.parse(data[:].decode("utf-8"))
    except (SyntaxError, ValueError):
        return False
    except (RecursionError, MemoryError):
        return True
    active = (ast.Call, ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    return any(isinstance(node, active) for node in ast.walk(tree))
