"""What was tried before training, and the table of the model's parts."""

from __future__ import annotations

from dataclasses import replace

from stethoscope.core.text import byte_size, read
from stethoscope.facts.model import Part, Preflight, Simplified, Structure
from stethoscope.render.cards import inline
from stethoscope.render.markup import Html, joined, tag

MOST_PARTS = 300
"""Rows of the table of parts: the page stays under its size."""
MOST_NAMES = 3
"""Further places of one module that are named."""


def experiments_section(preflight: Preflight) -> Html:
    """A row for each experiment."""
    rows = []
    for one in preflight.experiments:
        state = "not possible" if one.why_not else "fine" if one.good else "look here"
        rows.append(
            tag(
                "tr",
                tag("th", one.title, scope="row"),
                tag("td", state, class_="quiet" if one.why_not else "healthy" if one.good else "odd"),
                tag("td", inline(read(one.said or one.why_not))),
                tag("td", f"{one.seconds:.2g} s", class_="number"),
            )
        )
    head = tag("tr", *(tag("th", name, scope="col") for name in ("experiment", "", "what it showed", "took")))
    lead = "Each was made on copies of the untrained model, with a few batches of its data."
    table = tag("table", tag("thead", head), tag("tbody", *rows))
    return joined([tag("p", lead, class_="lead"), tag("div", table, class_="wide")])


def simplified_section(shown: Simplified) -> Html:
    """A row for each aspect that was put back, in that order."""
    rows = [
        tag(
            "tr",
            tag("th", aspect.name, scope="row"),
            tag("td", ", ".join(f"{loss:.3g}" for loss in aspect.losses), class_="number"),
            tag(
                "td",
                "learns" if aspect.works else "learns nothing" if aspect.breaks else "slow",
                class_="healthy" if aspect.works else "odd" if aspect.breaks else "",
            ),
        )
        for aspect in shown.aspects
    ]
    head = tag("tr", *(tag("th", name, scope="col") for name in ("put back", "loss", "")))
    lead = (
        f"Copies with everything taken off reach {shown.smallest:.3g} in {shown.steps} steps, those that see the mean "
        f"sample only {shown.blind:.3g}, and those of the whole {', '.join(f'{loss:.3g}' for loss in shown.whole)}. "
        "What does not learn was taken off again before the next."
    )
    table = tag("table", tag("thead", head), tag("tbody", *rows))
    return joined([tag("p", lead, class_="lead"), tag("div", table, class_="wide")])


def parts_section(structure: Structure) -> Html:
    """A row for each module that has parameters or was called, in the order of first calls.

    Of a model with very many, the deepest are counted with the ones that they belong to.
    """
    parts = [part for part in structure.parts if part.name and (part.order >= 0 or part.parameters)]
    shown = _folded(parts)
    shown.sort(key=lambda part: (part.order < 0, part.order))
    followed = any(part.order >= 0 for part in structure.parts)
    columns = ("module", "kind", "input", "output", "parameters", "trainable", "type", "device", "memory")
    head = tag("tr", *(tag("th", name, scope="col") for name in columns))
    rows = [_row(part, followed) for part in shown[:MOST_PARTS]]
    held = sum(part.parameter_bytes for part in structure.parts)
    lead = (
        f"{structure.parameters:,} parameters, {structure.trainable:,} of them trainable, in {byte_size(held)} with "
        "buffers. Shapes are those of one real batch; memory is that of the parameters and of what the module returned."
    )
    more, inner = max(0, len(shown) - MOST_PARTS), len(parts) - len(shown)
    notes = [f"{inner} modules further inside are counted with those that hold them."] if inner else []
    notes += [f"{more} more modules are left out here."] if more else []
    return joined(
        [
            tag("p", lead, class_="lead"),
            tag("div", tag("table", tag("thead", head), tag("tbody", *rows)), class_="wide"),
            *(tag("p", note) for note in notes),
        ]
    )


def _folded(parts: list[Part]) -> list[Part]:
    """The parts, without the deepest ones where there are too many: what these hold is added to the ones above."""
    if len(parts) <= MOST_PARTS:
        return list(parts)
    depths = [part.name.count(".") for part in parts]
    deepest = max((d for d in set(depths) if sum(each <= d for each in depths) <= MOST_PARTS), default=min(depths))
    above = {part.name: part for part, depth in zip(parts, depths, strict=True) if depth <= deepest}
    for part, depth in zip(parts, depths, strict=True):
        owner = above.get(".".join(part.name.split(".")[: deepest + 1])) if depth > deepest else None
        if owner is not None:
            above[owner.name] = replace(
                owner,
                parameters=owner.parameters + part.parameters,
                trainable=owner.trainable + part.trainable,
                tied=owner.tied + part.tied,
                parameter_bytes=owner.parameter_bytes + part.parameter_bytes,
            )
    return list(above.values())


def _row(part: Part, followed: bool) -> Html:
    trained = "" if not part.parameters else "all" if part.trainable == part.parameters else f"{part.trainable:,}"
    if part.parameters and not part.trainable:
        trained = "frozen"
    called = " (never called)" if part.order < 0 and followed else f", {part.calls} calls" if part.calls > 1 else ""
    tied = " (tied)" if part.tied else ""
    held = part.parameter_bytes + part.output_bytes
    return tag(
        "tr",
        tag("th", part.name + "".join(f", {name}" for name in part.also[:MOST_NAMES]), scope="row"),
        tag("td", part.kind + called),
        tag("td", _shapes(part.input_shapes), class_="whole"),
        tag("td", _shapes(part.output_shapes), class_="whole"),
        tag("td", f"{part.parameters:,}{tied}" if part.parameters else "", class_="number"),
        tag("td", trained, class_="whole"),
        tag("td", part.dtype, class_="whole"),
        tag("td", part.device, class_="whole"),
        tag("td", byte_size(held) if held else "", class_="number"),
    )


def _shapes(shapes: tuple[tuple[int, ...], ...]) -> str:
    named = ["(" + ", ".join(map(str, shape)) + ")" for shape in shapes[:2]]
    return ", ".join([*named, "..."] if len(shapes) > 2 else named)
