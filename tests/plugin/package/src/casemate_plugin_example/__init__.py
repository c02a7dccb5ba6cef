"""A plugin: importing it registers an attack, a control and an adapter. The entry point in pyproject.toml does the rest."""

from . import attack, control, target

__all__ = ["attack", "control", "target"]
