"""The plugin for pytest: checks of models as tests.

def test_net_learns(stethoscope):                       the functions of `stethoscope.testing`
    stethoscope.assert_learns(Net(), nn.CrossEntropyLoss(), (x, y))

@pytest.mark.stethoscope(profile="quick")               the whole battery, with `pytest --stethoscope`
def test_net():
    return Net(), nn.CrossEntropyLoss(), (x, y)
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--stethoscope`."""
    group = parser.getgroup("stethoscope")
    group.addoption("--stethoscope", action="store_true", help="check the models that marked tests return")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "stethoscope(profile='quick', warnings=True): check the (model, loss, data) or (model, loss, data, optimizer) "
        "that the test returns, with --stethoscope",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without `--stethoscope`, tests that check whole models are skipped."""
    if config.getoption("--stethoscope"):
        return
    for item in items:
        if item.get_closest_marker("stethoscope"):
            item.add_marker(pytest.mark.skip(reason="checks a whole model; run with --stethoscope"))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Check what a marked test returns."""
    marker = pyfuncitem.get_closest_marker("stethoscope")
    if marker is None:
        return None
    names = pyfuncitem._fixtureinfo.argnames
    made = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    if not isinstance(made, tuple | list) or not 3 <= len(made) <= 4:
        pytest.fail("a test with the stethoscope mark should return (model, loss, data) or with an optimizer behind")
    _check(made, **marker.kwargs)
    return True


def _check(made: Any, *, profile: str = "quick", warnings: bool = True) -> None:
    from stethoscope.checking import check

    checked = check(*made, profile=profile)
    least = 2 if warnings else 3
    if any(finding.severity.gravity >= least for finding in checked.findings):
        pytest.fail(str(checked), pytrace=False)


@pytest.fixture(scope="session")
def stethoscope() -> ModuleType:
    """The functions of `stethoscope.testing`."""
    from stethoscope import testing

    return testing
