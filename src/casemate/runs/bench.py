"""The executable side of a description: the user's own functions, loaded and checked.

This runs the user's code, as a test runner would: assess only descriptions you trust. Deriving threats does not.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.adversary import Adversary, Need
from ..core.case import Evade, Holdout
from ..core.constraint import Constraint
from ..core.control import Service, controls
from ..core.entities import Binding, RateLimit
from ..core.errors import BadInput, CasemateError, RunError, UsageError
from ..core.goal import Goal, Wrong
from ..core.identity import files_below, hash_artifact, hash_code, hash_data, hash_of
from ..core.oracle import Known
from ..core.system import System
from ..core.target import Recipe, Target, count, to_numpy
from .goals import goal_of
from .named import indexed, recipe_of, told_names

# What a description may say of a URL in `shape`. The count of what was sent, the clock and the pace are not its to choose.
_SHAPE = (
    "model", "model_version", "input_key", "label_path", "scores_path", "output", "datatype", "batched", "body", "classes",
    "max_batch", "retries", "max_wait_s", "headers_from_env", "verify", "version", "random",
)  # fmt: skip


# What a binding states of cases that are about a whole set: another column asked about is another question.
ASKED_OF = ("sensitive", "group", "property", "canaries", "finetune", "federated", "loader", "manifest", "work", "fallback")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One component, ready to be attacked.

    Args:
        data: Evaluation inputs and truths; the attacker's own inputs, and the judge's.
        services: The service controls the description says are deployed.
        code: Hash of the user's Python files: what is hashed instead of their callables.
        applied: Controls applied on top (by `harden`), as ids with parameters.
        pins: Those of them that pin the artifact.
    """

    system: System
    component: str
    target: Target | None
    data: Holdout | None
    recipe: Recipe | None
    parent: Target | None
    artifact: Path | None
    pinned: str | None
    within: Constraint | None
    goal: Goal
    services: tuple[Service, ...]
    options: dict[str, Any]
    code: str
    applied: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    rounds: Any = None  # the control that sums up the updates of a federated training, where one is applied
    also: tuple[Constraint, ...] = ()  # further constraints, for attacks that know other ways to change an input

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """All that an input may be changed within, the main one first."""
        return (() if self.within is None else (self.within,)) + self.also

    @property
    def modality(self) -> str:
        """What the inputs are: ``array``, ``table``, ``bytes`` or ``text``."""
        x = None if self.data is None else self.data.x
        if hasattr(x, "iloc"):
            return "table"
        if isinstance(x, list | tuple) and x:
            return "bytes" if isinstance(x[0], bytes) else "text"
        return "array"

    @property
    def known(self) -> Known:
        """What an adversary may hold, if its grants say so."""
        data = None if self.recipe is None else (self.recipe.x, self.recipe.y)
        return Known(data=data, parent=self.parent, recipe=self.recipe, artifact=self.artifact)

    def identity(self, *, pin: bool = True, around: bool = True) -> str | None:
        """What a cell of this bench depends on; None where the target cannot be verified.

        Args:
            pin: Whether the pin of the artifact matters to it.
            around: Whether the service controls around the endpoint do.
        """
        marks = [None if target is None else target.fingerprint() for target in (self.target, self.parent)]
        if any(t is not None and m is None for t, m in zip((self.target, self.parent), marks, strict=True)):
            return None
        data = None if self.data is None else [hash_data(self.data.x), hash_data(self.data.y)]
        train = None if self.recipe is None else [hash_data(self.recipe.x), hash_data(self.recipe.y), self.recipe.version]
        artifact = None if self.artifact is None else hash_artifact(self.artifact)
        services = [repr(s) for s in self.services]
        aside = {*(() if pin else self.pins), *(() if around else services)}
        applied = tuple(each for each in self.applied if each not in aside)
        beside = self.pinned if pin else None, services if around else []
        binding = self.system.binding(self.component)
        stated = None if binding is None else [repr(getattr(binding, name)) for name in ASKED_OF]
        return hash_of(marks, data, train, artifact, *beside, repr(self.goal), self.code, applied, stated)


def open_bench(system: System, component: str) -> Bench:
    """Load what the description binds to a component. Every failure names the key that led to it."""
    binding = system.binding(component)
    folder = Path(system.folder or ".")
    services = deployed_services(system, component)
    if binding is None:
        return Bench(
            system=system, component=component, target=None, data=None, recipe=None, parent=None, artifact=None,
            pinned=None, within=None, goal=Wrong(), services=services, options={}, code=hash_code(folder),
        )  # fmt: skip
    load = _Loader(folder, component)
    target = _target(binding, load)
    data, recipe = _alike(target, binding, load, component)
    within = _within(dict(binding.within), load)
    also = tuple(_within(dict(spec), load, f"also.{name}") for name, spec in binding.also.items())
    _usable(data, within, component)
    parent = load("parent", binding.parent)
    artifact = component_artifact(system, component, binding, load)
    described = system.component(component).artifact
    from ..targets.wrap import wrap

    return Bench(
        system=system, component=component, target=target, data=data, recipe=recipe,
        parent=None if parent is None else wrap(parent), artifact=artifact,
        pinned=_pinned(system, component, described),
        within=within, goal=goal_of(dict(binding.goal), target), services=services,
        options=dict(binding.attacks), code=hash_code(folder), also=tuple(one for one in also if one is not None),
    )  # fmt: skip


_CODE: dict[Path, str] = {}  # the code of each folder as it was last imported


class _Loader:
    """``module:function`` beside the description, called with nothing."""

    def __init__(self, folder: Path, component: str) -> None:
        self.folder, self._component = folder.resolve(), component

    def __call__(self, key: str, name: str | None) -> Any:
        if name is None:
            return None
        function = self.find(key, name)
        try:
            return function()
        except CasemateError:
            raise
        except (KeyboardInterrupt, MemoryError):
            raise
        except BaseException as error:  # a user's sys.exit() must not end the assessment either
            raise RunError(f"target.{key}: {name}() of {self._component!r} failed: {type(error).__name__}: {error}") from error

    def find(self, key: str, name: str) -> Callable[..., Any]:
        module, _, attribute = name.partition(":")
        where = f"target.{key}={name!r} of {self._component!r}"
        if not attribute:
            raise UsageError(f"{where}: write it as module:function, looked up in {self.folder}")
        if not (self.folder / f"{module}.py").is_file():
            raise UsageError(f"{where}: there is no {module}.py in {self.folder}")
        try:
            found = getattr(self._module(module), attribute)
        except AttributeError as error:
            raise UsageError(f"{where}: {module}.py has no {attribute!r}") from error
        except ImportError as error:
            raise UsageError(f"{where}: {module}.py cannot be imported: {error}") from error
        return found  # type: ignore[no-any-return]

    def _module(self, name: str) -> Any:
        # Two descriptions may each have a `model.py`: what another folder brought in under these names goes. So does what
        # was edited since: evidence is kept under the hash of the code as it is now.
        code = hash_code(self.folder)
        stale = _CODE.get(self.folder, code) != code
        _CODE[self.folder] = code
        for path in files_below(self.folder, ".py"):
            key = ".".join(path.relative_to(self.folder).with_suffix("").parts).removesuffix(".__init__")
            old = sys.modules.get(key)
            place = getattr(old, "__file__", None)
            if place and (stale or Path(place).resolve() != path):
                del sys.modules[key]
        importlib.invalidate_caches()
        folder = str(self.folder)
        if folder in sys.path:
            sys.path.remove(folder)
        sys.path.insert(0, folder)
        return importlib.import_module(name)


def _target(binding: Binding, load: _Loader) -> Target | None:
    from ..targets.wrap import wrap

    if binding.url:
        return _remote(binding, load.folder)
    made = load("factory", binding.factory)
    return None if made is None else wrap(made)


def _remote(binding: Binding, folder: Path) -> Target:
    """The HTTP target of a binding. Only the URL's own host is asked, within the stated cap and pace.

    The count lies in a file beside the description, so that workers and a resumed run share one cap.
    """
    from ..targets.http import HttpTarget
    from ..targets.pipeline import Pipeline

    if binding.query_cap is None or binding.pace_per_s is None:
        raise UsageError(f"target.url of {binding.component!r} needs query_cap and pace_per_s: how much may be sent, how fast")
    options: dict[str, Any] = dict(binding.shape)
    for key in options.keys() - set(_SHAPE):
        close = difflib.get_close_matches(key, _SHAPE, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(_SHAPE)}"
        raise UsageError(f"target.shape.{key} of {binding.component!r} cannot be set in a description; {hint}")
    counts = folder / ".casemate"
    counts.mkdir(exist_ok=True)
    options["count_file"] = counts / f"{binding.component}.queries"
    if binding.token_env:
        options["headers_from_env"] = {"Authorization": f"Bearer ${binding.token_env}"}
    if binding.timeout_s is not None:
        options["timeout_s"] = binding.timeout_s
    try:
        model = HttpTarget(
            url=str(binding.url), query_cap=binding.query_cap, pace_per_s=binding.pace_per_s,
            protocol=binding.protocol or "json", name=binding.component, **options,
        )  # fmt: skip
    except TypeError as error:
        raise UsageError(f"target.shape of {binding.component!r}: {error}") from error
    return Pipeline(model=model)


def unverified(binding: Binding | None) -> str:
    """What to say of a URL whose certificate is not checked: anybody on the way can answer in its place."""
    if binding is None or not binding.url or dict(binding.shape).get("verify", True):
        return ""
    return f"CONFLICT: shape.verify is false, so nothing shows that it is {binding.url} that answers"


def _holdout(made: Any, component: str) -> Holdout:
    if not isinstance(made, Holdout) and not (isinstance(made, tuple) and len(made) == 2):
        raise BadInput(f"target.data of {component!r} gave a {type(made).__name__}; give casemate.Holdout(x=, y=) or (x, y)")
    data = made if isinstance(made, Holdout) else Holdout(x=made[0], y=made[1])
    if not count(data.x):
        raise BadInput(f"target.data of {component!r} has no rows; give at least one")
    if count(data.x) != len(data.y):
        raise BadInput(f"target.data of {component!r}: {count(data.x)} inputs and {len(data.y)} labels; give one each")
    return data


def _usable(data: Holdout | None, within: Constraint | None, component: str) -> None:
    """Say what is wrong with the bound data before anything is spent on it."""
    if data is None:
        return
    if within is not None:
        from .api import check_case

        try:
            check_case(Evade(data.x, data.y, within=within))
        except BadInput as error:
            raise BadInput(f"target.data of {component!r}: {error}") from error


def one_class(data: Holdout | None) -> str:
    """What to say of data with a single class: worth attacking, but its rates speak of nothing else."""
    y = np.zeros(0) if data is None else np.asarray(to_numpy(data.y))
    if len(y) < 2 or y.dtype.kind not in "iub" or not (y == y[0]).all():
        return ""
    return f"target.data has one class only ({y[0]}): what is measured speaks of that class alone"


def component_artifact(system: System, component: str, binding: Binding, load: _Loader) -> Path | None:
    """The deployed model file: a path beside the description, or a function that gives one."""
    described = system.component(component).artifact
    name = binding.artifact or (described.path if described else None)
    if name is None:
        return None
    found = Path(load("artifact", name)) if ":" in name else Path(system.folder or ".") / name
    if not found.exists():
        raise UsageError(f"the artifact {name!r} of {component!r} does not exist at {found}; correct target.artifact")
    return found


def _pinned(system: System, component: str, described: Any) -> str | None:
    """The digest the loader insists on: only where the description says that it is checked at load."""
    if described is None or not described.digest or not bool(described.digest_verified_at_load.value == "yes"):
        return None
    return str(described.digest).removeprefix("sha256:")


_WITHIN = {
    "ball": ("constraint", "Ball"), "patch": ("patch", "Patch"), "spatial": ("spatial", "Spatial"), "text": ("sequences", "Text"),
}  # fmt: skip


def _within(spec: dict[str, Any], load: _Loader, key: str = "within") -> Constraint | None:
    if not spec:
        return None
    kind = spec.pop("kind", "ball")
    if "factory" in spec:
        made: Constraint = load(f"{key}.factory", spec["factory"])
        return made
    if kind not in _WITHIN:
        raise UsageError(f"target.{key}.kind={kind!r}: give `factory: module:function` for it, or one of {', '.join(_WITHIN)}")
    module, name = _WITHIN[kind]
    known = getattr(importlib.import_module(f"casemate.core.{module}"), name)
    try:
        found: Constraint = known(**{name: _said(key, name, value, load) for name, value in spec.items()})
    except TypeError as error:
        fields = ", ".join(known.__dataclass_fields__)
        raise UsageError(f"target.{key}={spec!r}: a {kind} has {fields} ({error})") from error
    return found


def _said(key: str, name: str, value: Any, load: _Loader) -> Any:
    """A value of a constraint: what a Text asks of the user is a function beside the description."""
    if name in ("words", "valid"):
        return load.find(f"{key}.{name}", str(value))
    return tuple(value) if isinstance(value, list) else value


def _alike(target: Target | None, binding: Binding, load: _Loader, component: str) -> tuple[Holdout | None, Recipe | None]:
    """Data and recipe with labels as the target answers them: words become indices where it tells its classes.

    The user's own function trains on the words, as it was written to.
    """
    data = None if binding.data is None else _holdout(load("data", binding.data), component)
    recipe: Recipe | None = load("recipe", binding.recipe)
    names = told_names(target)
    if names:
        try:
            data = None if data is None else indexed(data, names)
        except BadInput as error:
            raise BadInput(f"target.data of {component!r}: {error}") from error
        try:
            recipe = None if recipe is None else recipe_of(recipe, names)
        except BadInput as error:
            raise BadInput(f"target.recipe of {component!r}: {error}") from error
    return data, recipe


def deployed_services(system: System, component: str) -> tuple[Service, ...]:
    """The service controls that the facts say are in place: limits first, then what is shown."""
    found: list[Any] = []
    part = system.component(component)
    limit = part.endpoint.rate_limit if part.endpoint else None
    if isinstance(limit, RateLimit) and limit.n:
        found.append(controls.get("service.query_budget")(rows=limit.n, per=limit.per or "day"))
    if part.model and part.model.precision_digits is not None and part.model.output not in ("label", "none"):
        found.append(controls.get("service.round_scores")(digits=part.model.precision_digits))
    if part.model and part.model.output == "label":
        found.append(controls.get("service.labels_only")())
    known = {service.info.id for service in found}
    for declared in system.controls:
        applies = declared.on == component and declared.state == "active" and declared.type.startswith("service.")
        if applies and declared.type not in known:
            try:
                found.append(controls.get(declared.type)(**dict(declared.params)))
            except TypeError as error:
                raise UsageError(f"controls: {declared.type} on {component!r}: {error}") from error
    return tuple(found)


def supply_facts(bench: Bench, adversary: Adversary) -> dict[str, str]:
    """The stated facts that supply checks rest on, by path below the component."""
    paths = (
        "endpoint.auth", "endpoint.admin_exposed", "artifact.format", "artifact.signed", "artifact.tag_mutable",
        "artifact.signature_verified_at_load", "artifact.digest_verified_at_load",
    )  # fmt: skip
    found = {}
    for path in paths:
        fact = bench.system.fact(f"{bench.component}.{path}")
        found[path] = str(getattr(fact.value, "value", fact.value))
    found["access.read_binary"] = "yes" if Need.ARTIFACT in adversary.may else "no"
    return found


def white_box_reason(target: Target | None) -> str:
    """Why a white box grants no gradient here, or nothing where it does."""
    if target is not None and Need.GRADIENT not in target.offers:
        return "white box granted, the adapter has no gradient"
    return ""


def rows_of(data: Holdout, size: int, start: int = 0) -> np.ndarray[Any, Any]:
    """The first `size` row numbers of the data from `start` on: the same rows for every attack."""
    return np.arange(start, min(start + size, count(data.x)))
