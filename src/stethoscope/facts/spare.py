"""Parts that a library's own class makes and that a training loss does without: a pooler, an auxiliary head."""

from __future__ import annotations

from stethoscope.facts.training import History, Parameter


def is_unreached(parameter: Parameter) -> bool:
    """Whether no graph of a training loss reached it, and no gradient ever came."""
    return parameter.in_graph is False and not parameter.received_gradient and not parameter.shared_with


def spare_of_libraries(seen: History) -> frozenset[int]:
    """Indexes of unreached parameters in parts that were made by a library's class, whose other parts are reached.

    The largest part counts whose parameters are all unreached. Where the user's own class holds it, the user may
    have forgotten to call it, and it is none of these.
    """
    theirs = {path for model in seen.models for path in model.library_modules}
    if not theirs:
        return frozenset()
    reached = {ancestor for p in seen.parameters if not is_unreached(p) for ancestor in _above(p.name)}
    found = set()
    for index, parameter in enumerate(seen.parameters):
        if parameter.layer < 0 or not is_unreached(parameter):
            continue
        holder = next((path for path in _above(parameter.name) if path in reached), "")
        if holder in theirs:
            found.add(index)
    return frozenset(found)


def _above(name: str) -> list[str]:
    """The paths of the modules that hold a parameter, the nearest first, the whole model last."""
    parts = name.split(".")[:-1]
    return [".".join(parts[:count]) for count in range(len(parts), -1, -1)]
