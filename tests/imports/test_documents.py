"""One real document of each format gives the facts that stand in it, with their lines; a hostile one gives one message."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.core.errors import BadSystem, UsageError
from casemate.imports import documents, tables
from casemate.imports.documents import MAX_BYTES, parse
from casemate.imports.found import Import
from casemate.imports.gather import slug
from casemate.imports.merge import merge
from casemate.imports.read import FORMATS, read, read_document
from casemate.threats.load import loads

HERE = Path(__file__).parent / "documents"
ALL = ("README.md", "bom.json", "MLmodel", "openapi.yaml", "swagger.json", "compose.yaml", "kserve.yaml", "husky-ai.json")


def facts(found: Import) -> dict[str, object]:
    stated = {fact.path: fact.value for fact in found.facts}
    assert len(stated) == len(found.facts), "a fact is stated twice"
    return stated


def ids(found: Import, section: str) -> list[str]:
    return [row["id"] for row in found.elements.get(section, ())]


def flows(found: Import) -> set[tuple[str, str]]:
    return {(row["from"], row["to"]) for row in found.elements.get("flows", ())}


def noted(found: Import, part: str) -> bool:
    return any(part in note for note in found.notes)


# Known answers -------------------------------------------------------------------------------------------------------


def test_model_card() -> None:
    found = read(HERE / "README.md")
    assert found.format == "Hugging Face model card"
    assert facts(found) == {
        "$model.provenance.parent.ref": "google/vit-base-patch16-224-in21k",
        "$model.provenance.parent.public": "yes",
        "$model.provenance.parent.source": "huggingface.co",
        "$model.provenance.datasets": ["beans", "acme/leaf-scans"],
        "system.modality": "image",
        "$model.model.family": "nn",
        "$model.model.differentiable": "yes",
    }
    lines = {fact.path: fact.line for fact in found.facts}
    assert lines["$model.provenance.parent.ref"] == 3
    assert lines["system.modality"] == 8
    assert noted(found, "license: apache-2.0")


def test_bill_of_materials() -> None:
    found = read(HERE / "bom.json")
    assert found.format == "CycloneDX 1.6"
    assert facts(found) == {
        "$model.artifact.digest": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "$model.artifact.format": "safetensors",
        "$model.provenance.parent.ref": "google/vit-base-patch16-224-in21k@1",
        "$model.provenance.parent.digest": "sha256:aa00",
        "$model.provenance.parent.public": "yes",
        "$model.provenance.parent.source": "pkg:huggingface/google/vit-base-patch16-224-in21k@1",
        "$model.provenance.datasets": ["beans", "leaf-scans"],
        "$model.model.family": "nn",
        "$model.model.differentiable": "yes",
        "$model.model.output": "score",
        "$model.dependencies.known_vulnerable": "yes",
        "system.modality": "image",
    }
    [parent] = [fact for fact in found.facts if fact.path.endswith("parent.ref")]
    assert (HERE / "bom.json").read_text().splitlines()[parent.line - 1].strip() == "{"


def test_bill_with_several_models_makes_a_component_of_each() -> None:
    bom = json.loads((HERE / "bom.json").read_text())
    bom["components"].append({"type": "machine-learning-model", "name": "Größe <b>", "modelCard": {}})
    found = read_document(json.dumps(bom).encode(), "bom.json")
    assert ids(found, "components") == ["leaf-vit", "Gr_e_b"]
    assert facts(found)["leaf-vit.artifact.format"] == "safetensors"
    assert facts(found)["Gr_e_b.kind"] == "model_artifact"
    assert noted(found, "'Größe <b>' is called Gr_e_b here")
    assert "system.modality" not in facts(found)


@pytest.mark.parametrize("version", ["1.5", "1.6", "1.7"])
def test_bill_of_each_version(version: str) -> None:
    text = (HERE / "bom.json").read_text().replace('"specVersion": "1.6"', f'"specVersion": "{version}"')
    found = read_document(text.encode(), "bom.json")
    assert found.format == f"CycloneDX {version}"
    assert not noted(found, "specVersion")
    assert noted(read_document(text.replace(f'"{version}"', '"9"').encode(), "b"), "specVersion '9'")


def test_settled_vulnerabilities_are_none() -> None:
    text = (HERE / "bom.json").read_text().replace('"exploitable"', '"resolved"')
    assert "$model.dependencies.known_vulnerable" not in facts(read_document(text.encode(), "bom.json"))


def test_mlmodel() -> None:
    found = read(HERE / "MLmodel")
    assert found.format == "MLflow MLmodel 2.16.2"
    assert facts(found) == {
        "$model.artifact.format": "pickle",
        "$model.artifact.path": "model.pkl",
        "$model.model.output": "label",
        "system.modality": "tabular",
    }
    assert noted(found, "model_uuid: e694c68eba484299976b06ab9058f636")


@pytest.mark.parametrize(
    ("flavour", "format", "family"),
    [
        ("sklearn: {pickled_model: m.pkl, serialization_format: pickle}", "pickle", None),
        ("sklearn: {pickled_model: m.skops, serialization_format: skops}", "skops", None),
        ("sklearn: {pickled_model: m.pkl, serialization_format: novel}", None, None),
        ("pytorch: {model_data: data, pytorch_version: 2.4.0}", "torch", "nn"),
        ("onnx: {data: model.onnx, onnx_version: 1.16.0}", "onnx", None),
        ("tensorflow: {data: data, model_type: keras, save_format: tf}", None, "nn"),
        ("keras: {data: data/model.keras}", "keras_v3", "nn"),
        ("xgboost: {data: model.ubj, xgb_version: 2.0.3}", "native", None),
        ("xgboost: {data: model.pkl}", "pickle", None),
        ("lightgbm: {data: model.lgb}", "native", "trees"),
        ("transformers: {source_model_name: x}", None, "nn"),
    ],
)
def test_mlmodel_flavours(flavour: str, format: str | None, family: str | None) -> None:
    text = f"model_uuid: x\nflavors:\n  python_function: {{loader_module: mlflow.x}}\n  {flavour}\n"
    stated = facts(read_document(text.encode(), "MLmodel"))
    assert stated.get("$model.artifact.format") == format
    assert stated.get("$model.model.family") == family


def test_mlmodel_of_python_code() -> None:
    text = "mlflow_version: 2.1.1\nflavors: {python_function: {loader_module: mlflow.pyfunc.model, python_model: python_model.pkl}}"
    assert facts(read_document(text.encode(), "MLmodel"))["$model.artifact.format"] == "pickle"


@pytest.mark.parametrize(
    ("inputs", "modality"),
    [
        ('[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3, 224, 224]}}]', "image"),
        ('[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 20]}}]', None),
        ('[{"type": "string"}]', "text"),
        ('[{"type": "double", "name": "a"}, {"type": "double", "name": "b"}]', "tabular"),
        ("not json", None),
        ("[{", None),
    ],
)
def test_mlmodel_inputs(inputs: str, modality: str | None) -> None:
    text = f"model_uuid: x\nflavors: {{onnx: {{data: m.onnx}}}}\nsignature: {{inputs: '{inputs}'}}\n"
    assert facts(read_document(text.encode(), "MLmodel")).get("system.modality") == modality


@pytest.mark.parametrize(("call", "told"), [
    ("/feedback: {post: {responses: {}}}", "POST /feedback"),
    ("'/items/{id}/labels': {put: {responses: {}}}", "PUT /items/{id}/labels"),
    ("/report: {get: {responses: {}}}", ""),  # reading reports teaches nobody
    ("/laboratory: {post: {responses: {}}}", ""),
    ("/answers: {post: {requestBody: {content: {application/json: {schema: {$ref: '#/components/schemas/A'}}}}, responses: {}}}",
     "POST /answers"),
    ("/answers: {post: {parameters: [{in: body, schema: {properties: {is_correct: {type: boolean}}}}], responses: {}}}",
     "POST /answers"),
])  # fmt: skip
def test_a_way_to_tell_what_is_true_is_noted(call: str, told: str) -> None:
    text = f"openapi: 3.0.3\ncomponents: {{schemas: {{A: {{properties: {{true_label: {{type: string}}}}}}}}}}\npaths: {{{call}}}\n"
    notes = [note for note in read_document(text.encode(), "a.yaml").notes if "describe the feedback" in note]
    assert len(notes) == bool(told) and all(told in note for note in notes)


def test_openapi() -> None:
    found = read(HERE / "openapi.yaml")
    assert found.format == "OpenAPI 3.1.0"
    assert facts(found) == {
        "$model.endpoint.auth": "key",
        "$model.model.output": "score",
        "$model.model.precision_digits": 3,
        "$model.endpoint.verbose_errors": "yes",
        "$model.endpoint.admin_exposed": "yes",
        "$model.endpoint.metadata_exposed": "yes",
    }
    assert noted(found, "rate limit was reached")
    assert noted(found, "POST /admin/reload")


def test_swagger() -> None:
    found = read(HERE / "swagger.json")
    assert found.format == "Swagger 2.0"
    assert facts(found) == {
        "$model.endpoint.auth": "oauth",
        "$model.model.output": "label",
        "system.modality": "image",
    }
    assert noted(found, "in the clear")


@pytest.mark.parametrize(
    ("security", "auth"),
    [
        ("[]", "none"),
        ("[{}]", "none"),
        ("[{k: []}]", "key"),
        ("[{k: []}, {}]", "none"),
        ("[{k: []}, {o: []}]", "key"),
        ("[{k: [], o: []}]", "oauth"),
        ("[{m: []}]", "mtls"),
        ("[{missing: []}]", None),
        ("yes", None),
    ],
)
def test_who_may_call(security: str, auth: str | None) -> None:
    text = (
        f"openapi: 3.0.3\nsecurity: {security}\npaths: {{/predict: {{post: {{responses: {{}}}}}}}}\n"
        "components: {securitySchemes: {k: {type: http, scheme: bearer}, o: {type: oauth2}, m: {type: mutualTLS}}}\n"
    )
    assert facts(read_document(text.encode(), "a.yaml")).get("$model.endpoint.auth") == auth


def test_no_word_on_security_stays_unknown() -> None:
    found = read_document(b"openapi: 3.0.3\npaths: {/predict: {post: {responses: {}}}}", "a.yaml")
    assert "$model.endpoint.auth" not in facts(found)
    assert noted(found, "states no security")


def test_a_stated_rate_limit_is_read() -> None:
    text = b"openapi: 3.0.3\npaths: {/predict: {post: {x-ratelimit: {limit: 100, period: minute}, responses: {}}}}"
    stated = facts(read_document(text, "a.yaml"))
    assert stated["$model.endpoint.rate_limit.n"] == 100
    assert stated["$model.endpoint.rate_limit.per"] == "minute"


@pytest.mark.parametrize(
    ("field", "level"),
    [
        ("fraudProbability", "score"), ("class_probabilities", "score"), ("raw_logits", "logits"), ("label", "label"),
        ("topK", ""), ("top_k", "topk"), ("shap_values", "explanation"), ("featureEmbedding", "embedding"),
        ("description", ""), ("classified_at", ""), ("underscore", ""), ("URLScore", "score"),
    ],
)  # fmt: skip
def test_names_that_give_something_away(field: str, level: str) -> None:
    assert tables.output_of(field) == (level or ("topk" if field == "topK" else ""))


def test_compose() -> None:
    found = read(HERE / "compose.yaml")
    assert found.format == "docker-compose"
    assert facts(found) == {
        "triton.kind": "server",
        "triton.artifact.tag_mutable": "yes",
        "old-models.kind": "server",
        "old-models.artifact.tag_mutable": "yes",
        "old-models.endpoint.admin_exposed": "yes",
        "mlflow.kind": "registry",
        "mlflow.workspace.secrets_in_plain": "yes",
        "db.workspace.secrets_in_plain": "yes",
        "prometheus.kind": "log_store",
    }
    assert ids(found, "components") == ["gateway", "triton", "old-models", "mlflow", "db", "minio", "prometheus"]
    assert flows(found) == {
        ("caller", "gateway"), ("caller", "old-models"), ("gateway", "triton"), ("triton", "minio"), ("mlflow", "db"),
    }  # fmt: skip
    # Nobody has said that a caller may query: it is unsure, and neither yes nor no.
    assert found.elements["access"] == ({"principal": "caller", "on": "old-models", "unsure": ["query"]},)
    assert noted(found, "8082 to its own machine only")


@pytest.mark.parametrize("name", ["compose.yaml", "kserve.yaml"])
def test_a_secret_is_told_and_never_copied(name: str) -> None:
    found = read(HERE / name)
    told = repr(found) + merge(None, [found], name="x").text
    for secret in ("hunter2", "correct-horse", "s3cr3t", "aHVudGVyMg"):
        assert secret not in told
    assert "secrets_in_plain" in told


@pytest.mark.parametrize(
    ("name", "value", "yes"),
    [
        ("API_KEY", "abc", True), ("db_password", "x", True), ("PGPWD", "x", False), ("PWD", "x", True),
        ("API_KEY", "${API_KEY}", False), ("API_KEY", "$API_KEY", False), ("API_KEY", "", False),
        ("PASSWORD_FILE", "x", False), ("TOKEN", "/run/secrets/token", False), ("MODEL", "abc", False),
        ("URL", "postgres://a:b@c/d", True), ("URL", "postgres://a:${PW}@c/d", False), ("URL", "https://c/d", False),
    ],
)  # fmt: skip
def test_what_a_secret_is(name: str, value: str, yes: bool) -> None:
    assert tables.holds_secret(name, value) is yes


def test_kubernetes() -> None:
    found = read(HERE / "kserve.yaml")
    assert facts(found) == {
        "scores.kind": "server",
        "scores.artifact.tag_mutable": "yes",
        "scores.workspace.secrets_in_plain": "yes",
        "leaf_vit.kind": "server",
        "leaf_vit.artifact.format": "onnx",
        "internet.trust": "public",
        "internet_caller->scores.channel": "https",
    }
    assert flows(found) == {("internet_caller", "scores")}  # leaf.vit stays in the cluster by its label
    assert noted(found, "'leaf.vit' is called leaf_vit here")
    assert noted(found, "the Secret 'db'")


def test_an_internal_ingress_is_not_the_internet() -> None:
    text = (HERE / "kserve.yaml").read_text().replace("ingressClassName: nginx", "ingressClassName: nginx-internal")
    found = read_document(text.encode(), "k.yaml")
    assert "outside.trust" not in facts(found)
    assert flows(found) == {("caller", "scores")}


def test_a_model_from_the_hub_has_a_public_parent() -> None:
    text = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: words}
spec: {predictor: {model: {modelFormat: {name: huggingface}, storageUri: "hf://acme/words"}}}
"""
    stated = facts(read_document(text.encode(), "k.yaml"))
    assert stated["words.provenance.parent.ref"] == "acme/words"
    assert stated["words.provenance.parent.public"] == "yes"


def test_threat_model_library() -> None:
    found = read(HERE / "husky-ai.json")
    stated = facts(found)
    assert {path: stated[path] for path in stated if path.endswith((".trust", ".kind"))} == {
        "prod-zone.trust": "prod", "experimental-zone.trust": "research", "public.trust": "public",
        "infrastructure-admin.kind": "ops", "azure-cognitive-services.kind": "partner", "third-party-tools.kind": "partner",
        "jupyter.kind": "notebook", "deployment-service.kind": "ci", "training-images-blob.kind": "data_source",
        "ml-models-blob.kind": "registry", "bastion-logs-storage.kind": "log_store",
        "training-images.kind": "training_data", "stored-ml-models.kind": "model", "uploaded-images.kind": "input_data",
    }  # fmt: skip
    assert len(found.elements["flows"]) == 15
    # The published file uses an actor that it never describes, and gives one end the wrong type.
    assert ("user", "api-gateway") in flows(found)
    assert ("secret-key-storage", "bastion") in flows(found)
    assert noted(found, "the actor 'user' is used and never described")
    assert stated["user->api-gateway.confidentiality"] == "yes"
    assert stated["api-gateway->web-service.confidentiality"] == "no"
    assert noted(found, "2 threats are not taken over")


def test_a_control_on_one_component_has_a_place() -> None:
    model = json.loads((HERE / "husky-ai.json").read_text())
    model["threats"][0]["components_affected"] = ["api-gateway"]
    model["controls"][0]["status"] = "active"
    found = read_document(json.dumps(model).encode(), "t.json")
    [control] = found.elements["controls"]
    assert control["on"] == "api-gateway"
    assert facts(found)["api-rate-limiting.state"] == "active"


@pytest.mark.parametrize("name", ALL)
def test_what_was_found_makes_a_description(name: str) -> None:
    found = read(HERE / name)
    merged = merge(None, [found], name="made")
    system = loads(merged.text)
    assert not merged.unplaced
    assert not merged.conflicts
    assert merged.added
    for claim in merged.added:
        assert system.sources[claim.path] == "imported", claim


@pytest.mark.parametrize("name", ALL)
def test_every_fact_says_where(name: str) -> None:
    lines = (HERE / name).read_text().splitlines()
    for fact in read(HERE / name).facts:
        assert fact.because
        assert 0 <= fact.line <= len(lines)
        assert (fact.line > 0) == fact.because.startswith(f"line {fact.line}: ")


# What is no document, or a hostile one -------------------------------------------------------------------------------


def message(data: bytes, name: str = "x.yaml") -> str:
    with pytest.raises(UsageError) as caught:
        read_document(data, name)
    return str(caught.value)


def test_an_unknown_file_lists_the_formats(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("remember the milk\n")
    with pytest.raises(UsageError) as caught:
        read(tmp_path / "notes.txt")
    for name in FORMATS:
        assert name in str(caught.value)
    with pytest.raises(UsageError, match="no such file"):
        read(tmp_path / "absent")
    (tmp_path / "d").mkdir()
    with pytest.raises(UsageError, match="folder without"):
        read(tmp_path / "d")


def test_a_folder_is_read_by_what_speaks_for_it(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_bytes((HERE / "MLmodel").read_bytes())
    assert read(tmp_path).format.startswith("MLflow")


def test_manifests_that_start_with_a_rule_are_no_model_card() -> None:
    text = b"---\n" + (HERE / "kserve.yaml").read_bytes()
    assert read_document(text, "README.md").format == "Kubernetes manifests"
    text = b"---\nopenapi: 3.0.0\ntags: [{name: x}]\npaths: {}\n---\n"
    found = read_document(text + b"a: 1\n", "x")
    assert found.format == "OpenAPI 3.0.0"
    assert noted(found, "2 documents; the first was read")


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    for name in ALL:
        (tmp_path / "thing").write_bytes((HERE / name).read_bytes())
        assert read(tmp_path / "thing").format == read(HERE / name).format


def test_a_description_is_told_to_be_one() -> None:
    assert "is a description itself" in message(b"casemate: 1\nsystem: {name: x}\n")


BOMB = b"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (c + 1, c + 1, b",".join([b"*%c" % c] * 10)) for c in range(ord("a"), ord("i"))
)


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (BOMB + b"services: {x: {image: *i}}\n", "expands to more than"),
        (b"services:\n  a: {image: \xff\xfe}\n", "not UTF-8"),
        (b"{" * 100_000, "json"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "nested deeper"),
        (b"[" * 5_000 + b"]" * 5_000, "nested deeper"),
        (b'{"bomFormat": "CycloneDX", "a": 1, "a": 2}', "stated twice"),
        (b'{"bomFormat": "CycloneDX",\n"a": nul}', "x.yaml:2"),
        (b'{"bomFormat": "CycloneDX"} trailing', "goes on after its end"),
        (b"services: !!python/object/apply:os.system [id]\n", "tags are not read"),
        (b"", "is empty"),
        (b"\x00\x01\x02", "binary"),
        (b"- a\n- b\n", "text or a list"),
    ],
)
def test_hostile_documents_end_in_one_message(data: bytes, part: str) -> None:
    assert part in message(data)


def test_fifty_megabytes_are_refused_quickly(tmp_path: Path) -> None:
    big = tmp_path / "big.json"
    big.write_bytes(b'{"bomFormat": "CycloneDX", "components": [' + b'{"type": "library"},' * 2_600_000 + b"{}]}")
    start = time.perf_counter()
    with pytest.raises(UsageError, match=f"larger than {MAX_BYTES:,}"):
        read(big)
    assert time.perf_counter() - start < 5


def test_too_many_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_NODES", 1_000)
    with pytest.raises(BadSystem, match="holds more than"):
        parse(b"[" + b"[]," * 1_000 + b"[]]", "x.json")


def test_json_has_the_lines_and_values_of_its_text() -> None:
    document = parse(b'{\n "a": [1,\n  {"b": "\\u00e9\\ud83d\\ude00\\ud800"}],\n "c": -1.5e3, "d": null}', "x")
    root = document.root
    assert root.plain() == {"a": [1, {"b": "é😀\ufffd"}], "c": -1500.0, "d": None}
    a = root.get("a")
    assert a is not None and a.items is not None
    assert [a.line, a.items[1].line] == [2, 3]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(json_values)
def test_json_is_read_as_python_reads_it(value: object) -> None:
    node = parse(json.dumps({"x": value}).encode(), "x").root

    def same(mine: object, other: object) -> bool:
        if isinstance(other, dict):
            return isinstance(mine, dict) and mine.keys() == other.keys() and all(same(mine[k], other[k]) for k in other)
        if isinstance(other, list):
            return isinstance(mine, list) and len(mine) == len(other) and all(map(same, mine, other))
        return mine == other

    assert same(node.plain(), {"x": value})


def replaced(value: object, junk: object, at: list[int]) -> object:
    """The same document with the n-th value replaced."""
    at[0] -= 1
    if at[0] == 0:
        return junk
    if isinstance(value, dict):
        return {key: replaced(inner, junk, at) for key, inner in value.items()}
    return [replaced(inner, junk, at) for inner in value] if isinstance(value, list) else value


JUNK = [None, True, 0, -1.5, "", "x" * 5_000, "<script>\x1b[31m", [], {}, [[]], [None, 1, {}], {"": ""}, "$ref", [{"$ref": "#/"}]]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["bom.json", "swagger.json", "husky-ai.json"]), st.integers(2, 900), st.sampled_from(JUNK))
def test_wrong_types_anywhere_break_nothing(name: str, at: int, junk: object) -> None:
    survives(json.dumps(replaced(json.loads((HERE / name).read_text()), junk, [at])).encode(), name)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["README.md", "MLmodel", "openapi.yaml", "compose.yaml", "kserve.yaml"]), st.data())
def test_wrong_lines_anywhere_break_nothing(name: str, data: st.DataObject) -> None:
    lines = (HERE / name).read_text().splitlines()
    at = data.draw(st.integers(0, len(lines) - 1))
    junk = data.draw(st.sampled_from(["[]", "{}", "null", '"\\e[31m<b>"', "- x", "9" * 400, "~: ~", "*a", "&a b", "? x"]))
    lines[at] = lines[at].partition(":")[0] + f": {junk}" if ":" in lines[at] else junk
    survives("\n".join(lines).encode(), name)


def survives(data: bytes, name: str) -> None:
    """Either one message, or an import that makes a description."""
    try:
        found = read_document(data, name)
    except UsageError:
        return
    merged = merge(None, [found], name="made")
    loads(merged.text)
    for unplaced in merged.unplaced:
        assert unplaced.why


def test_schemas_that_refer_to_each_other_end() -> None:
    names = [f"S{n}" for n in range(12)]
    every = {name: {"$ref": f"#/components/schemas/{name}"} for name in names}
    document = {
        "openapi": "3.0.0",
        "paths": {"/predict": {"post": {"responses": {"200": {"content": {"a/b": {"schema": every["S0"]}}}}}}},
        "components": {"schemas": {name: {"properties": every} for name in names}},
    }
    start = time.perf_counter()
    read_document(json.dumps(document).encode(), "a.json")
    assert time.perf_counter() - start < 2


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=100))
def test_any_name_becomes_an_id(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", slug(name, "thing"))
    assert slug(name, "thing") != "system"


def test_hostile_names_of_services() -> None:
    names = ['"><script>', "..", "\u202etxt", "system", "a b", "a.b", "9", "é", "--", "x" * 500]
    text = json.dumps({"services": {name: {"image": "x"} for name in names}})
    found = read_document(text.encode(), "c.json")
    made = ids(found, "components")
    assert len(set(made)) == len(names)
    system = loads(merge(None, [found], name="made").text)
    assert [c.id for c in system.components] == made
    assert noted(found, "is called")


# Made by the real libraries (documents/real) ------------------------------------------------------------------------

REAL = HERE / "real"
LEAF = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
RESNET = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"


def placed(found: Import, file: Path) -> dict[str, tuple[object, str]]:
    """Each fact with the text of the line that it says it was read from, without the comma that JSON ends it with."""
    lines = file.read_text(encoding="utf-8").splitlines()
    assert facts(found)  # none is stated twice
    return {fact.path: (fact.value, lines[fact.line - 1].strip().removesuffix(",")) for fact in found.facts if fact.line}


@pytest.mark.parametrize("version", ["1.5", "1.6", "1.7"])
def test_a_real_bill(version: str) -> None:
    file = REAL / f"bom-{version}.json"
    found = read(file)
    assert found.format == f"CycloneDX {version}"
    assert placed(found, file) == {
        "$model.artifact.digest": (f"sha256:{LEAF}", "{"),
        "$model.artifact.format": ("onnx", "{"),
        "$model.provenance.parent.ref": ("microsoft/resnet-50@v1", "{"),
        "$model.provenance.parent.digest": (f"sha256:{RESNET}", "{"),
        "$model.provenance.parent.public": ("yes", '"purl": "pkg:huggingface/microsoft/resnet-50@v1"'),
        "$model.provenance.parent.source": (
            "pkg:huggingface/microsoft/resnet-50@v1",
            '"purl": "pkg:huggingface/microsoft/resnet-50@v1"',
        ),
        "$model.dependencies.known_vulnerable": ("yes", "{"),
    }
    lines = {fact.path: fact.line for fact in found.facts}
    text = file.read_text().splitlines()
    # A row of JSON stands where its brace opens; what it says follows.
    assert "SHA-256" in text[lines["$model.artifact.digest"]]
    assert LEAF in text[lines["$model.artifact.digest"] + 1]
    assert '"parent"' in text[lines["$model.provenance.parent.ref"]]
    assert RESNET in text[lines["$model.provenance.parent.digest"] + 1]
    assert "affects" in text[lines["$model.dependencies.known_vulnerable"]]
    assert "leaf.onnx" in "".join(text[lines["$model.artifact.format"] :][:9])


def test_a_real_api() -> None:
    file = REAL / "openapi.json"
    found = read(file)
    assert found.format == "OpenAPI 3.1.0"
    assert placed(found, file) == {
        "$model.endpoint.auth": ("key", '"security": ['),
        "$model.model.output": ("score", '"score": {'),
        "$model.model.precision_digits": (2, '"multipleOf": 0.01'),
        "$model.endpoint.metadata_exposed": ("yes", '"get": {'),
    }
    [metadata] = [fact for fact in found.facts if fact.path.endswith("metadata_exposed")]
    assert "/metadata" in file.read_text().splitlines()[metadata.line - 2]
    assert noted(found, "callers can report or correct something by 'POST /feedback'")
    assert noted(found, "a rate limit was reached")
    assert noted(found, "'http://claims.acme.example', in the clear")


def test_a_real_api_in_one_line() -> None:
    """As the framework serves it, without a line break."""
    text = json.dumps(json.loads((REAL / "openapi.json").read_text()), separators=(",", ":"))
    assert facts(read_document(text.encode(), "openapi.json")) == facts(read(REAL / "openapi.json"))


def test_a_real_api_without_security_that_takes_a_file() -> None:
    file = REAL / "openapi-image.json"
    found = read(file)
    assert placed(found, file) == {"$model.model.output": ("score", '"probability": {')}
    assert noted(found, "states no security for its predictions")


COLUMNS = 'inputs: \'[{"type": "double", "name": "amount", "required": true}, {"type": "long"'
LABEL = """outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "str", "shape": [-1]}}]'"""


@pytest.mark.parametrize(
    ("folder", "format", "path", "how"),
    [
        ("mlflow-default", "skops", "model.skops", "skops"),
        ("mlflow-cloudpickle", "pickle", "model.pkl", "cloudpickle"),
    ],
)
def test_a_real_mlmodel(folder: str, format: str, path: str, how: str) -> None:
    found = read(REAL / folder)
    assert re.fullmatch(r"MLflow MLmodel \d+\.\d+\.\d+", found.format)
    stated = placed(found, REAL / folder / "MLmodel")
    assert stated == {
        "$model.artifact.format": (format, f"serialization_format: {how}"),
        "$model.artifact.path": (path, f"pickled_model: {path}"),
        "system.modality": ("tabular", COLUMNS),
        "$model.model.output": ("label", LABEL),  # the line of the outputs, not that of the signature
    }


def test_a_real_mlmodel_of_python_code() -> None:
    found = read(REAL / "mlflow-python" / "MLmodel")
    assert placed(found, REAL / "mlflow-python" / "MLmodel") == {
        "$model.artifact.format": ("pickle", "python_model: python_model.pkl"),
        "$model.artifact.path": ("python_model.pkl", "python_model: python_model.pkl"),
        "system.modality": ("image", """inputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 8"""),
    }
    assert noted(found, "numbers without a telling name")


def test_a_real_card() -> None:
    base = "base_model: google/vit-base-patch16-224-in21k"
    found = read(REAL / "card")
    assert placed(found, REAL / "card" / "README.md") == {
        "$model.provenance.parent.ref": ("google/vit-base-patch16-224-in21k", base),
        "$model.provenance.parent.public": ("yes", base),
        "$model.provenance.parent.source": ("huggingface.co", base),
        "$model.provenance.datasets": (["beans", "acme/leaf-scans"], "- beans"),
        "system.modality": ("image", "pipeline_tag: image-classification"),
        "$model.model.family": ("nn", "library_name: transformers"),
        "$model.model.differentiable": ("yes", "library_name: transformers"),
    }


def test_a_real_card_of_a_merge() -> None:
    found = read(REAL / "card-merged" / "README.md")
    assert placed(found, REAL / "card-merged" / "README.md") == {
        "$model.provenance.parent.ref": ("acme/words-a, acme/words-b", "- acme/words-a"),
        "$model.provenance.parent.public": ("yes", "- acme/words-a"),
        "$model.provenance.parent.source": ("huggingface.co", "- acme/words-a"),
        "system.modality": ("tabular", "pipeline_tag: tabular-classification"),
    }
    assert noted(found, "2 base models: a merge")
    assert noted(found, "base_model_relation: merge")


def test_real_manifests() -> None:
    file = REAL / "kubernetes.json"
    found = read(file)
    stated = placed(found, file)
    image = '"image": "tensorflow/serving:2.18.0"'
    assert stated["scores.kind"] == ("server", image)
    assert stated["scores.artifact.tag_mutable"] == ("yes", image)
    assert stated["scores.workspace.secrets_in_plain"][0] == "yes"
    assert stated["internet.trust"] == ("public", "{")
    assert stated["internet_caller->scores.channel"] == ("https", '"tls": [')
    assert len(stated) == 5
    assert flows(found) == {("internet_caller", "scores")}


def test_real_model_servers() -> None:
    file = REAL / "kserve.yaml"
    found = read(file)
    hub = "storageUri: hf://acme/words:4f2c"
    assert placed(found, file) == {
        "leaf.kind": ("server", "apiVersion: serving.kserve.io/v1beta1"),
        "leaf.artifact.format": ("onnx", "storageUri: s3://models/leaf/2.1"),
        "leaf.workspace.secrets_in_plain": ("yes", "- name: AWS_SECRET_ACCESS_KEY"),
        "claims.kind": ("server", "apiVersion: serving.kserve.io/v1beta1"),
        "claims.artifact.format": ("joblib", "storageUri: gs://acme-models/claims/model.joblib"),
        "words.kind": ("server", "apiVersion: serving.kserve.io/v1beta1"),
        "words.model.family": ("nn", "modelFormat:"),
        "words.model.differentiable": ("yes", "modelFormat:"),
        "words.provenance.parent.ref": ("acme/words", hub),
        "words.provenance.parent.public": ("yes", hub),
        "words.provenance.parent.source": ("huggingface.co", hub),
    }
    assert flows(found) == {("caller", "leaf")}  # the others stay in the cluster by their label
    assert noted(found, "the setting 'DB_PASSWORD' of leaf")  # of its transformer


ARTIFACTS = (
    "bom-1.5.json", "bom-1.6.json", "bom-1.7.json", "openapi.json", "openapi-image.json", "mlflow-default",
    "mlflow-cloudpickle", "mlflow-python", "card", "card-merged", "kubernetes.json", "kserve.yaml",
)  # fmt: skip


@pytest.mark.parametrize("name", ARTIFACTS)
def test_a_real_artifact_makes_a_description(name: str) -> None:
    found = read(REAL / name)
    merged = merge(None, [found], name="made")
    loads(merged.text)
    told = repr(found) + merged.text
    assert "hunter2" not in told
    assert "s3cr3t" not in told


LOADS_NOTHING = """
import sys
from casemate.imports.read import read

def watch(event, args):
    if event in ("pickle.find_class", "subprocess.Popen", "os.system") or event.startswith("socket."):
        raise SystemExit(f"{event} {args}")

sys.addaudithook(watch)
for path in sys.argv[1:]:
    assert read(path).facts, path
HEAVY = "cyclonedx fastapi pydantic mlflow sklearn skops joblib pandas huggingface_hub transformers torch kubernetes kserve"
print([name for name in HEAVY.split() if name in sys.modules])
"""


def test_real_artifacts_load_nothing() -> None:
    paths = [str(REAL / name) for name in ARTIFACTS]
    done = subprocess.run([sys.executable, "-c", LOADS_NOTHING, *paths], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
