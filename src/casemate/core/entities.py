"""The records of a description: facts, and the elements of a System.

A description says yes, no or unknown, never just "absent": what is not stated is unknown, and unknown is not no.
The records below are the one source of the description language. The YAML reader, the JSON Schema and the rule
engine all walk their fields, so a new field is a new key everywhere.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

Source = Literal["asserted", "imported", "measured"]
Basis = Literal["asserted", "imported", "measured", "not listed"]  # the last: no access row says otherwise


class Truth(enum.Enum):
    """Kleene's three values. `if fact:` raises, because it would read unknown as yes."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"

    @staticmethod
    def of(value: bool) -> Truth:
        return Truth.YES if value else Truth.NO

    def __and__(self, other: Truth) -> Truth:
        return _ORDER[min(_ORDER.index(self), _ORDER.index(other))]

    def __or__(self, other: Truth) -> Truth:
        return _ORDER[max(_ORDER.index(self), _ORDER.index(other))]

    def __invert__(self) -> Truth:
        return _ORDER[2 - _ORDER.index(self)]

    def __bool__(self) -> bool:
        raise TypeError("a fact may be unknown; compare it: fact is Truth.YES")


_ORDER = (Truth.NO, Truth.UNKNOWN, Truth.YES)
YES, NO, UNKNOWN = Truth.YES, Truth.NO, Truth.UNKNOWN


@dataclass(frozen=True, slots=True)
class Fact:
    """One statement about a system: `api.model.output = label (measured)`."""

    path: str
    value: Any
    source: Basis = "asserted"

    @property
    def shown(self) -> str:
        """The value in words; a record by what is stated in it."""
        if isinstance(self.value, Truth):
            return self.value.value
        if is_dataclass(self.value):
            stated = {f.name: getattr(self.value, f.name) for f in fields(self.value)}
            return ", ".join(f"{k} {Fact('', v).shown}" for k, v in stated.items() if v not in (None, (), UNKNOWN))
        return str(self.value)

    def __str__(self) -> str:
        return f"{self.path} = {self.shown} ({self.source})"


def _key(name: str) -> Any:
    """A field whose key in a description is not a legal or readable Python name."""
    return field(default=None, metadata={"key": name})


def _refs(*kinds: str, many: bool = False) -> Any:
    """A field that names other elements; `kinds` are the collections of System where they must exist."""
    return field(default=() if many else "", metadata={"refs": kinds})


Auth = Literal["none", "key", "oauth", "mtls"]
Review = Literal["none", "sample", "all"]
Output = Literal["label", "topk", "score", "logits", "embedding", "explanation"]
Can = Literal[
    "read_data", "inject_data", "modify_data", "write_labels", "query", "see_label", "see_score", "see_logits",
    "see_explanation", "read_weights", "read_binary", "write_weights", "write_code", "control_sensor",
    "see_decision", "replay", "write_feedback",
]  # fmt: skip
ComponentKind = Literal[
    "data_source", "sensor", "preprocess", "feature_store", "label_source", "trainer", "model_artifact", "registry",
    "server", "edge_runtime", "postprocess", "decision", "actuator", "feedback", "log_store", "notebook", "ci",
    "dependency_set", "human_review", "federated_client",
]  # fmt: skip
PrincipalKind = Literal[
    "anonymous", "customer", "paid_account", "partner", "data_provider", "labeller", "ml_engineer", "ops", "insider",
    "cloud_provider", "mlaas_provider", "update_server",
]  # fmt: skip
AssetKind = Literal[
    "model", "weights", "training_data", "input_data", "labels", "decision", "service", "money", "safety", "brand"
]
Format = Literal[
    "pickle", "joblib", "torch", "torch_weights_only", "keras_h5", "keras_v3", "onnx", "safetensors", "skops",
    "tflite", "native", "savedmodel", "gguf", "torchscript",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    id: str = ""
    trust: Literal["public", "partner", "user_device", "corp", "prod", "research"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    id: str = ""
    kind: PrincipalKind | None = None
    count: int | None = None
    access_cost: float | None = None  # what it costs to become this principal once: a fee, a device, a bribe
    sybil_cost: float | None = None  # what each further account costs
    gain_per_success: float | None = None
    successes_wanted: int | None = None
    zone: str = _refs("zones")


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What losing a property of an asset would mean, 0 (nothing) to 4 (the worst there is)."""

    confidentiality: Literal[0, 1, 2, 3, 4] | None = _key("C")
    integrity: Literal[0, 1, 2, 3, 4] | None = _key("I")
    availability: Literal[0, 1, 2, 3, 4] | None = _key("A")
    privacy: Literal[0, 1, 2, 3, 4] | None = _key("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    id: str = ""
    kind: AssetKind | None = None
    value: Worth | None = None
    personal: Truth = UNKNOWN
    public: Truth = UNKNOWN  # anybody can get it, or data much like it
    aggregates_secret: Truth = UNKNOWN  # what holds of the whole (not of one record) must not become known
    loss_per_event: float | None = None
    population: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    family: str | None = None
    differentiable: Truth = UNKNOWN
    stores_training_examples: Truth = UNKNOWN
    online_learning: Truth = UNKNOWN
    output: Output | None = None
    precision_digits: int | None = None
    input_shape_checked: Truth = UNKNOWN
    compute_data_dependent: Truth = UNKNOWN
    mutators: Truth = UNKNOWN  # edits exist that keep an input working (comments, padding, ...)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    ref: str | None = None
    public: Truth = UNKNOWN
    digest: str | None = None
    digest_verified: Truth = UNKNOWN  # the file that was fine-tuned is checked to be the one that was meant
    source: str | None = None
    source_trusted: Truth = UNKNOWN  # whoever published it answers for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    parent: Parent | Literal["none"] | None = None  # "none": trained from scratch
    datasets: tuple[str, ...] = ()
    trained_by: str | None = None
    reproducible: Truth = UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    format: Format | None = None
    digest: str | None = None
    signed: Truth = UNKNOWN
    signature_verified_at_load: Truth = UNKNOWN
    digest_verified_at_load: Truth = UNKNOWN
    tag_mutable: Truth = UNKNOWN
    path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    per: Literal["second", "minute", "hour", "day"] | None = None
    n: int | None = None
    key: Literal["account", "ip", "global"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    auth: Auth | None = None
    rate_limit: RateLimit | Literal["none"] | None = None  # "none": it is known that there is no limit
    cost_per_call: float | None = None
    quota_per_account: Truth = UNKNOWN  # spending of one account is capped
    verbose_errors: Truth = UNKNOWN
    metadata_exposed: Truth = UNKNOWN  # labels, versions or the family of the model can be read off
    admin_exposed: Truth = UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A source of training data that somebody else hosts."""

    ref: str | None = None
    external: Truth = UNKNOWN
    digest: str | None = None
    digest_verified: Truth = UNKNOWN
    path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Who gets at what a registry, bucket, feature store or log keeps."""

    outsiders_read: Truth = UNKNOWN
    outsiders_write: Truth = UNKNOWN
    redacted: Truth = UNKNOWN  # what is about people is removed before it is kept
    retention_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    pinned: Truth = UNKNOWN
    hashed: Truth = UNKNOWN
    known_vulnerable: Truth = UNKNOWN
    path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A notebook, a CI job, a configuration: where people and machines keep what opens other doors."""

    secrets_in_plain: Truth = UNKNOWN
    outputs_kept: Truth = UNKNOWN  # notebook outputs, which may show records, are stored with it
    path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    telemetry: Truth = UNKNOWN  # decisions are logged well enough that an attack would be seen
    rollback: Truth = UNKNOWN  # an earlier model can be put back
    update_days: int | None = None  # how long until a new model is everywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    eps: float | None = None
    delta: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    sources: tuple[str, ...] = _refs("components", "principals", "assets", many=True)
    review: Review | None = None
    sanitisation: str | None = None
    dp: Privacy | Literal["none"] | None = None
    schedule: str | None = None
    canary_set: Truth = UNKNOWN
    robust_aggregation: Truth = UNKNOWN  # updates of many clients are combined so that few cannot steer the sum
    documented: Truth = UNKNOWN  # an outsider can read how it is trained


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRule:
    threshold: float | None = field(default=None, metadata={"signed": True})
    second_signal: Truth = UNKNOWN
    on_error: Literal["allow", "deny", "queue"] | None = None
    appeals: Truth = UNKNOWN
    blocks_people: Truth = UNKNOWN  # a positive decision locks out, refuses or charges a person


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    id: str = ""
    kind: ComponentKind | None = None
    zone: str = _refs("zones")
    holds: tuple[str, ...] = _refs("assets", many=True)
    owner: str | None = None
    model: Model | None = None
    provenance: Provenance | None = None
    artifact: Artifact | None = None
    endpoint: Endpoint | None = None
    training: Training | None = None
    decision: DecisionRule | None = None
    dataset: Dataset | None = None
    storage: Storage | None = None
    dependencies: Dependencies | None = None
    workspace: Workspace | None = None
    operations: Operations | None = None

    @property
    def trains(self) -> bool:
        """Whether records that arrive here become training data."""
        return self.kind == "trainer" or self.training is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    id: str = ""  # left out, it is "from->to"
    from_: str = field(default="", metadata={"key": "from", "refs": ("components", "principals")})
    to: str = _refs("components")
    # Which assets flow here; an empty list: none of them.
    data: tuple[str, ...] | None = field(default=None, metadata={"refs": ("assets",)})
    channel: Literal["https", "grpc", "file", "bus", "physical", "human"] | None = None
    auth: Auth | None = None
    integrity: Truth = UNKNOWN
    confidentiality: Truth = UNKNOWN
    transforms: tuple[str, ...] | None = None  # resize, tokenize, unpack, normalize, ...; an empty list: none
    crosses: Literal["auto", "yes", "no"] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessBudget:
    """What the principal itself would spend. The limit of the endpoint is not here: it is part of the target."""

    queries_per_day: int | None = None
    samples: int | None = None
    accounts: int | None = None
    hours: float | None = None
    days: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a principal can do. What neither list names, it cannot; `unsure` names what nobody has checked."""

    principal: str = _refs("principals")
    on: str = _refs("components", "flows")
    can: tuple[Can, ...] = ()
    unsure: tuple[Can, ...] = ()
    budget: AccessBudget | None = None
    detect_prob: float | None = None

    @property
    def id(self) -> str:
        return f"access({self.principal}, {self.on})"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredControl:
    id: str = ""
    type: str = ""
    on: str = _refs("components", "flows")
    params: Mapping[str, Any] = field(default_factory=dict)
    state: Literal["planned", "active", "retired"] = "planned"
    learned: Truth = UNKNOWN  # it is itself a trained model (a detector, a filter)
    masks_gradients: Truth = UNKNOWN  # it works by hiding which way to change an input
    claim: str | None = None
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    text: str = ""
    validity: Literal["confirmed", "unconfirmed", "rejected"] = "unconfirmed"
    owner: str | None = None
    review_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What makes a component executable. Functions are `module:name`, found beside the description."""

    component: str = _refs("components")
    factory: str | None = None
    data: str | None = None
    recipe: str | None = None
    parent: str | None = None
    artifact: str | None = None
    url: str | None = None
    protocol: Literal["v2", "json"] | None = None
    query_cap: int | None = None
    pace_per_s: float | None = None
    timeout_s: float | None = None
    token_env: str | None = None  # the name of an environment variable; a secret is never written down
    shape: Mapping[str, Any] = field(default_factory=dict)
    goal: Mapping[str, Any] = field(default_factory=dict)
    within: Mapping[str, Any] = field(default_factory=dict)
    attacks: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    currency: str | None = None
    per_1000_queries: float | None = None
    per_account: float | None = None
    per_record: float | None = None
    per_cpu_hour: float | None = None
    per_gpu_hour: float | None = None
    per_human_hour: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    automated: Truth = UNKNOWN
    reversible: Truth = UNKNOWN
    human_review: Review | None = None
