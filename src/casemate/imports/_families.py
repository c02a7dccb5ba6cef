"""What the classes named by a file of Python objects say about the model: its family, and what it keeps of the data."""

from __future__ import annotations

from collections.abc import Iterable

from casemate.attacks.supply._values import Kind, Name, Sym
from casemate.imports._reading import Reading, listed

_FAMILY = {
    "linear": (
        "LogisticRegression LogisticRegressionCV LinearRegression Ridge RidgeCV RidgeClassifier RidgeClassifierCV Lasso LassoCV"
        " ElasticNet ElasticNetCV Lars LassoLars SGDClassifier SGDRegressor SGDOneClassSVM Perceptron PassiveAggressiveClassifier"
        " PassiveAggressiveRegressor LinearSVC LinearSVR LinearDiscriminantAnalysis BayesianRidge ARDRegression HuberRegressor"
        " PoissonRegressor GammaRegressor TweedieRegressor QuantileRegressor"
    ),
    "tree": "DecisionTreeClassifier DecisionTreeRegressor ExtraTreeClassifier ExtraTreeRegressor",
    "tree_ensemble": (
        "RandomForestClassifier RandomForestRegressor ExtraTreesClassifier ExtraTreesRegressor GradientBoostingClassifier"
        " GradientBoostingRegressor HistGradientBoostingClassifier HistGradientBoostingRegressor IsolationForest"
    ),
    "svm": "SVC SVR NuSVC NuSVR OneClassSVM",
    "knn": (
        "KNeighborsClassifier KNeighborsRegressor RadiusNeighborsClassifier RadiusNeighborsRegressor NearestNeighbors"
        " LocalOutlierFactor"
    ),
    "gp": "GaussianProcessClassifier GaussianProcessRegressor",
    "nn": "MLPClassifier MLPRegressor",
    "naive_bayes": "GaussianNB MultinomialNB BernoulliNB ComplementNB CategoricalNB",
}
_SKLEARN = {name: family for family, names in _FAMILY.items() for name in names.split()}
_BOOSTERS = {"LGBMClassifier", "LGBMRegressor", "LGBMRanker", "CatBoostClassifier", "CatBoostRegressor", "CatBoostRanker"}
_OF_TREES = {"AdaBoostClassifier", "AdaBoostRegressor", "BaggingClassifier", "BaggingRegressor"}
_ANOMALY = {"IsolationForest", "OneClassSVM", "LocalOutlierFactor", "EllipticEnvelope", "SGDOneClassSVM"}
_ALSO_STORE = {
    "KNNImputer", "KernelRidge", "LabelPropagation", "LabelSpreading", "KernelPCA", "DBSCAN", "KernelDensity", "Nystroem",
    "AffinityPropagation", "Isomap", "LocallyLinearEmbedding", "NeighborhoodComponentsAnalysis",
}  # fmt: skip
_STORE = {"svm", "knn", "gp"}
_KEEP_PARAMETERS_ONLY = {"linear", "tree", "tree_ensemble", "nn", "naive_bayes"}
_PARTS = (
    "sklearn.linear_model.", "sklearn.tree.", "sklearn.ensemble.", "sklearn.neural_network.", "sklearn.naive_bayes",
    "sklearn.svm._classes", "sklearn.preprocessing.", "sklearn.pipeline", "sklearn.compose.", "sklearn._loss.", "sklearn.utils",
    "sklearn.impute._base", "sklearn.discriminant_analysis", "sklearn.calibration", "sklearn.dummy", "numpy", "scipy.sparse",
    "joblib.", "builtins", "copyreg", "collections", "_codecs",
)  # fmt: skip
_STEPS = {
    "OneHotEncoder", "OrdinalEncoder", "KBinsDiscretizer", "Binarizer", "CountVectorizer", "TfidfVectorizer",
    "HashingVectorizer", "FeatureHasher", "DictVectorizer", "TargetEncoder",
}  # fmt: skip
_TEXT = {"CountVectorizer", "TfidfVectorizer", "HashingVectorizer"}
_SMOOTH_KERNELS = {"linear", "poly", "rbf", "sigmoid"}


def judge(r: Reading, names: Iterable[Name], root: Name | None, where: str, *, whole: bool) -> None:
    """State what the classes show. `whole`: all of the file was read, so that what is not named is not there."""
    ours = {name for module, name in names if module.split(".")[0] == "sklearn"}
    families = {_SKLEARN[name] for name in ours if name in _SKLEARN}
    if any(name in _BOOSTERS and module.split(".")[0] in ("lightgbm", "catboost") for module, name in names):
        families.add("tree_ensemble")
    if "tree" in families and (ours & _OF_TREES or "tree_ensemble" in families):
        families = families - {"tree"} | {"tree_ensemble"}
    if root is not None and not _known(root):
        if families:
            r.note(f"the object is a {listed(['.'.join(root)])}, which is not known here; inside: {listed(ours & set(_SKLEARN))}")
        return
    if len(families) > 1:
        r.note(f"holds models of several families ({listed(families)}); which of them decides cannot be told")
    named = ", ".join(sorted(n for n in ours if n in _SKLEARN)) or "boosted trees"
    for family in families if len(families) == 1 else ():
        r.model("model.family", family, f"{where}: {named}")
        _differentiable(r, family, ours, f"{where}: {named}")
    _storage(r, names, ours, families, where, whole)
    if ours & _TEXT:
        r.system("modality", "text", f"{where}: {listed(ours & _TEXT)} reads text")


def _known(root: Name) -> bool:
    return root[0].split(".")[0] in ("sklearn", "numpy", "builtins", "collections", "lightgbm", "catboost", "xgboost")


def _differentiable(r: Reading, family: str, ours: set[str], because: str) -> None:
    if family in ("tree", "tree_ensemble", "knn"):
        r.model("model.differentiable", "no", because)
    elif family in ("linear", "nn"):
        if ours & _STEPS:
            r.note(f"{listed(ours & _STEPS)} before the model has no gradient; whether the input has one is left open")
        else:
            r.model("model.differentiable", "yes", because)


def _storage(r: Reading, names: Iterable[Name], ours: set[str], families: set[str], where: str, whole: bool) -> None:
    keeps = {name for name in ours if _SKLEARN.get(name) in _STORE or name in _ALSO_STORE}
    if keeps:
        r.model("model.stores_training_examples", "yes", f"{where}: {listed(keeps)} keeps records it was fitted on")
    elif whole and families and families <= _KEEP_PARAMETERS_ONLY and all(m.startswith(_PARTS) for m, _ in names):
        r.model("model.stores_training_examples", "no", f"{where}: every class named keeps parameters only")


def judge_root(r: Reading, root: Sym, where: str) -> None:
    """What the outermost object shows by itself: the task, and the kernel of a support vector machine."""
    name = class_of(root)
    if name is None or name[0].split(".")[0] != "sklearn":
        return
    fields = root.states[0].fields or {} if root.states and root.states[0].kind is Kind.DICT else {}
    because = f"{where}: the object is a {'.'.join(name)}"
    kernel = fields["kernel"].text() if "kernel" in fields else None
    if _SKLEARN.get(name[1]) == "svm" and kernel in _SMOOTH_KERNELS:
        r.model("model.differentiable", "yes", f"{because} with kernel {kernel}")
    if name[1] in _ANOMALY:
        r.system("task", "anomaly", because)
    elif name[1] in _SKLEARN and name[1].endswith(("Regressor", "SVR", "LinearRegression", "Ridge", "Lasso", "ElasticNet")):
        r.system("task", "regression", because)
    else:
        _classes(r, fields, because)


def _classes(r: Reading, fields: dict[str, Sym], because: str) -> None:
    """Two classes or more, where the number stands in the object as a plain one."""
    count = fields["n_classes_"].whole() if "n_classes_" in fields else None
    array = fields.get("classes_")
    if count is None and array is not None and class_of(array) and array.states:
        state = array.states[0].items  # of a numpy array: version, shape, dtype, order, bytes
        shape = state[1].items if len(state) > 1 and state[1].kind is Kind.TUPLE else ()
        count = shape[0].whole() if len(shape) == 1 else None
    if count is not None and count >= 2:
        r.system("task", "binary" if count == 2 else "multiclass", f"{because} fitted on {count} classes")


def class_of(sym: Sym | None) -> Name | None:
    """(module, name) of what made an object, if it is one."""
    return sym.value if sym is not None and sym.kind is Kind.MADE and isinstance(sym.value, tuple) else None
