"""Suspicious rows in the report of a run."""

from __future__ import annotations

from stethoscope.diagnosing.run import diagnose
from stethoscope.facts.run import RunRecord
from stethoscope.facts.training import History
from stethoscope.render.html import to_html
from stethoscope.render.inspection import suspects_csv
from stethoscope.rules.data.label_errors import LabelErrors
from stethoscope.rules.learned_labels import learning
from stethoscope.store.packing import pack, unpack


def test_rows_that_a_run_found_stand_in_its_report_and_can_be_downloaded() -> None:
    history = unpack(History, pack(History(steps=400, learning=learning(by_heart=60))))
    diagnosis = diagnose(history, rules=(LabelErrors,))
    page = to_html(diagnosis, RunRecord(), history)

    assert len(diagnosis.findings[0].suspects) == 60
    assert "60 rows to look at" in page
    assert 'download="suspects.csv"' in page
    assert len(suspects_csv(diagnosis).splitlines()) == 61
