"""What learned from the training rows, and once more from those that a model is judged by."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from stethoscope.facts.code import NOWHERE, Attribute, Call, Code, Value
from stethoscope.facts.splits import KEEPING, Fit, Part, constructed, fits_of, part_of_split
from stethoscope.facts.things import MOST_STEPS, followed

_RENAMED = frozenset({"numpy.array", "numpy.asarray", "pandas.DataFrame", "numpy.nan_to_num"})
_TRAIN = re.compile(r"(?i:train(?:ing)?)(?![a-z])")
_TEST = re.compile(r"(?i:test(?:ing)?|val(?:id(?:ation)?)?)(?![a-z])")
"""What the two parts of one thing are called, in names that are alike otherwise: `X_train`, `X_test`."""


def fitted_again(code: Code, names: Collection[str]) -> Iterator[tuple[Fit, Fit]]:
    """What of these classes learned from the test part of a split, each with that from the training part."""
    known = [(fit, part_of_split(code, fit.data, folds=True)) for fit in fits_of(code) if fit.name in names]
    for again, part in known:
        for inner in _parts_around(code, part):
            twin = Part(inner.split, "train", inner.array)
            first = next((fit for fit, other in known if other == twin and fit.name == again.name), None)
            if inner.which == "test" and first is not None and first.call.number < again.call.number:
                yield first, again
                break


def fitted_for_scores(code: Code, names: Collection[str]) -> Iterator[tuple[Fit, Fit]]:
    """What of these classes learned from rows that a model is only judged by, each with what it learned before from the
    rows that the model learned from: as `model.fit(first)` and `model.score(again)` tell.
    """
    known = [fit for fit in fits_of(code) if fit.name in names]
    for first in known:
        for again in known:
            if again.made is not first.made or again.call.number <= first.call.number:
                continue
            one = _used(code, *_results(code, first, again.call.number))
            other = _used(code, *_results(code, again, len(code.calls)))
            if one[".fit"] & (other[".score"] | other[".predict"]) and not other[".fit"]:
                yield first, again


def fitted_by_name(code: Code, names: Collection[str]) -> Iterator[tuple[Fit, Fit]]:
    """One transformer of these classes that learned from what is named as training rows, and later from what has the
    same name but for the word: `scaler.fit_transform(X_train)`, `scaler.fit_transform(X_test)`.
    """
    known = [fit for fit in fits_of(code) if fit.name in names]
    for first in known:
        text = code.text(first.data.at)
        for again in known if _TRAIN.search(text) else ():
            other = code.text(again.data.at)
            is_later = again.made is first.made and again.call.number > first.call.number
            if is_later and _TEST.search(other) and _TRAIN.sub("*", text) == _TEST.sub("*", other):
                yield first, again


def _results(code: Code, fit: Fit, end: int) -> list[Call]:
    """The calls that give what something has learned from, transformed, before another call."""
    if fit.call.name == ".fit_transform":
        return [fit.call]
    data = code.text(fit.data.at)
    return [
        call for call in code.calls_of(".transform")
        if fit.call.number < call.number < end and constructed(code, call.receiver) is fit.made
        and call.arguments and code.text(call.arguments[0].at) == data
    ]  # fmt: skip


def _used(code: Code, *made: Call) -> dict[str, set[int]]:
    """The models, by the calls that made them, that fit, score and predict the result of a call, as it is."""
    found: dict[str, set[int]] = {".fit": set(), ".score": set(), ".predict": set()}
    for call in code.calls_of(".fit", ".fit_transform", ".fit_predict", ".score", ".predict", ".predict_proba"):
        kind = ".fit" if call.name.startswith(".fit") else ".predict" if "predict" in call.name else ".score"
        if any(_made_of(code, one) in made for one in call.arguments):
            model = _model_of(code, call)
            found[kind] |= {model} if model != NOWHERE or kind == ".fit" else set()
    return found


def _made_of(code: Code, value: Value) -> Value | None:
    """What gave the rows that a value holds, before they were only wrapped: in a table, with names of columns."""
    found, _ = followed(code, value)
    for _ in range(MOST_STEPS):
        if isinstance(found, Call) and found.name in _RENAMED:
            found, _ = followed(code, found.argument(0))
        elif isinstance(found, Call) and found.name in KEEPING:
            found, _ = followed(code, found.receiver)
        elif isinstance(found, Attribute) and found.name == "values":
            found, _ = followed(code, found.value)
        else:
            break
    return found


def _model_of(code: Code, call: Call) -> int:
    """The call that made the model of `model.fit(X)`, also of `model = Model().fit(X)`, and of the best of a search."""
    model, _ = followed(code, call.receiver)
    for _ in range(MOST_STEPS):
        if isinstance(model, Call) and model.name == ".fit":
            model, _ = followed(code, model.receiver)
        elif isinstance(model, Attribute) and model.name == "best_estimator_":
            model, _ = followed(code, model.value)
        else:
            break
    return model.number if isinstance(model, Call) else NOWHERE


def _parts_around(code: Code, part: Part | None) -> Iterator[Part]:
    """A part of a split, and the part that was split to make it: a test part may be halved for validation."""
    for _ in range(3):
        if part is None:
            return
        yield part
        part = part_of_split(code, part.split.argument(part.array)) if part.array >= 0 else None
