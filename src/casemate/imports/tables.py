"""What public formats call things, and what a description calls them."""

from __future__ import annotations

import re

# Extensions that settle the format of a model file. Left out on purpose: .bin, .pt and .pth (a pickle, TorchScript or
# weights alone), .pb (no word for it).
EXTENSIONS = {
    "onnx": "onnx", "safetensors": "safetensors", "tflite": "tflite", "skops": "skops", "joblib": "joblib",
    "pkl": "pickle", "pickle": "pickle", "h5": "keras_h5", "hdf5": "keras_h5", "keras": "keras_v3",
    "ubj": "native", "xgb": "native", "lgb": "native", "cbm": "native", "pmml": "native",
}  # fmt: skip

# Task names of the Hugging Face Hub, which bills of materials use too: (modality, task). "" is what the name leaves open:
# a classification may have two classes or many.
TASKS = {
    "image-classification": ("image", ""),
    "zero-shot-image-classification": ("image", "multiclass"),
    "image-feature-extraction": ("image", ""),
    "object-detection": ("image", "detection"),
    "image-segmentation": ("image", ""),
    "depth-estimation": ("image", "regression"),
    "text-classification": ("text", ""),
    "sentiment-analysis": ("text", ""),
    "zero-shot-classification": ("text", "multiclass"),
    "token-classification": ("text", "seq"),
    "text-ranking": ("text", "ranking"),
    "text-generation": ("text", "seq"),
    "translation": ("text", "seq"),
    "summarization": ("text", "seq"),
    "fill-mask": ("text", ""),
    "question-answering": ("text", ""),
    "sentence-similarity": ("text", ""),
    "audio-classification": ("audio", ""),
    "voice-activity-detection": ("audio", "detection"),
    "automatic-speech-recognition": ("audio", "seq"),
    "tabular-classification": ("tabular", ""),
    "tabular-regression": ("tabular", "regression"),
    "time-series-forecasting": ("timeseries", "regression"),
    "graph-ml": ("graph", ""),
    "regression": ("", "regression"),
    "ranking": ("", "ranking"),
    "anomaly-detection": ("", "anomaly"),
    "binary-classification": ("", "binary"),
    "multiclass-classification": ("", "multiclass"),
}

# Libraries whose models are all of one family: (family, differentiable).
LIBRARIES = {
    **dict.fromkeys(
        ("transformers", "timm", "diffusers", "sentence-transformers", "ultralytics", "speechbrain", "pyannote-audio"),
        ("nn", "yes"),
    ),
    "setfit": ("nn", "yes"),
    "lightgbm": ("trees", "no"),
    "xgboost": ("", ""),  # trees, or its linear booster
    "catboost": ("trees", "no"),
}

# Architectures as bills of materials name them in free text.
_NETWORK = re.compile(
    r"neural|transformer|convolution|perceptron|resnet|mobilenet|efficientnet|\b(cnn|rnn|lstm|mlp|bert|vit)\b", re.I
)
_TREES = re.compile(r"forest|\btrees?\b|gradient.?boost|\bgbm\b|gbdt|lightgbm|catboost", re.I)


def family(architecture: str) -> tuple[str, str]:
    """Family and whether it can be differentiated, from a free text; ("", "") where the text settles nothing."""
    if _NETWORK.search(architecture):
        return "nn", "yes"
    return ("trees", "no") if _TREES.search(architecture) else ("", "")


def format_of(name: str) -> str:
    """The format of a model file by its extension, or ""; the query and fragment of an address do not count."""
    last = re.split(r"[?#]", name)[0].rsplit("/", 1)[-1]
    return EXTENSIONS.get(last.rsplit(".", 1)[-1].lower(), "") if "." in last else ""


# What a field of an answer gives away, from its name alone, the most last.
OUTPUTS = ("label", "topk", "score", "logits", "embedding", "explanation")
_GIVES = {
    "label": {"label", "labels", "class", "classes", "category", "verdict", "decision"},
    "topk": {"topk", "top"},
    "score": {"score", "scores", "probability", "probabilities", "proba", "probas", "prob", "probs", "confidence",
              "confidences", "likelihood"},
    "logits": {"logit", "logits"},
    "embedding": {"embedding", "embeddings"},
    "explanation": {"explanation", "explanations", "shap", "saliency", "attribution", "attributions", "gradcam"},
}  # fmt: skip
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def output_of(field: str) -> str:
    """What a field with this name gives away (`fraudProbability`: score), or ""."""
    parts = {part.lower() for part in _PARTS.findall(field)}
    return next((level for level in reversed(OUTPUTS) if parts & _GIVES[level]), "")


# Images that say what runs in them: (a part of the image's name, kind of component). Stores say only that something is
# kept, not what, so they have no kind.
IMAGES = (
    ("tritonserver", "server"), ("tensorflow/serving", "server"), ("tensorflow-serving", "server"),
    ("torchserve", "server"), ("sklearnserver", "server"), ("xgbserver", "server"), ("lgbserver", "server"),
    ("pmmlserver", "server"), ("mlserver", "server"), ("huggingfaceserver", "server"), ("model_server", "server"),
    ("openvino_model_server", "server"), ("onnxruntime/server", "server"), ("bentoml", "server"), ("vllm", "server"),
    ("seldon", "server"), ("mlflow", "registry"), ("feast", "feature_store"), ("prometheus", "log_store"),
    ("loki", "log_store"), ("fluentd", "log_store"), ("elasticsearch", "log_store"), ("opensearch", "log_store"),
    ("jupyter", "notebook"), ("jenkins", "ci"), ("gitlab-runner", "ci"), ("label-studio", "label_source"),
    ("cvat", "label_source"),
)  # fmt: skip
STORES = ("redis", "valkey", "memcached", "postgres", "mysql", "mariadb", "mongo", "minio", "cassandra", "clickhouse")


def kind_of(image: str) -> str:
    """The kind of component that an image runs, or "" where its name does not show it."""
    name = image.split("@")[0].lower()
    return next((kind for part, kind in IMAGES if part in name), "")


def is_store(image: str) -> bool:
    last = image.split("@")[0].rsplit("/", 1)[-1].lower()
    return any(store in last for store in STORES)


_SECRET = re.compile(r"passw(or)?d|secret|token|api_?key|access_?key|private_?key|credential|(^|_)pwd($|_)", re.I)
_NOT_ITSELF = re.compile(r"(_file|_path|_name|_ttl|_expiry|_header|_url_template)$", re.I)
_PASSWORD_IN_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]+:(?!\$\{?)[^/\s:@]+@", re.I)


def holds_secret(name: str, value: str) -> bool:
    """Whether a setting stands as a secret in the clear: by its name with a literal value, or as a password in a URL.

    References such as ${TOKEN} and paths of mounted files are no secrets.
    """
    if _PASSWORD_IN_URL.search(value):
        return True
    literal = bool(value) and "${" not in value and not re.match(r"\$[A-Za-z_]|/", value)
    return literal and bool(_SECRET.search(name)) and not _NOT_ITSELF.search(name)
