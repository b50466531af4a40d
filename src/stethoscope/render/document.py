"""A finding as a message: always the same labels, in the same order, from the same words.

error: <title>

   <place>                                                  <rule>
   41 | <the user's line>

   seen    <what was measured>   <value>   (healthy: <value>)
   why     <sureness>: <cause>
   tried   <what an experiment on a copy showed>
   not     <causes that were looked for and are not there>
   fix     <one thing to do>
   unless  <when this is fine>
   also    <what follows from it>
   more    stethoscope explain <rule>
"""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import Evidence, Finding, Fix, Place, Proof, Severity
from stethoscope.core.text import (
    Line,
    Message,
    Paragraph,
    Piece,
    Reading,
    Role,
    Section,
    amount,
    clean,
    number,
    plain,
    read,
    width_of,
    wrapped,
)

WIDTH = 80
MARGIN = 3
LABELS = 8
"""Characters that a label takes, with the space behind it."""
WIDEST_VALUES = 44
"""Characters that name and value of a reading may take together before columns give way to sentences."""
CODE_INDENT = 2
NARROWEST_CODE = 30
"""Characters of a line of another file that are shown at least: a longer path stands above it."""
MOST_CAUSES = 8
"""Causes that are named as ruled out; more are counted."""

ROLE_OF = {Severity.ERROR: Role.ERROR, Severity.WARNING: Role.WARNING, Severity.NOTE: Role.NOTE}


def message_of(finding: Finding) -> Message:
    """The finding in words."""
    cause = (Piece(f"{finding.sureness.value}: ", Role.VALUE), *read(finding.cause))
    sections = (
        Section("seen", tuple(_reading(evidence) for evidence in finding.evidence)),
        Section("why", (Paragraph(cause),)),
        Section("tried", (Paragraph(proof_words(finding.proof)),) if finding.proof else ()),
        Section("not", tuple(_ruled_out(finding))),
        Section("fix", tuple(part for fix in finding.fixes for part in _fix(fix, finding.place))),
        Section("unless", (Paragraph(read(finding.unless)),) if finding.unless else ()),
        Section("also", tuple(_consequences(finding.follows))),
        Section("more", (Paragraph((Piece(f"stethoscope explain {finding.rule}", Role.CODE),)),)),
    )
    return Message(
        severity=finding.severity,
        title=read(finding.title, Role.TITLE),
        place=place_words(finding.place),
        rule=finding.rule,
        excerpt=_chain(finding) if finding.chain else _excerpt(finding.place),
        sections=tuple(section for section in sections if section.body),
    )


def place_words(place: Place) -> Line:
    """Where it is, in a few words."""
    parts: list[Line] = []
    if place.source:
        parts.append((Piece(clean(place.source), Role.PLACE),))
    if place.parameter or place.module:
        parts.append((Piece(clean(place.parameter or place.module or ""), Role.NAME),))
    parts += [(Piece(text, Role.PLACE),) for text in _extents(place)]
    joined: Line = ()
    for part in parts or [(Piece("the whole run", Role.PLACE),)]:
        joined = (*joined, Piece(", ", Role.PLACE), *part) if joined else part
    return joined


def one_line(finding: Finding) -> str:
    """The finding for a log or an editor: `train.py:41: error: title [rule]`."""
    where = f"{finding.place.source}: " if finding.place.source else ""
    title = " ".join(clean(finding.title).replace("`", "").split())
    return f"{clean(where)}{finding.severity.value}: {title} [{finding.rule}]"


def layout(message: Message, width: int = WIDTH) -> list[Line]:
    """The message as lines that are at most `width` wide; only code may be wider."""
    word = message.severity.value
    margin = Piece(" " * MARGIN)
    lines: list[Line] = []
    for row in wrapped((Piece(f"{word}:", ROLE_OF[message.severity]), Piece(" "), *message.title), width):
        lines.append(row if not lines else (margin, *row))
    lines += [(), *_place_lines(message, width)]
    lines += [(margin, *_cut(row, width - MARGIN)) for row in message.excerpt]
    lines.append(())
    for section in message.sections:
        rows = list(_body(section, width - MARGIN - LABELS))
        for index, row in enumerate(rows):
            label = section.label if index == 0 else ""
            lines.append((margin, Piece(label.ljust(LABELS), Role.LABEL), *row))
    return lines


def text_of(finding: Finding, width: int = WIDTH) -> str:
    """The finding as plain text."""
    return "\n".join(plain(line).rstrip() for line in layout(message_of(finding), width)) + "\n"


def _extents(place: Place) -> Iterator[str]:
    if place.steps:
        first, last = place.steps
        yield f"{place.unit} {first:,}" if first == last else f"{place.unit}s {first:,}-{last:,}"
    if place.rows:
        yield f"row{'s'[: len(place.rows) - 1]} {_some([str(row) for row in place.rows])}"
    if place.columns:
        yield f"column{'s'[: len(place.columns) - 1]} {_some([clean(name) for name in place.columns])}"
    if place.window:
        yield f"{place.window[0]} to {place.window[1]}"


def _some(names: list[str], most: int = 3) -> str:
    """The first few names, and how many more there are."""
    rest = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _excerpt(place: Place) -> tuple[Line, ...]:
    if not place.text or not place.line:
        return ()
    return ((Piece(f"{place.line} | ", Role.QUIET), Piece(clean(place.text), Role.CODE)),)


def _chain(finding: Finding) -> tuple[Line, ...]:
    """The lines that a finding in source code is about, the guilty one first, each with what happens there."""
    guilty = finding.place
    rows: list[Line] = []
    if all(link.place.source != guilty.source for link in finding.chain):
        rows += _excerpt(guilty)
    seen = set()
    for link in finding.chain:
        place = link.place
        if (place.source, link.words) in seen:
            continue
        seen.add((place.source, link.words))
        home = "" if (place.file, place.cell) == (guilty.file, guilty.cell) else place.source.rpartition(":")[0] + ":"
        number = f"{clean(home)}{place.line} | "
        if home and len(number) > WIDTH - MARGIN - NARROWEST_CODE:  # a line of its own; its end tells more
            room = WIDTH - MARGIN - 1
            rows.append((Piece(clean(home) if len(home) <= room else "…" + clean(home)[-room:], Role.QUIET),))
            number = f"{place.line} | "
        rows.append((Piece(number, Role.QUIET), Piece(clean(place.text or ""), Role.CODE)))
        rows.append((Piece(f"{' ' * (len(number) - 2)}└ ", Role.QUIET), *read(link.words, Role.QUIET)))
    return tuple(rows)


def value_words(value: str | float, role: Role) -> Line:
    """A measured or healthy value as words."""
    return read(value, role) if isinstance(value, str) else (Piece(number(value), role),)


def _reading(evidence: Evidence) -> Reading:
    return Reading(
        what=read(evidence.what),
        seen=value_words(evidence.seen, Role.VALUE),
        healthy=value_words(evidence.healthy, Role.HEALTHY),
        source=read(evidence.source, Role.QUIET),
        plot=evidence.plot,
    )


def proof_words(proof: Proof) -> Line:
    """`cured: with ..., 48 steps on a copy take the loss from 2.3 to 0.4; unchanged: 2.35 (better in 5 of 5)`."""
    verdict = Piece(f"{proof.verdict}: ", Role.VALUE)
    if proof.before is None or proof.after is None:
        return (verdict, *read(f"with {proof.treatment}" + (f", since {proof.why}" if proof.why else "")))
    length = f"{proof.steps} steps on a copy take" if proof.steps else "a copy takes"
    start: Line = () if proof.start is None else (Piece(" from "), Piece(number(proof.start), Role.VALUE))
    agreement = f" (better in {proof.agreeing} of {proof.replays} replays)" if proof.replays else ""
    return (
        verdict,
        *read(f"with {proof.treatment}, {length} the {proof.measure}"),
        *start,
        Piece(" to "),
        Piece(number(proof.after), Role.VALUE),
        Piece("; unchanged: "),
        Piece(number(proof.before), Role.VALUE),
        *read(f"{agreement}{f'; {proof.why}' if proof.why else ''}"),
    )


def _fix(fix: Fix, place: Place) -> Iterator[Paragraph]:
    prose: list[str] = []
    for row in clean(fix.text).splitlines():
        if row.startswith("    "):
            if prose:
                yield Paragraph(read(" ".join(prose)))
                prose = []
            yield Paragraph((Piece(row[4:], Role.CODE),), indent=CODE_INDENT, is_code=True)
        elif row.strip():
            prose.append(row.strip())
    if prose:
        yield Paragraph(read(" ".join(prose)))
    if fix.edit and fix.edit.strip() not in fix.text:
        where = (Piece(f"{clean(place.source)}   ", Role.QUIET),) if place.source else ()
        yield Paragraph((*where, Piece(clean(fix.edit.strip()), Role.CODE)), indent=CODE_INDENT, is_code=True)


def _consequences(follows: tuple[Finding, ...]) -> Iterator[Paragraph]:
    if not follows:
        return
    verb = "follows" if len(follows) == 1 else "follow"
    yield Paragraph(read(f"{amount(len(follows), 'finding')} seen beside it {verb} from this:"))
    for finding in follows:
        yield Paragraph((*read(finding.title), Piece(f" [{finding.rule}]", Role.RULE)), indent=CODE_INDENT)


def _ruled_out(finding: Finding) -> Iterator[Paragraph]:
    """Of a symptom that nothing explains: where there is no need to look, and where nobody could."""
    if finding.ruled_out:
        yield Paragraph(read(f"looked for, and not there: {_some(list(finding.ruled_out), MOST_CAUSES)}"))
    if finding.not_ruled_out:
        yield Paragraph(read(f"could not be judged: {_some(list(finding.not_ruled_out), MOST_CAUSES)}"))


def _place_lines(message: Message, width: int) -> Iterator[Line]:
    """Place on the left, rule on the right; on two lines where one is too short."""
    room = width - MARGIN - width_of(message.place) - len(message.rule)
    if room >= 2:
        yield (Piece(" " * MARGIN), *message.place, Piece(" " * room), Piece(message.rule, Role.RULE))
        return
    for row in wrapped(message.place, width - MARGIN):
        yield (Piece(" " * MARGIN), *row)
    yield (Piece(" " * max(MARGIN, width - len(message.rule))), Piece(message.rule, Role.RULE))


def _cut(line: Line, width: int) -> Line:
    """The line, shortened at its last piece where it is too wide."""
    surplus = width_of(line) - width
    if surplus <= 0:
        return line
    last = line[-1]
    return (*line[:-1], Piece(last.text[: max(1, len(last.text) - surplus - 1)] + "…", last.role))


def _body(section: Section, width: int) -> Iterator[Line]:
    readings = [part for part in section.body if isinstance(part, Reading)]
    if readings:
        yield from _readings(readings, width)
    for part in section.body:
        if isinstance(part, Paragraph):
            indent = (Piece(" " * part.indent),) if part.indent else ()
            rows = [part.line] if part.is_code else wrapped(part.line, width - part.indent)
            for index, row in enumerate(rows):
                yield (*indent, *((Piece("  "),) if index and part.indent else ()), *row)


def _beside(reading: Reading) -> Line:
    """The healthy value in brackets, with its source."""
    source = (Piece("; "), *reading.source) if reading.source else ()
    return (Piece("(healthy: "), *reading.healthy, *source, Piece(")"))


def _readings(readings: list[Reading], width: int) -> Iterator[Line]:
    """Readings in three columns; as sentences where names or values are too long for that."""
    names = max(width_of(reading.what) for reading in readings)
    values = max(width_of(reading.seen) for reading in readings)
    if names + values > min(WIDEST_VALUES, width - 24):
        for reading in readings:
            sentence = (*reading.what, Piece(": "), *reading.seen, Piece(" "), *_beside(reading))
            for index, row in enumerate(wrapped(sentence, width - 2)):
                yield (Piece("  "), *row) if index else row
        return
    start = names + values + 5
    for reading in readings:
        gaps = (names - width_of(reading.what) + 3, values - width_of(reading.seen) + 2)
        for index, row in enumerate(wrapped(_beside(reading), width - start)):
            if index:
                yield (Piece(" " * (start + 1)), *row)
            else:
                yield (*reading.what, Piece(" " * gaps[0]), *reading.seen, Piece(" " * gaps[1]), *row)
