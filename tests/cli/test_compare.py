"""`stethoscope compare` says what differs between two runs and what came of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from stethoscope.cli.compare import command
from stethoscope.core.errors import BadFile
from stethoscope.facts.run import RunRecord
from stethoscope.facts.training import Curve, History
from stethoscope.store.writer import RunWriter


def put(store: Path, lr: float, losses: list[float]) -> str:
    """A recorded run."""
    writer = RunWriter.create(store, RunRecord(command=("train.py",)))
    writer.points("training loss", np.arange(len(losses)), losses)
    writer.facts(History(steps=len(losses), curves=(Curve("training loss", "loss", "training"),)))
    optimizers = ({"kind": "SGD", "groups": [{"lr": lr}]},)
    packages = {f"package-{number}": str(lr) for number in range(20)}
    ended = RunRecord(command=("train.py",), state="finished", ended="x", steps=len(losses))
    writer.record(replace(ended, optimizers=optimizers, packages=packages))
    writer.close()
    return writer.id


def compare(*words: object) -> Result:
    result = CliRunner().invoke(command, [str(word) for word in words], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, str, str]:
    return tmp_path, put(tmp_path, 0.1, [3, 2, 1]), put(tmp_path, 0.5, [3, 4, float("nan"), 2.5])


def test_settings_and_curves_stand_side_by_side(pair: tuple[Path, str, str]) -> None:
    store, a, b = pair
    lines = [" ".join(line.split()) for line in compare(a, b, "--store", store).output.splitlines()]
    assert f"A {a} finished 3" in lines
    assert "optimizers groups.lr 0.1 0.5" in lines
    assert "training loss, best 1 2.5" in lines
    assert "training loss, step that reached 2.5 1 3" in lines
    assert "The training loss differs from step 1 on." in lines


def test_many_packages_are_counted(pair: tuple[Path, str, str]) -> None:
    store, a, b = pair
    output = compare(a, b, "--store", store).output
    assert "packages: 8 more" in output
    assert max(map(len, output.splitlines())) <= 80


def test_a_run_compared_with_itself_differs_in_nothing(pair: tuple[Path, str, str]) -> None:
    store, a, _ = pair
    output = compare(a, store / a, "--store", store).output
    assert "Nothing that was recorded of code, settings and machine differs." in output
    assert "is the same number at every step" in output


def test_json_holds_all_of_it(pair: tuple[Path, str, str]) -> None:
    store, a, b = pair
    found = json.loads(compare(a, b, "--store", store, "--json", "-").output, parse_constant=pytest.fail)
    assert (found["schema"], found["a"], found["b"]) == (1, a, b)
    assert len(found["differences"]) == 21
    assert found["curves"][0]["first_difference"] == 1


def test_an_unknown_run_is_named(pair: tuple[Path, str, str]) -> None:
    store, a, _ = pair
    with pytest.raises(BadFile, match="no run `nothing`"):
        compare(a, "nothing", "--store", store)
