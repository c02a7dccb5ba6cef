"""Makes the files of this folder with the real libraries. See README.md; the tests only read the files.

`python make.py` makes them all, `python make.py bom openapi` only these. Dates and ids are fixed, so the same libraries
make the same files.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

HERE = Path(__file__).parent
WHEN = datetime(2026, 1, 1, tzinfo=UTC)
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
PARENT = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"


# CycloneDX -----------------------------------------------------------------------------------------------------------


def bom() -> None:
    """A model with its hashes and its ancestor, a data set, a library and a hole in it, as versions 1.5 to 1.7."""
    from cyclonedx.output.json import JsonV1Dot5, JsonV1Dot6, JsonV1Dot7
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    made = _bill()
    for writer, version in ((JsonV1Dot5, "V1_5"), (JsonV1Dot6, "V1_6"), (JsonV1Dot7, "V1_7")):
        text = writer(made).output_as_string(indent=2)
        wrong = JsonStrictValidator(SchemaVersion[version]).validate_str(text)
        if wrong:
            raise SystemExit(f"not a valid bill: {wrong}")
        _write(f"bom-{version[1:].replace('_', '.')}.json", text)


def _bill() -> object:
    from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType, Pedigree
    from cyclonedx.model.impact_analysis import ImpactAnalysisState
    from cyclonedx.model.vulnerability import BomTarget, Vulnerability, VulnerabilityAnalysis
    from packageurl import PackageURL

    parent = Component(
        name="resnet-50", group="microsoft", version="v1", type=ComponentType.MACHINE_LEARNING_MODEL, bom_ref="parent",
        purl=PackageURL("huggingface", "microsoft", "resnet-50", "v1"),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=PARENT)],
    )  # fmt: skip
    file = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri("https://models.acme.example/leaf/2.1/leaf.onnx"),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=DIGEST)],
    )
    model = Component(
        name="leaf", group="acme", version="2.1", type=ComponentType.MACHINE_LEARNING_MODEL, bom_ref="leaf",
        hashes=[HashType(alg=HashAlgorithm.SHA_1, content="0" * 40), HashType(alg=HashAlgorithm.SHA_256, content=DIGEST)],
        external_references=[file], pedigree=Pedigree(ancestors=[parent]),
    )  # fmt: skip
    scans = Component(name="leaf-scans", version="3", type=ComponentType.DATA, bom_ref="scans")
    library = Component(name="onnxruntime", version="1.20.0", type=ComponentType.LIBRARY, bom_ref="onnxruntime")
    product = Component(name="leaf-service", version="2.1", type=ComponentType.APPLICATION, bom_ref="service")
    hole = Vulnerability(
        id="CVE-0000-0001", bom_ref="hole", affects=[BomTarget(ref="onnxruntime")],
        analysis=VulnerabilityAnalysis(state=ImpactAnalysisState.EXPLOITABLE),
    )  # fmt: skip
    made = Bom(
        serial_number=UUID(int=1), metadata=BomMetaData(component=product, timestamp=WHEN),
        components=[model, scans, library], vulnerabilities=[hole],
    )  # fmt: skip
    made.register_dependency(product, [model, library])
    made.register_dependency(model, [scans])
    return made


# OpenAPI -------------------------------------------------------------------------------------------------------------


def openapi() -> None:
    """An API whose predictions ask for a key and answer a label with its score, and that takes corrections."""
    from fastapi import FastAPI, Security
    from fastapi.security import APIKeyHeader
    from pydantic import BaseModel, Field

    class Claim(BaseModel):
        amount: float
        country: str

    class Reason(BaseModel):
        column: str
        weight: float

    class Answer(BaseModel):
        label: str
        score: float = Field(ge=0, le=1, multiple_of=0.01)
        next_best: str | None = None
        reasons: list[Reason] = []

    class Truth(BaseModel):
        claim_id: str
        true_label: str

    app = FastAPI(title="Claims", version="2.1", servers=[{"url": "http://claims.acme.example"}])
    key = APIKeyHeader(name="X-API-Key")

    @app.post("/predict", responses={429: {"description": "Too many calls"}})
    def predict(claim: Claim, _: str = Security(key)) -> Answer: ...

    @app.post("/feedback", status_code=202)
    def feedback(truth: Truth, _: str = Security(key)) -> None: ...

    @app.get("/metadata")
    def metadata() -> dict[str, str]: ...

    @app.get("/health")
    def health() -> dict[str, str]: ...

    _write("openapi.json", json.dumps(app.openapi(), indent=2))


def openapi_image() -> None:
    """An API without any security that takes a file and answers a list of classes, each with its probability."""
    from fastapi import FastAPI, Form, UploadFile
    from pydantic import BaseModel

    class Guess(BaseModel):
        name: str
        probability: float

    app = FastAPI(title="Leaves", version="1")

    @app.post("/v1/classify")
    def classify(image: UploadFile, crop: Annotated[bool, Form()] = False) -> list[Guess]: ...

    _write("openapi-image.json", json.dumps(app.openapi(), indent=2))


# MLflow --------------------------------------------------------------------------------------------------------------


def mlmodel() -> None:
    """A pipeline as scikit-learn's flavour saves it (once by default, once pickled) and a model that is Python code."""
    import mlflow
    import numpy as np
    import pandas as pd
    from mlflow.models import Model, infer_signature
    from mlflow.pyfunc import PythonModel
    from sklearn.linear_model import LogisticRegression

    class Doubles(PythonModel):
        def predict(self, context, model_input, params=None):
            return model_input * 2

    rows = pd.DataFrame({"amount": [1.0, 9.0, 2.0, 8.0], "age": [20, 70, 30, 60]})
    truth = np.array(["fine", "fraud", "fine", "fraud"])
    trained = LogisticRegression().fit(rows, truth)
    signature = infer_signature(rows, trained.predict(rows))

    def save(name: str, how: Callable[[str, Model], None]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            how(f"{folder}/model", Model(utc_time_created=WHEN.replace(tzinfo=None), model_uuid="0" * 32))
            _write(f"{name}/MLmodel", (Path(folder) / "model/MLmodel").read_text())

    common = {"signature": signature, "pip_requirements": ["scikit-learn"]}
    save("mlflow-default", lambda to, empty: mlflow.sklearn.save_model(trained, to, mlflow_model=empty, **common))
    save(
        "mlflow-cloudpickle",
        lambda to, empty: mlflow.sklearn.save_model(
            trained, to, mlflow_model=empty, serialization_format="cloudpickle", **common
        ),
    )
    image = infer_signature(np.zeros((2, 8, 8, 3), np.float32), np.zeros((2, 10), np.float32))
    save(
        "mlflow-python",
        lambda to, empty: mlflow.pyfunc.save_model(
            to, python_model=Doubles(), mlflow_model=empty, signature=image, pip_requirements=["numpy"]
        ),
    )


# Hugging Face --------------------------------------------------------------------------------------------------------


def card() -> None:
    """A card of a fine-tuned image classifier."""
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    data = ModelCardData(
        base_model="google/vit-base-patch16-224-in21k", datasets=["beans", "acme/leaf-scans"], language="en",
        library_name="transformers", license="apache-2.0", metrics=["accuracy"], model_name="leaf-vit",
        pipeline_tag="image-classification", tags=["vision"],
        eval_results=[
            EvalResult(
                task_type="image-classification", dataset_type="beans", dataset_name="Beans", metric_type="accuracy",
                metric_value=0.97,
            )
        ],
    )  # fmt: skip
    made = ModelCard(f"---\n{data.to_yaml()}\n---\n\n# Leaves\n\nTells sick leaves from sound ones.\n")
    _write("card/README.md", str(made))


def card_merged() -> None:
    """A card of a merge of two models: a list of parents, a tabular library."""
    from huggingface_hub import ModelCard, ModelCardData

    data = ModelCardData(
        base_model=["acme/words-a", "acme/words-b"], library_name="sklearn", pipeline_tag="tabular-classification",
        license="other", license_name="acme-1", base_model_relation="merge",
    )  # fmt: skip
    _write("card-merged/README.md", str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n# Words\n")))


# Kubernetes ----------------------------------------------------------------------------------------------------------


def kubernetes() -> None:
    """A model server, its Service and its Ingress, as the Python client sends them to a cluster: one List, JSON."""
    from kubernetes import client as k

    labels = {"app": "scores"}
    container = k.V1Container(
        name="serve", image="tensorflow/serving:2.18.0", ports=[k.V1ContainerPort(container_port=8501)],
        env=[k.V1EnvVar(name="API_TOKEN", value="s3cr3t-in-the-manifest"), k.V1EnvVar(name="MODEL_NAME", value="scores")],
    )  # fmt: skip
    pod = k.V1PodTemplateSpec(metadata=k.V1ObjectMeta(labels=labels), spec=k.V1PodSpec(containers=[container]))
    deployment = k.V1Deployment(
        api_version="apps/v1", kind="Deployment", metadata=k.V1ObjectMeta(name="scores"),
        spec=k.V1DeploymentSpec(replicas=2, selector=k.V1LabelSelector(match_labels=labels), template=pod),
    )  # fmt: skip
    service = k.V1Service(
        api_version="v1", kind="Service", metadata=k.V1ObjectMeta(name="scores"),
        spec=k.V1ServiceSpec(selector=labels, ports=[k.V1ServicePort(port=80, target_port=8501)]),
    )  # fmt: skip
    backend = k.V1IngressBackend(
        service=k.V1IngressServiceBackend(name="scores", port=k.V1ServiceBackendPort(number=80))
    )
    path = k.V1HTTPIngressPath(path="/", path_type="Prefix", backend=backend)
    rule = k.V1IngressRule(host="scores.acme.example", http=k.V1HTTPIngressRuleValue(paths=[path]))
    ingress = k.V1Ingress(
        api_version="networking.k8s.io/v1", kind="Ingress", metadata=k.V1ObjectMeta(name="front"),
        spec=k.V1IngressSpec(rules=[rule], tls=[k.V1IngressTLS(hosts=["scores.acme.example"], secret_name="cert")]),
    )  # fmt: skip
    listed = {"apiVersion": "v1", "kind": "List", "items": [deployment, service, ingress]}
    _write("kubernetes.json", json.dumps(k.ApiClient().sanitize_for_serialization(listed), indent=2))


def kserve() -> None:
    """Three model servers: a named runtime, the older form with the format as a key, and a model of the Hub."""
    import kserve as k
    import yaml
    from kubernetes.client import ApiClient, V1Container, V1EnvVar, V1ObjectMeta

    def service(name: str, predictor: object, labels: dict[str, str] | None = None, **more: object) -> object:
        return k.V1beta1InferenceService(
            api_version="serving.kserve.io/v1beta1", kind="InferenceService",
            metadata=V1ObjectMeta(name=name, namespace="models", labels=labels),
            spec=k.V1beta1InferenceServiceSpec(predictor=predictor, **more),
        )  # fmt: skip

    leaf = k.V1beta1ModelSpec(
        model_format=k.V1beta1ModelFormat(name="onnx"), runtime="kserve-tritonserver", protocol_version="v2",
        storage_uri="s3://models/leaf/2.1", env=[V1EnvVar(name="AWS_SECRET_ACCESS_KEY", value="s3cr3t-in-the-manifest")],
    )  # fmt: skip
    resize = V1Container(name="resize", image="acme/resize:1", env=[V1EnvVar(name="DB_PASSWORD", value="hunter2")])
    claims = k.V1beta1SKLearnSpec(storage_uri="gs://acme-models/claims/model.joblib")
    words = k.V1beta1ModelSpec(model_format=k.V1beta1ModelFormat(name="huggingface"), storage_uri="hf://acme/words:4f2c")
    inside = {"networking.kserve.io/visibility": "cluster-local"}
    made = [
        service("leaf", k.V1beta1PredictorSpec(min_replicas=2, model=leaf),
                transformer=k.V1beta1TransformerSpec(containers=[resize])),
        service("claims", k.V1beta1PredictorSpec(sklearn=claims), inside),
        service("words", k.V1beta1PredictorSpec(model=words), inside),
    ]  # fmt: skip
    _write("kserve.yaml", yaml.safe_dump_all(ApiClient().sanitize_for_serialization(made)))


def _write(name: str, text: str) -> None:
    to = HERE / name
    to.parent.mkdir(exist_ok=True)
    to.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


MAKES = {make.__name__: make for make in (bom, openapi, openapi_image, mlmodel, card, card_merged, kubernetes, kserve)}

if __name__ == "__main__":
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["HF_HUB_OFFLINE"] = "1"
    for name in sys.argv[1:] or MAKES:
        MAKES[name]()
