"""Our own faults: training goes on, and one message says what is no longer heard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from loops import make_loop

from stethoscope.core.rule import Rule
from stethoscope.facts.training import History


def _weights(name: str = "plain", steps: int = 12) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in make_loop(name, steps).parameters()])


PLACES = [
    ("stethoscope.observe.training.reduction.moments", "looks"),
    ("stethoscope.observe.training.backwards.read", "backward passes"),
    ("stethoscope.observe.training.losses.made_by", "losses"),
    ("stethoscope.observe.training.protocol.snapshot", "backward passes"),
    ("stethoscope.observe.training.forwards.first_input", "models"),
    ("stethoscope.observe.training.models.ModelBook.add_root", "models"),
    ("stethoscope.observe.training.protocol.settings_of", "the optimizer"),
]


@pytest.mark.parametrize(("place", "part"), PLACES)
def test_a_collector_that_fails_says_so_once_and_leaves_the_training_alone(
    listening: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str, part: str
) -> None:
    unheard = _weights()

    def fail(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("made to fail")

    monkeypatch.setattr(place, fail)
    with listening(every=1) as session:
        heard = _weights()
        history = session.history()

    assert torch.equal(heard, unheard)
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert part in said[0]
    assert "made to fail" in said[0]
    assert any("made to fail" in sentence for sentence in history.sampling.blind)


def test_a_rule_that_fails_is_named_and_the_others_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    from stethoscope.diagnosing.run import diagnose
    from stethoscope.rules import all_rules

    of_runs = [rule for rule in all_rules() if "in_training" in rule.eyes()]
    broken = of_runs[0]

    def fail(self: Rule, seen: History) -> None:
        raise ZeroDivisionError("made to fail")

    monkeypatch.setattr(broken, "in_training", fail)
    diagnosis = diagnose(History(steps=3))

    assert [doubt.rule for doubt in diagnosis.broken] == [broken.name]
    assert len(diagnosis.checked) + len(diagnosis.not_checked) == len(of_runs) - 1


@pytest.mark.parametrize("renderer", ["to_html", "to_json"])
def test_a_renderer_that_fails_costs_its_file_and_no_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, renderer: str
) -> None:
    from dataclasses import replace

    from stethoscope.core.settings import Settings
    from stethoscope.facts.run import RunRecord
    from stethoscope.recording import Recording

    def fail(*args: object) -> str:
        raise ZeroDivisionError("made to fail")

    monkeypatch.setattr(f"stethoscope.recording.{renderer}", fail)
    recording = Recording(replace(Settings(), store=str(tmp_path)), RunRecord(), store=tmp_path)
    recording.open_store()
    recording.listen_to_torch()
    kept = make_loop("plain", 12)
    diagnosis, history = recording.finish()

    assert kept is not None
    assert history.steps == 12
    assert [notice for notice in diagnosis.notices if "made to fail" in notice]
    assert recording.path is not None
    left = {"to_html": "findings.json", "to_json": "report.html"}[renderer]
    assert (recording.path / left).exists()


def test_a_store_that_fails_is_a_notice(tmp_path: Path) -> None:
    from stethoscope.core.settings import Settings
    from stethoscope.facts.run import RunRecord
    from stethoscope.recording import Recording

    occupied = tmp_path / "runs"
    occupied.write_text("a file where the folder should be")
    recording = Recording(Settings(), RunRecord(), store=occupied)
    recording.open_store()
    recording.listen_to_torch()
    kept = make_loop("plain", 12)
    diagnosis, history = recording.finish()

    assert kept is not None
    assert history.steps == 12
    assert len(diagnosis.notices) == 1
    assert str(occupied) in diagnosis.notices[0]
