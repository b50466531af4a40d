"""The JSON form: strict, valid against its published schema, and the same fields as the contract."""

import json
from dataclasses import replace

import jsonschema
import pytest

from stethoscope.core.finding import Diagnosis, Evidence, Proof
from stethoscope.facts.run import RunRecord
from stethoscope.facts.training import History
from stethoscope.render.json import json_text, schema, to_json

from . import sample
from .sample_findings import diagnosis_of, loss_not_finite, missing_zero_grad, slow_rate


def documents() -> dict[str, dict]:
    nan, record = sample.turns_nan(), sample.record()
    return {
        "faulty": to_json(diagnosis_of(missing_zero_grad(nan), slow_rate(nan)), record, sample.trained()),
        "not a number": to_json(diagnosis_of(loss_not_finite(nan)), record, nan),
        "checked": to_json(Diagnosis((), (), ()), record, sample.checked()),
        "empty": to_json(Diagnosis((), (), ()), RunRecord(), History()),
    }


@pytest.mark.parametrize("name", ["faulty", "not a number", "checked", "empty"])
def test_output_is_valid_against_the_published_schema(name: str) -> None:
    validator = jsonschema.Draft202012Validator(schema())
    validator.check_schema(schema())
    assert list(validator.iter_errors(json.loads(json_text(documents()[name])))) == []


def test_the_schema_refuses_a_finding_without_evidence() -> None:
    document = documents()["faulty"]
    del document["findings"][0]["evidence"]
    assert not jsonschema.Draft202012Validator(schema()).is_valid(document)


def test_the_fields_are_those_of_the_contract() -> None:
    document = documents()["faulty"]
    assert list(document) == ["schema", "tool", "run", "summary", "findings", "experiments"]
    finding = document["findings"][0]
    contract = {
        "rule",
        "kind",
        "severity",
        "sureness",
        "rank",
        "title",
        "cause",
        "place",
        "evidence",
        "fixes",
        "explains",
        "proof",
    }
    assert contract <= set(finding)
    assert {"file", "line", "module", "parameter", "steps", "rows", "columns", "window"} <= set(finding["place"])
    assert set(finding["evidence"][0]) == {"what", "seen", "healthy", "source"}
    assert set(finding["fixes"][0]) == {"text", "edit", "safe", "edits"}
    assert {"treatment", "before", "after", "verdict"} <= set(finding["proof"])


def test_counts_are_those_of_the_diagnosis() -> None:
    summary = documents()["faulty"]["summary"]
    assert (summary["errors"], summary["warnings"], summary["notes"], summary["silenced"]) == (1, 0, 1, 0)
    assert [entry["rule"] for entry in summary["not_checked"]] == ["overfitting", "validation-in-train-mode"]


def test_numbers_that_json_lacks_are_words() -> None:
    finding = replace(
        slow_rate(sample.trained()),
        evidence=(Evidence("loss", float("nan"), float("inf")),),
        proof=Proof("lower rate", float("-inf"), 0.4, "cured"),
    )
    found = to_json(diagnosis_of(finding), sample.record(), sample.trained())["findings"][0]
    assert (found["evidence"][0]["seen"], found["evidence"][0]["healthy"]) == ("NaN", "Infinity")
    assert found["proof"]["before"] == "-Infinity"


def test_a_line_that_is_unknown_is_null() -> None:
    finding = slow_rate(sample.trained())
    finding = replace(finding, place=replace(finding.place, line=0))
    assert to_json(diagnosis_of(finding), sample.record(), sample.trained())["findings"][0]["place"]["line"] is None


def test_what_follows_is_named_and_carried() -> None:
    finding = documents()["faulty"]["findings"][0]
    assert finding["explains"] == ["loss-not-decreasing"]
    assert finding["follows"][0]["kind"] == "symptom"
