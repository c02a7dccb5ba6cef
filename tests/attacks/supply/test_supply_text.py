"""Plain text is no model, whatever opcodes its letters spell; templates in configurations are programs."""

import json

import pytest

from casemate.attacks.supply._values import no_module
from casemate.attacks.supply.scan import scan

ESCAPE = "{{ x.__globals__['os'].system('id') }}"


def look(tmp_path, text):
    path = tmp_path / "file"
    path.write_text(text)
    report = scan(path)
    return report.verdict, [(str(f.severity), f.what) for f in report.findings]


@pytest.mark.parametrize("text", [
    "casemate: 1\nsystem:\n  name: a\n", "hello", "hello\n", "changes in 2\n\nnone\n", "Please read\nReturn\n", "chat: x\n", "Version 1",
])  # fmt: skip
def test_plain_text_is_safe_regression(tmp_path, text):
    assert look(tmp_path, text) == ("safe", [("info", "text, not a model")])


@pytest.mark.parametrize("text", [
    "click\nrich\n", "cos\nsystem\n(S'true'\ntR.", "config.yaml: 3\nx\n", "c.os\nsystem\n", "csome-thing\nx\n", "c01_run\nx\n", "cos\r\nx\r\n",
    "(S'true'\nios\nsystem\n.",
])  # fmt: skip
def test_text_that_imports_is_not(tmp_path, text):
    assert look(tmp_path, text)[0] != "safe"


def test_what_can_be_a_module():
    assert no_module("asemate: 1") and no_module("") and no_module("a b.os")
    assert not any(map(no_module, ("os", "os.path", ".os", "my-script", "01_run", "os\r", "os. x", "é")))


@pytest.mark.parametrize("config", [
    {"chat_template": ESCAPE}, {"chat_template": [{"name": "default", "template": ESCAPE}]}, {"a": {"b": [f"say {ESCAPE}"]}},
    {"chat_template": "{% set y = x['__class__'] %}"}, {"prompt": "{{ '}}' ~ x.__class__ }}"},
], ids=range(5))  # fmt: skip
def test_a_template_that_escapes_in_json_is_unsafe_regression(tmp_path, config):
    assert look(tmp_path, json.dumps(config)) == ("unsafe", [("high", "chat template with an escape")])


@pytest.mark.parametrize("text", [f"a: 1\nchat_template: >\n  {ESCAPE}\n", ESCAPE, 'a: "\\u007b{ x.__class__ }}"\n'])
def test_a_template_that_escapes_in_text_is_unsafe_regression(tmp_path, text):
    assert look(tmp_path, text)[0] == "unsafe"


@pytest.mark.parametrize("config", [
    {"vocab": {"{{": 1, "__init__": 2}}, {"doc": "uses __init__ and import"}, {"a": "{{ x }} then __class__"},
], ids=range(3))  # fmt: skip
def test_a_plain_configuration_stays_safe(tmp_path, config):
    assert look(tmp_path, json.dumps(config)) == ("safe", [])


def test_a_harmless_template_is_noted(tmp_path):
    assert look(tmp_path, json.dumps({"chat_template": "{{ messages }}"})) == ("safe", [("low", "chat template")])
    assert look(tmp_path, "@article{a, title={{BERT}: x}}\nfrom x import y\n")[0] == "safe"
