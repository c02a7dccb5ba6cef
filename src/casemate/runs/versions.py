"""The libraries that numbers may depend on."""

from __future__ import annotations

import functools
import platform


@functools.cache
def _found() -> tuple[tuple[str, str], ...]:
    from importlib.metadata import PackageNotFoundError, version

    found = [("python", platform.python_version())]
    for package in ("casemate", "numpy", "scipy", "torch", "scikit-learn", "onnxruntime"):
        try:
            found.append((package, version(package)))
        except PackageNotFoundError:
            continue
    return tuple(found)


def versions() -> dict[str, str]:
    """Versions by name, of what is installed."""
    return dict(_found())
