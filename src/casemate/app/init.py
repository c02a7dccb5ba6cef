"""`casemate init`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from .echo import echo

# Each question is a fact some rule needs; "unknown" is a good answer, and becomes a question of the report.
_QUESTIONS = (
    ("name", "What is the system called", "my-system", None),
    ("modality", "What goes in", "tabular", ("tabular", "image", "text", "audio", "timeseries", "graph", "bytes")),
    ("caller", "Who sends inputs", "customer", ("anonymous", "customer", "paid_account", "partner", "insider")),
    ("output", "What does the endpoint show of a decision", "unknown", ("label", "topk", "score", "logits", "unknown")),
    ("auth", "How does it know who calls", "unknown", ("none", "key", "oauth", "mtls", "unknown")),
    ("per_day", "How many queries a day does one caller get (a number, none, or unknown)", "unknown", None),
    ("on_device", "Does the model run on the user's device", "unknown", ("yes", "no", "unknown")),
    ("parent", "Was it fine-tuned from a model that anybody can get", "unknown", ("yes", "no", "unknown")),
    ("format", "In what format is the model file", "unknown",
     ("pickle", "joblib", "torch", "torch_weights_only", "keras_h5", "keras_v3", "onnx", "safetensors", "skops", "tflite",
      "unknown")),
    ("personal", "Was it trained on data about people", "unknown", ("yes", "no", "unknown")),
    ("integrity", "What is a wrong decision worth, 0 (nothing) to 4 (the worst there is)", "2", ("0", "1", "2", "3", "4")),
)  # fmt: skip


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default="system.yaml")
@click.option("--defaults", is_flag=True, help="Ask nothing: every fact that matters stays unknown.")
@click.option("--force", is_flag=True, help="Write over an existing file.")
def init(path: Path, defaults: bool, force: bool) -> int:
    """Write a first description of your system to PATH, asking for the facts that decide most.

    'unknown' is a good answer: it becomes a question of the report instead of a silent pass.
    """
    from ..core.errors import UsageError
    from ..threats.derive import derive
    from ..threats.load import load, loads

    if path.exists() and not force:
        raise UsageError(f"{str(path)!r} exists; give another path, or --force to write over it")
    quiet = defaults or not sys.stdin.isatty()
    answers = {key: default if quiet else _ask(text, default, allowed) for key, text, default, allowed in _QUESTIONS}
    text = description(answers)
    loads(text, name=str(path))  # what is written must read: a slip here is ours, and is found before the file is
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text)
        os.replace(part, path)
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be written: {error.strerror or error}; give another path") from error
    result = derive(load(path))
    echo(f"{path}: {len(result.threats)} threats derived, {len(result.questions)} open questions.")
    echo(f"Next: casemate threats {path}; then bind your model in system.target and run casemate assess {path}")
    return 0


def _ask(text: str, default: str, allowed: tuple[str, ...] | None) -> str:
    kind: Any = click.Choice(allowed) if allowed else str
    return str(click.prompt(text, default=default, type=kind)).strip()


def description(answers: dict[str, str]) -> str:
    """The YAML text of a first description."""
    import json

    q = {key: json.dumps(value) for key, value in answers.items()}  # quoted: a name may hold anything
    output = "" if answers["output"] == "unknown" else f"output: {answers['output']}, "
    kind, zone = ("edge_runtime", "device") if answers["on_device"] == "yes" else ("server", "service")
    sees = {"label": ["see_label"], "topk": ["see_label", "see_score"], "score": ["see_label", "see_score"],
            "logits": ["see_label", "see_score", "see_logits"]}.get(answers["output"], [])  # fmt: skip
    can = ["query", *sees, *(["read_binary"] if answers["on_device"] == "yes" else [])]
    unsure = [] if sees else ["see_label", "see_score"]
    unsure += ["read_binary"] if answers["on_device"] == "unknown" else []
    parent = {"yes": "parent: {public: yes}", "no": "parent: none"}.get(answers["parent"], "parent: {public: unknown}")
    artifact = "{}" if answers["format"] == "unknown" else f"{{format: {answers['format']}}}"
    auth = "" if answers["auth"] == "unknown" else f"auth: {answers['auth']}, "
    return f"""# Facts are yes, no or unknown; unknown becomes a question. See `casemate threats`.
casemate: 1
system:
  name: {q["name"]}
  modality: {answers["modality"]}
  decision: {{automated: yes, reversible: unknown}}
  # To attack it, bind your own functions (module:function, beside this file):
  # target:
  #   - component: model
  #     factory: "bind:target"      # returns an nn.Module, an estimator, an .onnx path, a callable, or cm.wrap(...)
  #     data: "bind:holdout"        # returns (x, y) that no training saw
  #     recipe: "bind:recipe"       # returns cm.Recipe(fit, x, y): for poisoning, membership, hardening by training
  #     within: {{kind: ball, norm: linf, radius: 0.05, low: 0.0, high: 1.0}}
zones:
  - {{id: outside, trust: public}}
  - {{id: service, trust: prod}}
  - {{id: device, trust: user_device}}
principals:
  - {{id: caller, kind: {answers["caller"]}, zone: outside}}
assets:
  - {{id: decision, kind: decision, value: {{I: {answers["integrity"]}}}}}
  - {{id: weights, kind: model}}
  - {{id: training-data, kind: training_data, personal: {answers["personal"]}}}
components:
  - id: model
    kind: {kind}
    zone: {zone}
    holds: [decision, weights, training-data]
    model: {{{output}mutators: unknown}}
    provenance: {{{parent}}}
    artifact: {artifact}
    endpoint: {{{auth}rate_limit: {_limit(answers["per_day"])}}}
flows:
  - {{from: caller, to: model, channel: https}}
access:
  - {{principal: caller, on: model, can: [{", ".join(can)}], unsure: [{", ".join(unsure)}]}}
"""


def _limit(text: str) -> str:
    from ..core.errors import UsageError

    if text == "unknown":
        return "{key: account}"
    if text == "none":
        return "none"
    if not text.isdigit() or int(text) < 1:
        raise UsageError(f"queries a day: {text!r} is not allowed; give a whole number from 1, none, or unknown")
    return f"{{per: day, n: {text}, key: account}}"
