"""Finding attacks, controls and targets by name.

Registries hold definitions, never runs. The rooms of casemate register from one explicit tuple of modules, and a plugin
package in the same way, through an entry point in the group ``casemate`` whose value is a module to import.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from .errors import MissingExtra, UnknownName, UsageError

# Libraries that only some definitions need, and the extra that brings each.
_OPTIONAL = {"torch": "torch", "sklearn": "sklearn", "pandas": "sklearn"}

T = TypeVar("T")
_plugins_loaded = False


def load_plugins() -> None:
    """Import every plugin once. A plugin that fails to import is an error, never a silent absence."""
    global _plugins_loaded
    if _plugins_loaded:
        return
    _plugins_loaded = True
    for point in entry_points(group="casemate"):
        try:
            importlib.import_module(point.value)
        except Exception as error:
            _plugins_loaded = False  # whoever asks next is told too
            raise UsageError(f"plugin {point.name!r} ({point.value}) failed to import: {error!r}; mend or remove it") from error


def _place(item: object) -> object:
    """Where a definition was written: the same place twice is the same definition."""
    return getattr(item, "__module__", None), getattr(item, "__qualname__", item)


class Registry(Generic[T]):
    """Definitions by id. `room` is the package whose import registers the built-in ones."""

    def __init__(self, kind: str, room: str) -> None:
        self.kind, self._room = kind, room
        self._items: dict[str, T] = {}
        self._aka: dict[str, str] = {}
        self._absent: dict[str, str] = {}  # built-in definitions whose optional library is not installed

    def add(self, id: str, item: T, aka: tuple[str, ...] = ()) -> None:
        """Register. The same definition may be imported twice; two definitions of one id are an error."""
        old = self._items.get(id)
        if old is not None and _place(old) != _place(item):
            raise UsageError(f"{self.kind} {id!r} is registered twice: {old!r} and {item!r}")
        for name in map(str.lower, aka):
            other = name if name in self._items and name != id else self._aka.get(name, id)
            if other != id:
                raise UsageError(f"{self.kind} {id!r} cannot also be called {name!r}: that is {other!r}")
        self._items[id] = item
        self._aka.update({name.lower(): id for name in aka})

    def load(self) -> None:
        """Import the built-in room and all plugins."""
        module = importlib.import_module(self._room)
        for name in getattr(module, "MODULES", ()):
            try:
                importlib.import_module(f"{self._room}.{name}")
            except ModuleNotFoundError as error:
                if error.name not in _OPTIONAL:
                    raise
                self._absent[name] = error.name
        load_plugins()

    def get(self, id: str) -> T:
        """The definition with this id or literature name."""
        self.load()
        found = self._items.get(id, self._items.get(self._aka.get(id.lower(), id)))
        if found is None and id in self._absent:
            raise MissingExtra(self._absent[id], _OPTIONAL[self._absent[id]], f"{self.kind} {id}")
        if found is None:
            raise UnknownName(self.kind, id, self._items)
        return found

    def __iter__(self) -> Iterator[str]:
        self.load()
        return iter(sorted(self._items))

    def __contains__(self, id: str) -> bool:
        self.load()
        return id in self._items
