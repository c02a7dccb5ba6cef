"""The published JSON Schema in the YAML language server that editors run: it completes, explains and underlines.

Needs `npm ci` (or install) in this folder; without it the test is skipped and says so.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from casemate.imports.interview import asks
from casemate.imports.opening import begun, opened, openings
from casemate.threats.load import loads
from casemate.threats.schema import SHIPPED

HERE = Path(__file__).parent
SERVER = HERE / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"
pytestmark = pytest.mark.skipif(
    not SERVER.exists() or shutil.which("node") is None, reason="npm install in tests/editor gives the language server"
)
ROOT = HERE.parents[1]


class Editor:
    """A client that speaks just enough of the protocol."""

    def __init__(self, schema: Path) -> None:
        self.process = subprocess.Popen(
            [shutil.which("node"), str(SERVER), "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.next, self.notes, self.schema = 0, [], schema
        self.ask("initialize", {"processId": None, "rootUri": None, "capabilities": {"workspace": {"configuration": True}}})
        self.tell("initialized", {})

    def send(self, message: dict[str, Any]) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
        self.process.stdin.flush()

    def tell(self, method: str, params: Any) -> None:
        self.send({"method": method, "params": params})

    def read(self) -> dict[str, Any]:
        out = self.process.stdout
        assert out
        length = 0
        while line := out.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        message = json.loads(out.read(length))
        if message.get("method") == "workspace/configuration":
            self.send({"id": message["id"], "result": [self.settings(i["section"]) for i in message["params"]["items"]]})
        elif "method" in message and "id" in message:
            self.send({"id": message["id"], "result": None})
        return message

    def settings(self, section: str) -> Any:
        yaml = {"schemas": {self.schema.as_uri(): "*.yaml"}, "validate": True, "completion": True, "hover": True,
                "schemaStore": {"enable": False}}  # fmt: skip
        return {"yaml": yaml}.get(section, {} if section != "[yaml]" else {"editor.tabSize": 2})

    def ask(self, method: str, params: Any) -> Any:
        self.next += 1
        id = self.next
        self.send({"id": id, "method": method, "params": params})
        while True:
            message = self.read()
            if message.get("id") == id and "method" not in message:
                assert "error" not in message, message
                return message["result"]

    def open(self, name: str, text: str) -> list[str]:
        """What is underlined in a document."""
        uri = f"file:///project/{name}"
        self.tell("textDocument/didOpen", {"textDocument": {"uri": uri, "languageId": "yaml", "version": 1, "text": text}})
        while True:
            message = self.read()
            if message.get("method") == "textDocument/publishDiagnostics" and message["params"]["uri"] == uri:
                return [d["message"] for d in message["params"]["diagnostics"]]

    def complete(self, name: str, line: int, character: int) -> list[str]:
        at = {"textDocument": {"uri": f"file:///project/{name}"}, "position": {"line": line, "character": character}}
        found = self.ask("textDocument/completion", at)
        return [item["label"] for item in (found["items"] if isinstance(found, dict) else found)]

    def hover(self, name: str, line: int, character: int) -> str:
        at = {"textDocument": {"uri": f"file:///project/{name}"}, "position": {"line": line, "character": character}}
        return json.dumps(self.ask("textDocument/hover", at))


@pytest.fixture(scope="module")
def editor() -> Iterator[Editor]:
    client = Editor(SHIPPED)
    yield client
    client.process.kill()


HEAD = "casemate: 1\nsystem: {name: x}\n"


@pytest.mark.parametrize("path", sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("examples/*/*.yaml") if p.name != "guard.yaml"))
def test_nothing_is_underlined_in_the_examples(editor: Editor, path: str) -> None:
    if "casemate: 1" not in (text := (ROOT / path).read_text()) or "system:" not in text:
        pytest.skip("not a description")
    assert editor.open(path.replace("/", "-"), text) == []


@pytest.mark.parametrize("pick", ["first", "last", "unknown"])
def test_nothing_is_underlined_in_what_the_interview_writes(editor: Editor, pick: str) -> None:
    text, passed = begun("shop"), set()
    while True:
        system = loads(text)
        open_ = [a for a in (*openings(system), *asks(system)) if a.path not in passed and not a.asked]
        if not open_:
            break
        ask = open_[0]
        passed.add(ask.path)
        free = "500 a day" if "a day" in ask.form else "none" if "none" in ask.form else "3"
        chosen = (ask.allowed[0] if pick == "first" else ask.allowed[-1]) if ask.allowed else free
        text = opened(text, system, ask, "unknown" if pick == "unknown" else chosen)
    assert len(passed) > 20
    assert editor.open(f"interview-{pick}.yaml", text) == []


@pytest.mark.parametrize(("wrong", "told"), [
    ("componentz: []\n", "componentz"),
    ("components:\n  - {id: a, kind: servr}\n", "server"),
    ("components:\n  - {id: a, modell: {}}\n", "modell"),
    ("assets: [{id: a, value: {I: 9}}]\n", "Value is not accepted"),
])  # fmt: skip
def test_a_slip_is_underlined(editor: Editor, wrong: str, told: str) -> None:
    found = editor.open(f"slip-{told}.yaml", HEAD + wrong)
    assert any(told in message for message in found), found


def test_kinds_and_keys_are_completed(editor: Editor) -> None:
    editor.open("kinds.yaml", HEAD + "components:\n  - id: a\n    kind: \n")
    kinds = editor.complete("kinds.yaml", 4, 10)
    assert {"server", "edge_runtime", "trainer"} <= {k.strip('"') for k in kinds}
    editor.open("keys.yaml", HEAD + "components:\n  - id: a\n    \n")
    keys = editor.complete("keys.yaml", 4, 4)
    assert {"endpoint", "provenance", "model"} <= set(keys)


def test_a_key_explains_itself(editor: Editor) -> None:
    editor.open("hover.yaml", HEAD + "components:\n  - id: a\n    endpoint: {auth: key}\n")
    assert "know who calls" in editor.hover("hover.yaml", 4, 17)
