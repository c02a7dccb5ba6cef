"""`wrap`: a target out of whatever the user has."""

from __future__ import annotations

import os
from typing import Any

from ..core.errors import BadInput, need
from ..core.target import Target


def wrap(model: Any, **options: Any) -> Target:
    """Make a `Target` of a torch module, a scikit-learn estimator, an ONNX path, a callable, or a Target.

    Args:
        model: What decides. Its kind is told by type; nothing is loaded but an ONNX file.
        **options: Passed to `Pipeline` (``stages``, ``decision``) and to the adapter (``name``, ``classes``, ``version``,
            ``output``, ``device``, ...).

    Raises:
        BadInput: Nothing here can wrap it.
        MissingExtra: The adapter's library is not installed.
    """
    if isinstance(model, Target) and not options:
        return model
    from .pipeline import Pipeline

    outer = {key: options.pop(key) for key in ("stages", "decision") if key in options}
    return Pipeline(model=_adapt(model, options), **outer)


def _adapt(model: Any, options: dict[str, Any]) -> Any:
    kinds = {base.__module__.split(".")[0] + "." + base.__name__ for base in type(model).__mro__}
    if "torch.Module" in kinds:
        need("torch", "torch", "a torch target")
        from .torch_module import TorchModule

        return TorchModule(module=model, **_named(model, options))
    if isinstance(model, str | os.PathLike):
        if not str(model).endswith(".onnx"):
            raise BadInput(f"cannot wrap the path {str(model)!r}; only an .onnx file can be opened here, load others yourself")
        from .onnx_model import OnnxModel

        return OnnxModel.open(model, **options)
    if hasattr(model, "predict"):
        need("sklearn", "sklearn", "a scikit-learn target")
        from .estimator import Estimator

        return Estimator(estimator=model, **_named(model, options))
    if callable(model):
        from .function import Function

        return Function(function=model, **options)
    raise BadInput(f"cannot wrap a {type(model).__name__}; give an nn.Module, an estimator, an .onnx path or a callable")


def _named(model: Any, options: dict[str, Any]) -> dict[str, Any]:
    return {"name": type(model).__name__, **options}
