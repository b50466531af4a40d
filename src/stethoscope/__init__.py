"""Listens to a neural network while it trains and says what is wrong, where, why, and what to change.

Importing this package imports neither torch nor anything slow: each name is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stethoscope.adapters.jax import watch_jax
    from stethoscope.api import compare, diagnose, load_run, run, watch
    from stethoscope.checking import check
    from stethoscope.core.errors import StethoscopeError
    from stethoscope.inspecting import inspect_data
    from stethoscope.linting import lint

__version__ = "0.1.0"
__all__ = [
    "StethoscopeError", "__version__", "check", "compare", "diagnose", "inspect_data", "lint", "load_run", "run",
    "watch", "watch_jax",
]  # fmt: skip

_WHERE = {
    "check": "stethoscope.checking",
    "compare": "stethoscope.api",
    "diagnose": "stethoscope.api",
    "inspect_data": "stethoscope.inspecting",
    "lint": "stethoscope.linting",
    "load_run": "stethoscope.api",
    "run": "stethoscope.api",
    "watch": "stethoscope.api",
    "watch_jax": "stethoscope.adapters.jax",
    "StethoscopeError": "stethoscope.core.errors",
    "load_ipython_extension": "stethoscope.adapters.notebook",
    "unload_ipython_extension": "stethoscope.adapters.notebook",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
