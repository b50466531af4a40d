"""JUnit's XML: a failure for each error and warning, reasons of what was not judged, nothing that XML cannot hold."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

from stethoscope.core.finding import CannotTell, Diagnosis, Severity
from stethoscope.render.junit import to_junit

from . import sample
from .sample_findings import diagnosis_of, missing_zero_grad, slow_rate


def suite(diagnosis: Diagnosis) -> ElementTree.Element:
    return ElementTree.fromstring(to_junit(diagnosis, "train.py"))


def test_an_error_is_a_failure_with_the_whole_finding() -> None:
    found = suite(diagnosis_of(missing_zero_grad(sample.trained())))
    failure = found.find("testcase[@name='missing-zero-grad']/failure")

    assert (found.get("name"), found.get("failures")) == ("train.py", "1")
    assert failure is not None
    assert failure.get("type") == "error"
    assert "optimizer.zero_grad()" in (failure.text or "")


def test_a_note_is_no_failure() -> None:
    note = slow_rate(sample.trained())
    assert note.severity is Severity.NOTE
    found = suite(diagnosis_of(note))

    assert found.get("failures") == "0"
    assert note.title.split("`")[0] in (found.findtext(f"testcase[@name='{note.rule}']/system-out") or "")


def test_what_could_not_be_judged_is_skipped_with_its_reason_and_counted() -> None:
    found = suite(Diagnosis((), ("dying-relu",), (CannotTell("overfitting", "no validation data"),)))

    assert (found.get("tests"), found.get("skipped")) == ("2", "1")
    skipped = found.find("testcase[@name='overfitting']/skipped")
    assert skipped is not None
    assert skipped.get("message") == "no validation data"


def test_characters_that_xml_cannot_hold_are_left_out() -> None:
    odd = replace(missing_zero_grad(sample.trained()), title="a \x00 null, a \x1b[31m colour and <tags> & more")
    failure = suite(Diagnosis((odd,), (), ())).find(".//failure")

    assert failure is not None
    assert failure.get("message") == "a  null, a [31m colour and <tags> & more"
