"""Kubernetes manifests, many in a file: workloads, services, ingresses, and the model servers of KServe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from casemate.imports import services, tables
from casemate.imports.documents import Document, at, entries, rows, word
from casemate.imports.found import Import
from casemate.imports.gather import Gathered, quoted
from casemate.threats.nodes import Node

NAME = "Kubernetes manifests"
_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod")
_KSERVE = "serving.kserve.io"
# Model formats of KServe that leave no choice of file. The others (sklearn: joblib or pickle, pytorch: an archive of
# several files, tensorflow: a folder) stay open.
_FORMATS = {"onnx": "onnx", "xgboost": "native", "lightgbm": "native", "pmml": "native", "paddle": "native"}
_FAMILIES = {"pytorch": ("nn", "yes"), "tensorflow": ("nn", "yes"), "lightgbm": ("trees", "no"), "huggingface": ("nn", "yes")}
_PREDICTORS = (*_FORMATS, "sklearn", "pytorch", "tensorflow", "triton", "huggingface", "mlflow")
_MOST = 500  # objects


def matches(document: Document) -> bool:
    return any(word(root, "apiVersion") and word(root, "kind") for root in document.roots)


@dataclass(slots=True)
class _Workload:
    """A component that manifests describe, with what a Service selects it by."""

    id: str
    kind: str
    image: str
    labels: dict[str, str]


def read_document(document: Document) -> Import:
    found = Gathered(NAME, document.file)
    objects = list(_objects(document))
    if len(objects) > _MOST:
        found.note(f"{len(objects)} objects; the first {_MOST} were read")
        objects = objects[:_MOST]
    runtimes = {
        word(node, "metadata", "name"): node
        for node in objects
        if word(node, "kind") in ("ServingRuntime", "ClusterServingRuntime")
    }
    workloads = [workload for node in objects if (workload := _workload(found, node))]
    for node in objects:
        if word(node, "kind") == "InferenceService":
            _inference(found, node, runtimes)
        elif word(node, "kind") == "Secret" and (entries(node, "data") or entries(node, "stringData")):
            name = quoted(word(node, "metadata", "name"))
            found.note(f"line {node.line}: the Secret {name} stands in the manifest; base64 hides nothing. It is not copied")
    _exposed(found, objects, workloads)
    return found.done()


def _objects(document: Document) -> Iterator[Node]:
    for root in document.roots:
        if word(root, "kind").endswith("List"):
            yield from rows(root, "items")
        elif root.entries is not None:
            yield root


def _pod(node: Node) -> Node | None:
    """The template of the pods: `spec` and labels are below it."""
    kind = word(node, "kind")
    if kind == "Pod":
        return node
    return at(node, "spec", "jobTemplate", "spec", "template") if kind == "CronJob" else at(node, "spec", "template")


def _workload(found: Gathered, node: Node) -> _Workload | None:
    if word(node, "kind") not in _WORKLOADS:
        return None
    name, pod = word(node, "metadata", "name"), _pod(node)
    containers = rows(pod, "spec", "containers")
    id = found.id(name, "workload", name)
    # The container that shows what it is speaks for the pod; a sidecar rarely does.
    main = next((c for c in containers if tables.kind_of(word(c, "image"))), containers[0] if containers else None)
    image = word(main, "image")
    kind = services.component(found, id, image, at(main, "image") or node)
    if len(containers) > 1:
        found.note(f"{id} runs {len(containers)} containers; {quoted(word(main, 'name'))} speaks for them")
    for container in containers:
        _settings(found, id, container)
    labels = {key: word(value) for key, value in entries(pod, "metadata", "labels").items()}
    return _Workload(id, kind, image, labels)


def _settings(found: Gathered, id: str, container: Node) -> None:
    for row in rows(container, "env"):
        services.secret(found, id, word(row, "name"), word(row, "value"), row)


# KServe --------------------------------------------------------------------------------------------------------------


def _inference(found: Gathered, node: Node, runtimes: dict[str, Node]) -> None:
    id = found.id(word(node, "metadata", "name"), "inference_service")
    found.element("components", {"id": id})
    found.fact(f"{id}.kind", "server", "an InferenceService", node)
    predictor = at(node, "spec", "predictor")
    model, format = at(predictor, "model"), word(predictor, "model", "modelFormat", "name").lower()
    if model is None:  # the older form has the format as a key
        format = next((key for key in _PREDICTORS if entries(predictor, key)), "")
        model = at(predictor, format) if format else None
    if model is not None:
        _served(found, id, model, format)
        runtime = runtimes.get(word(model, "runtime"))
        for container in rows(runtime, "spec", "containers")[:1]:
            found.note(f"{id} runs on {quoted(word(container, 'image'))}; its model is not in that image")
        _settings(found, id, model)  # a model has settings as a container has
    for container in rows(predictor, "containers"):
        services.pinned(found, id, word(container, "image"), at(container, "image"))
    for container in (*rows(predictor, "containers"), *rows(node, "spec", "transformer", "containers")):
        _settings(found, id, container)
    if at(node, "spec", "transformer") is not None:
        found.note(f"{id} has a transformer, which changes inputs and answers: a component of its own?")
    if at(node, "spec", "explainer") is not None:
        found.note(f"{id} has an explainer: whoever may call it sees explanations")
    local = word(node, "metadata", "labels", "networking.kserve.io/visibility") == "cluster-local"
    if not local:
        because = "an InferenceService without the label that keeps it inside the cluster"
        services.called_from_outside(found, id, "server", "outside", False, because, node)


def _served(found: Gathered, id: str, model: Node, format: str) -> None:
    uri = word(model, "storageUri")
    where = at(model, "storageUri") or model
    known = _FORMATS.get(format, "") or tables.format_of(uri)
    found.fact(f"{id}.artifact.format", known, f"model format {format}" if format in _FORMATS else f"storageUri {uri}", where)
    if format and not known:
        found.note(f"{id}: model format {quoted(format)} does not settle the format of the file")
    family, differentiable = _FAMILIES.get(format, ("", ""))
    found.fact(f"{id}.model.family", family, f"model format {format}", model)
    found.fact(f"{id}.model.differentiable", differentiable, f"model format {format}", model)
    if uri.startswith("hf://"):
        repository, _, revision = uri.removeprefix("hf://").partition(":")
        because = "storageUri names a model of the Hugging Face Hub"
        found.fact(f"{id}.provenance.parent.ref", repository, because, where)
        found.fact(f"{id}.provenance.parent.public", True, because, where)
        found.fact(f"{id}.provenance.parent.source", "huggingface.co", because, where)
        if not revision:
            found.note(f"{id}: storageUri has no revision, so another model may lie there tomorrow")
    elif uri:
        found.note(f"{id}: its model lies at {quoted(uri)}; who can write there?")


# Ways in -------------------------------------------------------------------------------------------------------------


def _exposed(found: Gathered, objects: list[Node], workloads: list[_Workload]) -> None:
    behind: dict[str, list[_Workload]] = {}
    for node in objects:
        if word(node, "kind") == "Service":
            selector = {key: word(value) for key, value in entries(node, "spec", "selector").items()}
            chosen = [w for w in workloads if selector and selector.items() <= w.labels.items()]
            name = word(node, "metadata", "name")
            behind[name] = chosen
            if word(node, "spec", "type") in ("LoadBalancer", "NodePort"):
                because = f"the Service {quoted(name)} of type {word(node, 'spec', 'type')}"
                _reached(found, chosen, word(node, "spec", "type") == "LoadBalancer" and not _internal(node), because, node)
                _management(found, node, chosen)
    for node in objects:
        if word(node, "kind") == "Ingress":
            _ingress(found, node, behind)


def _management(found: Gathered, node: Node, chosen: list[_Workload]) -> None:
    ports = [word(row, "targetPort") or word(row, "port") for row in rows(node, "spec", "ports")]
    for workload in chosen:
        services.management(found, workload.id, workload.image, ports, node)


def _internal(node: Node) -> bool:
    """Whether an annotation or class keeps a way in inside the company's network."""
    notes = {key: word(value).lower() for key, value in entries(node, "metadata", "annotations").items()}
    named = any("internal" in key and value in ("true", "internal", "0.0.0.0/0") for key, value in notes.items())
    scheme = any(key.endswith(("/scheme", "load-balancer-type")) and value == "internal" for key, value in notes.items())
    return named or scheme or "internal" in word(node, "spec", "ingressClassName").lower()


def _reached(found: Gathered, chosen: list[_Workload], public: bool, because: str, node: Node) -> list[str]:
    zone = "internet" if public else "outside"
    return [services.called_from_outside(found, w.id, w.kind, zone, public, because, node) for w in chosen]


def _ingress(found: Gathered, node: Node, behind: dict[str, list[_Workload]]) -> None:
    name = quoted(word(node, "metadata", "name"))
    because = f"the Ingress {name}" + ("" if _internal(node) else " without an internal class or annotation")
    backends = [at(path, "backend") for rule in rows(node, "spec", "rules") for path in rows(rule, "http", "paths")]
    backends.append(at(node, "spec", "defaultBackend"))
    names = dict.fromkeys(word(b, "service", "name") or word(b, "serviceName") for b in backends if b is not None)
    for service in names:
        flows = _reached(found, behind.get(service, []), not _internal(node), because, node)
        if service not in behind:
            found.note(f"the Ingress {name} leads to a Service that the file does not have")
        for flow in flows:
            secure = bool(rows(node, "spec", "tls"))
            if secure:
                found.fact(f"{flow}.channel", "https", f"the Ingress {name} has tls", at(node, "spec", "tls"))
            else:
                found.note(f"the Ingress {name} has no tls; does something before it?")
