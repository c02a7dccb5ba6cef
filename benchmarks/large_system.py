"""A large system that looks like one: products of twenty components each, described as plain data, the same every time.

Every product has its sources, features, trainer, model file, registry, two servers, a runtime on a device, a decision
with feedback, and what people and machines work with around them. Its flows are the pipeline, then further flows inside
the product (mostly onwards, as pipelines are) until there are five for each component; one in twenty leads on to the
log store of the next product, and every tenth product feeds a data source of the one after it. So what happens in a
product stays near it, as in a company with many teams. Facts are stated, left out or said to be unknown in turn, as in
real descriptions. One principal for every twenty components; each has access rows to eight places, most of them in one
or two products, and a few principals (operations, the cloud) stand across all.

`tangled` is the same in everything but the ends of its flows: as many, each between two components drawn from all. No
company looks like that, and it is the worst there is: with five flows for each component almost every one leads to almost
every other, so nearly every principal reaches nearly every component.
"""

from __future__ import annotations

import random
from typing import Any

Plain = dict[str, Any]

_KINDS = (
    "data_source", "sensor", "label_source", "preprocess", "preprocess", "feature_store", "trainer", "model_artifact",
    "registry", "server", "server", "edge_runtime", "postprocess", "decision", "feedback", "log_store", "notebook", "ci",
    "dependency_set", "human_review",
)  # fmt: skip
_PIPELINE = (
    (0, 3), (1, 4), (2, 5), (3, 5), (5, 6), (6, 7), (7, 8), (8, 9), (8, 10), (8, 11), (4, 9), (4, 10), (1, 11),
    (9, 12), (10, 12), (12, 13), (13, 14), (14, 5), (9, 15), (10, 15), (16, 6), (17, 8), (18, 6), (13, 19),
)  # fmt: skip
_PRINCIPALS = (
    "anonymous", "customer", "paid_account", "partner", "data_provider", "labeller", "ml_engineer", "ops", "insider",
    "cloud_provider", "mlaas_provider", "update_server",
)  # fmt: skip
_CAN = {
    "data_source": ("inject_data", "modify_data", "read_data"),
    "sensor": ("control_sensor", "inject_data"),
    "label_source": ("write_labels",),
    "preprocess": ("query", "inject_data"),
    "feature_store": ("read_data", "modify_data"),
    "model_artifact": ("read_weights", "write_weights"),
    "registry": ("read_weights", "write_weights"),
    "server": ("query", "see_label", "see_score"),
    "edge_runtime": ("query", "see_score", "read_binary"),
    "decision": ("see_decision",),
    "feedback": ("write_feedback",),
    "log_store": ("read_data",),
    "notebook": ("read_data", "write_code"),
    "ci": ("write_code", "write_weights"),
}
_ASSETS = (("training_data", "P"), ("decision", "I"), ("model", "C"), ("service", "A"))


def tangled(components: int, seed: int = 0) -> Plain:
    """The same components, principals, access rows and number of flows, but the flows lead anywhere."""
    made = description(components, seed)
    draw = random.Random(seed + 1)
    ids = [component["id"] for component in made["components"]]
    ends: dict[tuple[str, str], None] = {}
    while len(ends) < len(made["flows"]):
        start, end = draw.sample(ids, 2)
        ends[start, end] = None
    return {**made, "system": {**made["system"], "name": f"tangled-{components}"}, "flows": [_flow(draw, *e) for e in ends]}


def description(components: int, seed: int = 0) -> Plain:
    """A description with so many components (a multiple of 20), five flows for each, and a principal for every 20."""
    draw = random.Random(seed)
    products = components // len(_KINDS)
    zones = [{"id": f"zone-{t}", "trust": t} for t in ("public", "partner", "user_device", "corp", "prod", "research")]
    flows = {edge: None for product in range(products) for edge in _flows(draw, product, products)}
    return {
        "casemate": 1,
        "system": {"name": f"large-{components}", "task": "multiclass", "modality": "tabular",
                   "decision": {"automated": True, "reversible": False}},
        "zones": zones,
        "principals": [_principal(draw, i) for i in range(max(2, products))],
        "assets": [asset for product in range(products) for asset in _assets(draw, product)],
        "components": [_component(draw, product, i) for product in range(products) for i in range(len(_KINDS))],
        "flows": [_flow(draw, *edge) for edge in flows],
        "access": _access(draw, products),
        "controls": [{"id": f"limit-{p}", "type": "service.query_budget", "on": _id(p, 9), "state": "active"}
                     for p in range(0, products, 4)],
    }  # fmt: skip


def _id(product: int, index: int) -> str:
    return f"p{product}-{_KINDS[index].replace('_', '-')}-{index}"


def _flows(draw: random.Random, product: int, products: int) -> list[tuple[str, str]]:
    edges = dict.fromkeys(_PIPELINE)
    across: dict[tuple[str, str], None] = {}
    while len(edges) + len(across) < 5 * len(_KINDS):
        start, end = draw.sample(range(len(_KINDS)), 2)
        if draw.random() < 0.05 and product + 1 < products:
            across[_id(product, start), _id(product + 1, 15)] = None
        elif start < end:
            edges[start, end] = None
    if product % 10 == 9 and product + 1 < products:
        across[_id(product, 13), _id(product + 1, 0)] = None
    return [*((_id(product, a), _id(product, b)) for a, b in edges), *across]


def _flow(draw: random.Random, start: str, end: str) -> Plain:
    stated: Plain = {"from": start, "to": end, "channel": draw.choice(("https", "grpc", "file", "bus"))}
    if draw.random() < 0.5:
        stated["auth"] = draw.choice(("none", "key", "mtls"))
    if draw.random() < 0.3:
        stated["data"] = [f"{start.split('-')[0]}-training-data"]
    return stated


def _fact(draw: random.Random) -> Any:
    return draw.choice((True, False, False, "unknown"))


def _component(draw: random.Random, product: int, index: int) -> Plain:
    kind = _KINDS[index]
    made: Plain = {"id": _id(product, index), "kind": kind, "owner": f"team-{product}"}
    if draw.random() < 0.8:
        made["zone"] = "zone-user_device" if kind == "edge_runtime" else draw.choice(("zone-prod", "zone-corp"))
    if kind in ("server", "edge_runtime"):
        made["model"] = {"family": "nn", "output": draw.choice(("label", "score", "logits")), "mutators": _fact(draw)}
        made["provenance"] = {"parent": draw.choice(("none", {"ref": "backbone", "public": _fact(draw)}))}
        made["holds"] = [f"p{product}-decision", f"p{product}-model"]
    if kind == "server":
        limit = draw.choice(("none", "unknown", {"per": "day", "n": 500, "key": "account"}))
        made["endpoint"] = {"auth": draw.choice(("none", "key", "oauth")), "rate_limit": limit,
                            "verbose_errors": _fact(draw), "admin_exposed": _fact(draw)}  # fmt: skip
    if kind in ("model_artifact", "edge_runtime"):
        made["artifact"] = {"format": draw.choice(("pickle", "torch", "onnx", "safetensors")), "signed": _fact(draw),
                            "digest_verified_at_load": _fact(draw)}  # fmt: skip
    if kind == "trainer":
        made["training"] = {"sources": [_id(product, 5), _id(product, 14)], "review": draw.choice(("none", "sample", "all")),
                            "documented": _fact(draw)}  # fmt: skip
    if kind in ("data_source", "feature_store"):
        made["holds"] = [f"p{product}-training-data"]
        made["dataset"] = {"external": _fact(draw), "digest_verified": _fact(draw)}
    if kind in ("registry", "feature_store", "log_store"):
        made["storage"] = {"outsiders_read": _fact(draw), "outsiders_write": _fact(draw), "redacted": _fact(draw)}
    if kind in ("notebook", "ci"):
        made["workspace"] = {"secrets_in_plain": _fact(draw), "outputs_kept": _fact(draw)}
    if kind == "dependency_set":
        made["dependencies"] = {"pinned": _fact(draw), "hashed": _fact(draw), "known_vulnerable": _fact(draw)}
    return made


def _assets(draw: random.Random, product: int) -> list[Plain]:
    return [
        {"id": f"p{product}-{kind.replace('_', '-')}", "kind": kind, "value": {letter: draw.randrange(5)},
         "personal": _fact(draw)}
        for kind, letter in _ASSETS
    ]  # fmt: skip


def _principal(draw: random.Random, index: int) -> Plain:
    kind = _PRINCIPALS[index % len(_PRINCIPALS)]
    return {"id": f"{kind.replace('_', '-')}-{index}", "kind": kind, "zone": "zone-public", "count": draw.randrange(1, 9000)}


def _access(draw: random.Random, products: int) -> list[Plain]:
    rows: dict[tuple[str, str], Plain] = {}
    open_to = [i for i, kind in enumerate(_KINDS) if kind in _CAN]
    for index in range(max(2, products)):
        kind = _PRINCIPALS[index % len(_PRINCIPALS)]
        who = f"{kind.replace('_', '-')}-{index}"
        near = range(products) if kind in ("ops", "cloud_provider") else (index % products, (index * 7 + 1) % products)
        for _ in range(8):
            place = draw.choice(open_to)
            can = list(_CAN[_KINDS[place]])
            row: Plain = {"principal": who, "on": _id(draw.choice(near), place), "can": can}
            if draw.random() < 0.2:
                row["unsure"] = [can.pop()]
            if draw.random() < 0.5:
                row["budget"] = {"queries_per_day": draw.randrange(10, 10_000), "days": 10, "samples": 100}
            rows[row["principal"], row["on"]] = row
    return list(rows.values())
