"""A diagnosis as JUnit's XML, which every CI shows: each rule is a test case, each error or warning a failure."""

from __future__ import annotations

import io
from xml.etree import ElementTree

from stethoscope.core.finding import Diagnosis, Finding, Severity
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
                failure = ElementTree.SubElement(
                    case, "failure", type=finding.severity.value, message=_clean(finding.title)
                )
                failure.text = _clean("\n".join(plain(line).rstrip() for line in layout(message_of(finding), WIDTH)))
        if notes := [one_line(finding) for finding in findings if not _is_loud(finding)]:
            ElementTree.SubElement(case, "system-out").text = _clean("\n".join(notes))
    for cannot in diagnosis.not_checked:
        ElementTree.SubElement(_case(suite, cannot.rule), "skipped", message=_clean(cannot.why))
    for cannot in diagnosis.broken:
        ElementTree.SubElement(_case(suite, cannot.rule), "error", message=_clean(cannot.why))
    ElementTree.indent(suite)
    text = io.StringIO()
    ElementTree.ElementTree(suite).write(text, encoding="unicode", xml_declaration=True)
    return text.getvalue() + "\n"


def _case(suite: ElementTree.Element, rule: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname="stethoscope", name=rule)


def _is_loud(finding: Finding) -> bool:
    return finding.severity is not Severity.NOTE


def _clean(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return "".join(
        c for c in text if c in "\t\n" or (ord(c) >= 32 and not 0xD800 <= ord(c) <= 0xDFFF and ord(c) < 0xFFFE)
    )
