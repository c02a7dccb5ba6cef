"""The records of a description: the elements of a System.

The records below are the one source of the description language. The YAML reader, the JSON Schema and the rule
engine all walk their fields, so a new field is a new key everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from casemate.core.fact import UNKNOWN, Truth


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
    id: str = ""  # unique name
    trust: Literal["public", "partner", "user_device", "corp", "prod", "research"] | None = None  # who is at home there


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    id: str = ""  # unique name
    kind: PrincipalKind | None = None  # who it is
    count: int | None = None  # how many of them there are
    access_cost: float | None = None  # what it costs to become this principal once: a fee, a device, a bribe
    sybil_cost: float | None = None  # what each further account costs
    gain_per_success: float | None = None  # what one success is worth to it, in the currency of prices
    successes_wanted: int | None = None  # how many wrong decisions it would want
    zone: str = _refs("zones")  # where it stands


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What losing a property of an asset would mean, 0 (nothing) to 4 (the worst there is)."""

    confidentiality: Literal[0, 1, 2, 3, 4] | None = _key("C")  # if it becomes known: 0 nothing, 4 the worst
    integrity: Literal[0, 1, 2, 3, 4] | None = _key("I")  # if it is changed or wrong: 0 to 4
    availability: Literal[0, 1, 2, 3, 4] | None = _key("A")  # if it is not there: 0 to 4
    privacy: Literal[0, 1, 2, 3, 4] | None = _key("P")  # to the people it is about: 0 to 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    id: str = ""  # unique name
    kind: AssetKind | None = None  # what it is
    value: Worth | None = None  # what its loss would mean
    personal: Truth = UNKNOWN  # it is about people
    public: Truth = UNKNOWN  # anybody can get it, or data much like it
    aggregates_secret: Truth = UNKNOWN  # what holds of the whole (not of one record) must not become known
    loss_per_event: float | None = None  # money lost by one success, in the currency of prices
    population: int | None = None  # how many records or cases there are


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    family: str | None = None  # nn, linear, tree, tree_ensemble, svm, knn, ...
    differentiable: Truth = UNKNOWN  # gradients of its outputs by its inputs exist
    stores_training_examples: Truth = UNKNOWN
    online_learning: Truth = UNKNOWN  # it goes on learning from what it is asked
    output: Output | None = None  # the most that an answer shows
    precision_digits: int | None = None  # decimal digits of the scores shown
    input_shape_checked: Truth = UNKNOWN  # inputs of another shape or type are refused
    compute_data_dependent: Truth = UNKNOWN
    mutators: Truth = UNKNOWN  # edits exist that keep an input working (comments, padding, ...)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    ref: str | None = None  # name of the model it was fine-tuned from
    public: Truth = UNKNOWN
    digest: str | None = None  # its digest, as sha256:...
    digest_verified: Truth = UNKNOWN  # the file that was fine-tuned is checked to be the one that was meant
    source: str | None = None  # where it was fetched from
    source_trusted: Truth = UNKNOWN  # whoever published it answers for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    parent: Parent | Literal["none"] | None = None  # the model it was fine-tuned from; "none": trained from scratch
    datasets: tuple[str, ...] = ()  # names of the data it was trained on
    trained_by: str | None = None  # who trained it
    reproducible: Truth = UNKNOWN  # training again gives the same model


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    format: Format | None = None
    digest: str | None = None  # of the model file, as sha256:...
    signed: Truth = UNKNOWN
    signature_verified_at_load: Truth = UNKNOWN
    digest_verified_at_load: Truth = UNKNOWN
    tag_mutable: Truth = UNKNOWN
    path: str | None = None  # of the model file, beside the description


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    per: Literal["second", "minute", "hour", "day"] | None = None  # the period
    n: int | None = None  # calls allowed in the period
    key: Literal["account", "ip", "global"] | None = None  # whose calls are counted together


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    auth: Auth | None = None
    rate_limit: RateLimit | Literal["none"] | None = None  # calls it accepts; "none": it is known that there is no limit
    cost_per_call: float | None = None
    quota_per_account: Truth = UNKNOWN  # spending of one account is capped
    verbose_errors: Truth = UNKNOWN
    metadata_exposed: Truth = UNKNOWN  # labels, versions or the family of the model can be read off
    admin_exposed: Truth = UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A source of training data that somebody else hosts."""

    ref: str | None = None  # name or URL of the data
    external: Truth = UNKNOWN
    digest: str | None = None  # as sha256:...
    digest_verified: Truth = UNKNOWN
    path: str | None = None  # of the data, beside the description


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Who gets at what a registry, bucket, feature store or log keeps."""

    outsiders_read: Truth = UNKNOWN
    outsiders_write: Truth = UNKNOWN
    redacted: Truth = UNKNOWN  # what is about people is removed before it is kept
    retention_days: int | None = None  # days after which it is deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    pinned: Truth = UNKNOWN
    hashed: Truth = UNKNOWN
    known_vulnerable: Truth = UNKNOWN
    path: str | None = None  # of the list of packages, beside the description


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A notebook, a CI job, a configuration: where people and machines keep what opens other doors."""

    secrets_in_plain: Truth = UNKNOWN
    outputs_kept: Truth = UNKNOWN  # notebook outputs, which may show records, are stored with it
    path: str | None = None  # of the notebook or configuration, beside the description


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    telemetry: Truth = UNKNOWN  # decisions are logged well enough that an attack would be seen
    rollback: Truth = UNKNOWN  # an earlier model can be put back within a day
    update_days: int | None = None  # days until a new model is everywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    eps: float | None = None  # epsilon of differential privacy, above 0; smaller protects more
    delta: float | None = None  # its delta, 0 to 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    sources: tuple[str, ...] = _refs("components", "principals", "assets", many=True)  # where its records come from
    review: Review | None = None
    sanitisation: str | None = None  # how records are filtered, in words
    dp: Privacy | Literal["none"] | None = None  # its differential privacy; "none": trained without
    schedule: str | None = None  # how often it is trained: daily, once, ...
    canary_set: Truth = UNKNOWN  # a fixed clean set is scored after each training
    robust_aggregation: Truth = UNKNOWN  # updates of many clients are combined so that few cannot steer the sum
    documented: Truth = UNKNOWN  # an outsider can read how it is trained


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRule:
    threshold: float | None = field(default=None, metadata={"signed": True})  # it decides yes from this score on
    second_signal: Truth = UNKNOWN  # it also needs a signal that is not the model's
    on_error: Literal["allow", "deny", "queue"] | None = None
    appeals: Truth = UNKNOWN  # whoever is decided about can object
    blocks_people: Truth = UNKNOWN  # a positive decision locks out, refuses or charges a person


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    id: str = ""  # unique name
    kind: ComponentKind | None = None  # what it does
    zone: str = _refs("zones")  # where it stands
    holds: tuple[str, ...] = _refs("assets", many=True)  # what is at stake there
    owner: str | None = None  # who answers for it
    model: Model | None = None  # the model that runs here
    provenance: Provenance | None = None  # where the model comes from
    artifact: Artifact | None = None  # its file
    endpoint: Endpoint | None = None  # how it is called
    training: Training | None = None  # how it learns
    decision: DecisionRule | None = None  # what follows from its answers
    dataset: Dataset | None = None  # data from elsewhere
    storage: Storage | None = None  # who gets at what it keeps
    dependencies: Dependencies | None = None  # its packages
    workspace: Workspace | None = None  # where people work on it
    operations: Operations | None = None  # how it is run

    @property
    def trains(self) -> bool:
        """Whether records that arrive here become training data."""
        return self.kind == "trainer" or self.training is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    id: str = ""  # left out, it is "from->to"
    from_: str = field(default="", metadata={"key": "from", "refs": ("components", "principals")})  # where it starts
    to: str = _refs("components")  # where it ends
    data: tuple[str, ...] | None = field(default=None, metadata={"refs": ("assets",)})  # what flows here; empty: none
    channel: Literal["https", "grpc", "file", "bus", "physical", "human"] | None = None  # how it travels
    auth: Auth | None = None  # how the sender is known
    integrity: Truth = UNKNOWN  # a change on its way would be noticed
    confidentiality: Truth = UNKNOWN  # nobody can read it on its way
    transforms: tuple[str, ...] | None = None  # resize, tokenize, unpack, normalize, ...; an empty list: none
    crosses: Literal["auto", "yes", "no"] = "auto"  # a boundary of trust; auto: if its ends' zones differ


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessBudget:
    """What the principal itself would spend. The limit of the endpoint is not here: it is part of the target."""

    queries_per_day: int | None = None  # calls a day
    samples: int | None = None  # records it can contribute or collect
    accounts: int | None = None  # how many it would use
    hours: float | None = None  # hours that it would go on
    days: float | None = None  # days that it would go on


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a principal can do. What neither list names, it cannot; `unsure` names what nobody has checked."""

    principal: str = _refs("principals")  # who
    on: str = _refs("components", "flows")  # where
    can: tuple[Can, ...] = ()  # what is known to be possible
    unsure: tuple[Can, ...] = ()  # what nobody has checked
    budget: AccessBudget | None = None  # what it would spend
    detect_prob: float | None = None  # chance that one attempt is noticed, 0 to 1

    @property
    def id(self) -> str:
        return f"access({self.principal}, {self.on})"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredControl:
    id: str = ""  # unique name; may be left out
    type: str = ""  # which control it is, as service.query_budget
    on: str = _refs("components", "flows")  # what it protects
    params: Mapping[str, Any] = field(default_factory=dict)  # its settings, as the control names them
    state: Literal["planned", "active", "retired"] = "planned"  # only an active one counts
    learned: Truth = UNKNOWN  # it is itself a trained model (a detector, a filter)
    masks_gradients: Truth = UNKNOWN  # it works by hiding which way to change an input
    claim: str | None = None  # what it is said to achieve
    evidence: tuple[str, ...] = ()  # files or links that show it


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    text: str = ""  # what is taken to be so
    validity: Literal["confirmed", "unconfirmed", "rejected"] = "unconfirmed"  # whether anybody checked
    owner: str | None = None  # who answers for it
    review_by: str | None = None  # the day to look at it again, YYYY-MM-DD


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What makes a component executable. Functions are `module:name`, found beside the description."""

    component: str = _refs("components")  # what is bound
    factory: str | None = None  # module:function that gives the model
    data: str | None = None  # module:function that gives (x, y) not trained on
    recipe: str | None = None  # module:function that gives how it is trained
    parent: str | None = None  # module:function that gives the model it was fine-tuned from
    artifact: str | None = None  # the model file, beside the description
    url: str | None = None  # of a remote model, http or https
    protocol: Literal["v2", "json"] | None = None  # what a remote model speaks
    query_cap: int | None = None  # rows that may be sent in all
    pace_per_s: float | None = None  # rows that may be sent in a second
    timeout_s: float | None = None  # seconds to wait for one answer
    token_env: str | None = None  # the name of an environment variable; a secret is never written down
    shape: Mapping[str, Any] = field(default_factory=dict)  # what requests and answers look like
    goal: Mapping[str, Any] = field(default_factory=dict)  # what counts as success
    within: Mapping[str, Any] = field(default_factory=dict)  # how far an input may be changed
    also: Mapping[str, Any] = field(default_factory=dict)  # other ways it may be changed, by a name for each
    attacks: Mapping[str, Any] = field(default_factory=dict)  # options by name of the attack
    sensitive: tuple[str, ...] = ()  # columns of the data that somebody would like to know of a person
    group: str | None = None  # a column by whose values every success is reported too
    property: Mapping[str, Any] = field(default_factory=dict)  # a share that must stay secret: column, equals, shares
    canaries: int = 0  # records put into a training of its own, to audit what it claims of privacy
    finetune: str | None = None  # module:function (parent, x, y, seed) that makes the model of a parent
    federated: str | None = None  # module:function that gives the rounds of a federated training
    loader: str | None = None  # module:function (manifest path) that fetches the training data as deployed
    manifest: str | None = None  # the list of what the loader fetches, beside the description
    work: str | None = None  # module:function (inputs) that counts the work each input causes
    fallback: str | None = None  # module:function (model) that decides as the system does around a model that may fail


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    currency: str | None = None  # of all amounts of money, as EUR
    per_1000_queries: float | None = None  # cost of 1,000 calls
    per_account: float | None = None  # cost of one more account
    per_record: float | None = None  # cost of getting one record in
    per_cpu_hour: float | None = None  # cost of one hour
    per_gpu_hour: float | None = None  # cost of one hour
    per_human_hour: float | None = None  # cost of one hour


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    automated: Truth = UNKNOWN
    reversible: Truth = UNKNOWN  # a wrong one can be undone
    human_review: Review | None = None
