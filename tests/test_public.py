"""The public surface: the names, and that importing them costs next to nothing."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import stethoscope

PUBLIC = [
    "StethoscopeError", "__version__", "check", "compare", "diagnose", "inspect_data", "lint", "load_run", "run",
    "watch", "watch_jax",
]  # fmt: skip
MOST_SECONDS = 0.3

_IMPORT = "import sys, time; began = time.process_time(); import stethoscope; took = time.process_time() - began; "


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_the_public_names_are_these_and_each_of_them_is_there() -> None:
    assert sorted(stethoscope.__all__) == sorted(PUBLIC)
    assert all(getattr(stethoscope, name) is not None for name in PUBLIC)
    assert sorted(dir(stethoscope)) == sorted(PUBLIC)


def test_no_module_has_the_name_of_a_public_function_and_takes_its_place_once_it_is_imported() -> None:
    assert {module.name for module in pkgutil.iter_modules(stethoscope.__path__)}.isdisjoint(PUBLIC)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'litsen'"):
        _ = stethoscope.litsen  # type: ignore[attr-defined]


def test_importing_it_imports_neither_torch_nor_anything_slow() -> None:
    loaded = _python(_IMPORT + "print(*sorted(m for m in ('torch', 'numpy', 'rich', 'click') if m in sys.modules))")

    assert loaded.split() == []


def test_importing_it_takes_less_than_a_third_of_a_second() -> None:
    # Its own processor time, the best of three: a busy machine must not decide this.
    seconds = min(float(_python(_IMPORT + "print(took)")) for _ in range(3))

    assert seconds < MOST_SECONDS


def test_using_all_of_it_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; "
        "from stethoscope import load_run, diagnose, compare, run; "
        "from stethoscope.facts.training import History; "
        "from stethoscope.diagnosing.run import diagnose as judge; "
        "print(len(judge(History()).checked) >= 0)"
    )
    assert _python(code).strip() == "True"


def test_the_check_for_torch_can_fail() -> None:
    loaded = _python("import sys, numpy; print('numpy' in sys.modules)")

    assert loaded.strip() == "True"
