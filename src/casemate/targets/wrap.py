"""`wrap`: a target out of whatever the user has."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any

from ..core.errors import BadInput, UnknownName, need
from ..core.target import Target, adapters


def wrap(model: Any, /, **options: Any) -> Target:
    """Make a `Target` of a torch module, a scikit-learn estimator, an ONNX path, a URL, a callable, an `Ensemble`, a
    `Cascade`, a `Screened` model, or a Target.

    Args:
        model: What decides. Its kind is told by type; nothing is loaded but an ONNX file.
        **options: Passed to `Pipeline` (``stages``, ``decision``) and to the adapter (``name``, ``classes``,
            ``version``, ``output``, ``device``, ``query_cap``, ...).

    Raises:
        BadInput: Nothing here can wrap it.
        UnknownName: The adapter has no such option.
        MissingExtra: The adapter's library is not installed.
    """
    from .pipeline import Pipeline

    outer = {key: options.pop(key) for key in ("stages", "decision") if key in options}
    if "stages" in outer:
        outer["stages"] = tuple(outer["stages"])
    if isinstance(model, Target):
        if options or (outer and not isinstance(model, Pipeline)):
            what = ", ".join([*options, *outer])
            raise BadInput(f"{model.name} is a target already: {what} cannot be set on it; wrap the model itself")
        return model.replace(**outer) if isinstance(model, Pipeline) and outer else model
    return Pipeline(model=_adapt(model, options), **outer)


def _adapt(model: Any, options: dict[str, Any]) -> Any:
    if isinstance(model, type):
        raise BadInput(f"cannot wrap the class {model.__name__}; make an instance of it first")
    for id in adapters:
        if (found := adapters.get(id)).matches(model):
            return found.adapt(model, **options)
    if all(hasattr(model, part) for part in ("forward", "fingerprint", "state", "offers")):  # a model for `Pipeline` already
        if options:
            raise BadInput(f"{model.name} is made already: {', '.join(options)} cannot be set on it")
        return model
    kinds = {base.__module__.split(".")[0] + "." + base.__name__ for base in type(model).__mro__}
    if "torch.Module" in kinds:
        need("torch", "torch", "a torch target")
        from .torch_module import TorchModule

        return _made(TorchModule, {"module": model, "name": type(model).__name__, **options})
    if isinstance(model, str | os.PathLike):
        return _opened(os.fspath(model), options)
    if hasattr(model, "predict"):
        need("sklearn", "sklearn", "a scikit-learn target")
        from .estimator import Estimator

        return _made(Estimator, {"estimator": model, "name": type(model).__name__, **options})
    if callable(model):
        from .function import Function

        return _made(Function, {"function": model, **options})
    raise BadInput(
        f"cannot wrap a {type(model).__name__}; give an nn.Module, an estimator, an .onnx path, a URL or a callable"
    )


def _opened(place: str, options: dict[str, Any]) -> Any:
    if place.startswith(("http://", "https://")):
        from .http import HttpTarget

        if not {"query_cap", "pace_per_s"} <= set(options):
            raise BadInput("a URL is asked only under a cap and at a pace; give query_cap= (rows) and pace_per_s=")
        return _made(HttpTarget, {"url": place, **options})
    if not place.endswith(".onnx"):
        raise BadInput(f"cannot wrap the path {place!r}: only an .onnx file is opened here; load others yourself")
    from .onnx_model import OnnxModel

    return _made(OnnxModel.open, {"path": place, **options})


def _made(adapter: Callable[..., Any], options: dict[str, Any]) -> Any:
    """The adapter, or which of its options there are."""
    known = inspect.signature(adapter).parameters
    for option in options:
        if option not in known:
            raise UnknownName(f"option of {adapter.__qualname__.split('.')[0]}", option, known)
    return adapter(**options)
