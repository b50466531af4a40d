"""A diagnosis as JUnit's XML, which every CI shows: each rule is a test case, each error or warning a failure."""

from __future__ import annotations

import io
from xml.etree import ElementTree

from stethoscope.core.finding import Diagnosis, Finding, Severity
from stethoscope.core.review import Review
from stethoscope.core.text import plain
from stethoscope.render.document import WIDTH, layout, message_of, one_line


def to_junit(diagnosis: Diagnosis, name: str = "stethoscope") -> str:
    """The XML document. Rules that could not judge are skipped, with the reason; notes are a passed case's output.

    Args:
        diagnosis: what was found.
        name: of the suite; the script's.
    """
    found: dict[str, list[Finding]] = {}
    for finding in diagnosis.findings:
        found.setdefault(finding.rule, []).append(finding)
    cases = [*found, *(rule for rule in diagnosis.checked if rule not in found)]
    failures = sum(any(_is_loud(finding) for finding in findings) for findings in found.values())
    suite = ElementTree.Element(
        "testsuite",
        name=_clean(name),
        tests=str(len(cases) + len(diagnosis.not_checked) + len(diagnosis.broken)),
        failures=str(failures),
        errors=str(len(diagnosis.broken)),
        skipped=str(len(diagnosis.not_checked)),
    )
    for rule in cases:
        case = _case(suite, rule)
        findings = found.get(rule, [])
        for finding in findings:
            if _is_loud(finding):
                _fail(case, finding)
        if notes := [one_line(finding) for finding in findings if not _is_loud(finding)]:
            ElementTree.SubElement(case, "system-out").text = _clean("\n".join(notes))
    for cannot in diagnosis.not_checked:
        ElementTree.SubElement(_case(suite, cannot.rule), "skipped", message=_clean(cannot.why))
    for cannot in diagnosis.broken:
        ElementTree.SubElement(_case(suite, cannot.rule), "error", message=_clean(cannot.why))
    return _text(suite)


def review_junit(review: Review, name: str = "stethoscope lint") -> str:
    """The XML document of source files: a case for each finding, and a passed one for each file without any.

    A file that was not read is skipped, with the reason; so is a finding that a comment allows.
    """
    suite = ElementTree.Element("testsuite", name=_clean(name))
    told: set[str] = set()
    for finding in review.findings:
        case = _case(suite, finding.rule, finding.place.source)
        told.add(finding.place.file or "")
        if finding.place.file and finding.place.line and not finding.place.cell:
            case.set("file", _clean(finding.place.file))
            case.set("line", str(finding.place.line))
        if _is_loud(finding):
            _fail(case, finding)
        else:
            ElementTree.SubElement(case, "system-out").text = _clean(one_line(finding))
    for file in review.files:
        for silenced, why in file.silences:
            case = _case(suite, silenced.rule, silenced.place.source)
            ElementTree.SubElement(case, "skipped", message=_clean(f"allowed: {why}"))
        for broken in file.broken:
            ElementTree.SubElement(_case(suite, broken.rule, file.file), "error", message=_clean(broken.why))
        if file.why_not:
            ElementTree.SubElement(_case(suite, "lint", file.file), "skipped", message=_clean(file.why_not))
        elif file.is_relevant and file.file not in told:
            _case(suite, "lint", file.file)
    for missing in review.missing:
        ElementTree.SubElement(_case(suite, "lint", missing), "error", message="there is no such file or folder")
    suite.set("tests", str(len(suite)))
    for count, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(sum(case.find(kind) is not None for case in suite)))
    return _text(suite)


def _text(suite: ElementTree.Element) -> str:
    ElementTree.indent(suite)
    text = io.StringIO()
    ElementTree.ElementTree(suite).write(text, encoding="unicode", xml_declaration=True)
    return text.getvalue() + "\n"


def _fail(case: ElementTree.Element, finding: Finding) -> None:
    failure = ElementTree.SubElement(case, "failure", type=finding.severity.value, message=_clean(finding.title))
    failure.text = _clean("\n".join(plain(line).rstrip() for line in layout(message_of(finding), WIDTH)))


def _case(suite: ElementTree.Element, rule: str, where: str = "") -> ElementTree.Element:
    """A case; of source code it is named for its place, under its rule."""
    group, name = (f"stethoscope.{rule}", where) if where else ("stethoscope", rule)
    return ElementTree.SubElement(suite, "testcase", classname=group, name=_clean(name))


def _is_loud(finding: Finding) -> bool:
    return finding.severity is not Severity.NOTE


def _clean(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return "".join(
        c for c in text if c in "\t\n" or (ord(c) >= 32 and not 0xD800 <= ord(c) <= 0xDFFF and ord(c) < 0xFFFE)
    )
