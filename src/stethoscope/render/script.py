"""Repairs as a script, for pandas or for Polars: what a person can read, change, and run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import PurePath

from stethoscope.core.repair import (
    AsDate,
    AsMissing,
    AsNumber,
    Clip,
    Compress,
    CountFromZero,
    Decode,
    DropColumns,
    DropRepeats,
    DropWithout,
    FillIn,
    OneSpelling,
    Repair,
    Repairs,
    Scale,
    Shuffle,
)
from stethoscope.core.text import clean

LIBRARIES = ("pandas", "polars")
WIDTH = 100

VALUES = (DropColumns, Decode, AsMissing, AsNumber, AsDate, OneSpelling, CountFromZero)
"""What is done to any set, and is learned from none."""
ROWS = (DropWithout, DropRepeats, Shuffle)
"""What is done to the rows of the training set alone."""
USUAL = (FillIn, Clip, Compress, Scale)
"""What is learned from the training set, and done to all."""

AS_NUMBER = '''
def as_number(value, units=None):
    """1.5, 1,5, 1,500 and 1.500,0 as numbers, $ 3, 4 % and 5 kg times their unit; None for anything else."""
    sign, text, unit = re.fullmatch(r"([$€£¥]?)\\s*(.*?)\\s*([$€£¥%]|[A-Za-zµ°]{1,4})?", str(value).strip()).groups()
    times = (units or {}).get((sign or unit or "").lower()) if sign or unit else 1
    if re.fullmatch(r"[+-]?\\d+,\\d{1,2}|[+-]?\\d{1,3}(\\.\\d{3})+,\\d+", text):
        text = text.replace(".", "").replace(",", ".")
    elif re.fullmatch(r"[+-]?\\d{1,3}(,\\d{3})+(\\.\\d+)?", text):
        text = text.replace(",", "")
    if times is None or not re.fullmatch(r"[+-]?(\\d+\\.?\\d*|\\.\\d+)(e[+-]?\\d+)?", text, re.IGNORECASE):
        return None
    return float(text) * times
'''
AS_DATE = '''
def as_date(value, forms):
    """The date by the first form that fits; None where none does."""
    for form in forms:
        try:
            return datetime.strptime(str(value).strip(), form)
        except ValueError:
            pass
    return None
'''
DECODED = '''
def decoded(text):
    """A text of UTF-8 that was read as Windows-1252, as it was written."""
    try:
        return text.encode("cp1252").decode("utf-8")
    except (UnicodeError, AttributeError):
        return text
'''


def to_script(repairs: Repairs, library: str = "pandas") -> str:
    """The script that repairs what can be repaired; a comment only, where that is nothing.

    Args:
        repairs: the steps.
        library: `pandas` or `polars`.
    """
    write = _pandas if library == "pandas" else _polars
    lines = [f"# {_words(rule)}: {_words(title)}" for rule, title in repairs.left]
    left = ["", "", "# Left to you:", *lines] if lines else []
    if not repairs.steps:
        return "\n".join(["# Nothing that a script could repair.", *left[1:]]) + "\n"
    parts = [_imports(repairs, library)]
    if repairs.of(AsNumber):
        parts.append(AS_NUMBER)
    if repairs.of(AsDate):
        parts.append(AS_DATE)
    if repairs.of(Decode):
        parts.append(DECODED)
    values, rows, usual = (repairs.of(*kinds) for kinds in (VALUES, ROWS, USUAL))
    first = "frame = frame.copy()" if library == "pandas" else "frame = frame.with_columns(cs.float().fill_nan(None))"
    what = "Values and columns of any set: training, test, or what is served."
    parts.append(_function("clean(frame)", what, [first, *_written(values, write)]))
    if rows:
        parts.append(_function("chosen(train)", "The rows of the training set to learn from.", _written(rows, write)))
    if usual:
        what = "What is learned from the training set: `learned` is empty when that comes, and is kept for all others."
        parts.append(_function("finish(frame, learned)", what, _written(usual, write)))
    parts.append(_repair(bool(rows), bool(usual)))
    parts.append(_run(repairs.files, library))
    return "\n".join(["\n".join(parts).strip(), *left]) + "\n"


def _imports(repairs: Repairs, library: str) -> str:
    own = [
        *(["import re"] if repairs.of(AsNumber) else []),
        *(["from datetime import datetime"] if repairs.of(AsDate) else []),
    ]
    others = ["import polars as pl", "import polars.selectors as cs"]
    if library == "pandas":
        needs_numpy = bool(repairs.of(Compress))
        needs_pandas = bool(repairs.of(AsDate, AsNumber)) or bool(repairs.files)
        others = [*(["import numpy as np"] if needs_numpy else []), *(["import pandas as pd"] if needs_pandas else [])]
    return "\n".join([*own, *([""] if own and others else []), *others, ""])


def _function(head: str, words: str, lines: Iterable[str]) -> str:
    name = "train" if head.startswith("chosen") else "frame"
    body = [f'"""{words}"""', *lines, f"return {name}"]
    return "\n".join(["", f"def {head}:", *(f"    {line}" for line in body), ""])


def _written(steps: Iterable[Repair], write: Callable[[Repair], list[str]]) -> list[str]:
    """The lines of the steps, those of one rule under its name."""
    lines: list[str] = []
    rule = ""
    for step in steps:
        if step.rule != rule:
            rule = step.rule
            lines.append(f"# {rule}")
        lines += write(step)
    return lines


def _repair(rows: bool, usual: bool) -> str:
    train = "chosen(clean(train))" if rows else "clean(train)"
    if not usual:
        body = [f"return [{train}, *map(clean, others)]"]
    else:
        body = [
            "learned = {}  # keep it beside the model, for what is served",
            f"return [finish({train}, learned), *(finish(clean(one), learned) for one in others)]",
        ]
    what = '"""The training set, and any others, repaired; nothing is learned from the others."""'
    return "\n".join(["", "def repair(train, *others):", *(f"    {line}" for line in (what, *body)), ""])


def _run(files: tuple[str, ...], library: str) -> str:
    names = ("train", "test")[: len(files)]
    short = "pd" if library == "pandas" else "pl"
    if not files or any(PurePath(file).suffix not in _READ or set(file) & set("*?[") for file in files):
        return "\n# train, test = repair(train, test)\n"
    reads = ", ".join(f"{short}.{_READ[PurePath(file).suffix][library]}".format(repr(file)) for file in files)
    wrote = [
        f"{name}.to_csv({_beside(file)!r}, index=False)" if library == "pandas" else
        f"{name}.write_csv({_beside(file)!r})"
        for name, file in zip(names, files, strict=True)
    ]  # fmt: skip
    taken = f"{', '.join(names)} = repair({reads})" if len(files) > 1 else f"[{names[0]}] = repair({reads})"
    return "\n".join(["", 'if __name__ == "__main__":', *(f"    {line}" for line in (taken, *wrote)), ""])


_READ = {
    ".csv": {"pandas": "read_csv({})", "polars": "read_csv({}, infer_schema_length=None)"},
    ".tsv": {"pandas": "read_csv({}, sep='\\t')", "polars": "read_csv({}, separator='\\t', infer_schema_length=None)"},
    ".parquet": {"pandas": "read_parquet({})", "polars": "read_parquet({})"},
    ".jsonl": {"pandas": "read_json({}, lines=True)", "polars": "read_ndjson({}, infer_schema_length=None)"},
}


def _beside(file: str) -> str:
    path = PurePath(file)
    return str(path.with_name(f"{path.stem}.repaired.csv"))


def _pandas(step: Repair) -> list[str]:
    match step:
        case DropColumns(columns=columns):
            return _broken("frame = frame.drop(columns=[", columns, '], errors="ignore")')
        case Decode(column=name):
            return [f"{_at(name)} = {_at(name)}.map(decoded)"]
        case AsMissing(column=name, days=days) if days:
            found = f"{_at(name)}.astype(str).str[:10].isin({list(days)!r})"
            return [f"{_at(name)} = {_at(name)}.mask({found})"]
        case AsMissing(column=name, words=words, numbers=numbers):
            some = [*map(repr, words), *map(_number, numbers), *(_texts(numbers) if words else ())]
            return [f"{_at(name)} = {_at(name)}.astype(object).mask({_at(name)}.isin([{', '.join(some)}]))"
                    if words else f"{_at(name)} = {_at(name)}.mask({_at(name)}.isin([{', '.join(some)}]))"]  # fmt: skip
        case AsNumber(column=name):
            lost = _lost(step)
            return [*lost, f"{_at(name)} = pd.to_numeric({_at(name)}.astype(object).map({_reader(step)}))"]
        case AsDate(column=name, forms=forms):
            made = f"{_at(name)} = pd.to_datetime({_at(name)}.map(lambda text: as_date(text, {list(forms)!r})))"
            return [*_doubt(step), made]
        case OneSpelling(column=name, into=into):
            return _mapping(f"{_at(name)} = {_at(name)}.astype(object).replace({{", into, "})")
        case CountFromZero(column=name, labels=labels):
            pairs = ", ".join(f"{label}: {place}" for place, label in enumerate(labels))
            return [f"if {name!r} in frame:", f"    {_at(name)} = {_at(name)}.map({{{pairs}}})"]
        case DropWithout(column=name):
            return [f"train = train.dropna(subset=[{name!r}])"]
        case DropRepeats():
            return ["train = train.drop_duplicates()"]
        case Shuffle():
            return ["train = train.sample(frac=1, random_state=0).reset_index(drop=True)"]
        case FillIn(column=name, how=how, told=told):
            lines = [f"frame[{name + ' missing'!r}] = {_at(name)}.isna()"] if told else []
            if how == "word":
                return [*lines, f'{_at(name)} = {_at(name)}.astype(object).fillna("(none)")']
            value = f"{_at(name)}.median()" if how == "median" else f"{_at(name)}.mode()[0]"
            return [*lines, f"{_at(name)} = {_at(name)}.fillna(learned.setdefault({'usual ' + name!r}, {value}))"]
        case Clip(column=name, low=low, high=high):
            return [f"{_at(name)} = {_at(name)}.clip({_bounds(low, high, 'lower', 'upper')})"]
        case Compress(column=name, how=how, scale=scale, least=least):
            value = f"{_at(name)}.clip(lower={least:g})" if how != "arcsinh" else _at(name)
            value += f" / {scale:g}" if how != "log" else ""
            return [f"{_at(name)} = np.{how}({value})"]
        case Scale(columns=columns):
            return [
                *_broken("for name in [", columns, "]:"),
                "    usual = learned.setdefault(f'scale of {name}', (frame[name].mean(), frame[name].std()))",
                "    frame[name] = (frame[name] - usual[0]) / usual[1]",
            ]


def _polars(step: Repair) -> list[str]:
    match step:
        case DropColumns(columns=columns):
            return _broken("frame = frame.drop([", columns, "], strict=False)")
        case Decode(column=name):
            return [_with(f"{_col(name)}.map_elements(decoded, return_dtype=pl.String)")]
        case AsMissing(column=name, days=days) if days:
            found = f"{_col(name)}.cast(pl.Date).cast(pl.String).is_in({list(days)!r})"
            return [_with(f"pl.when({found}).then(None).otherwise({_col(name)}).alias({name!r})")]
        case AsMissing(column=name, words=words, numbers=numbers):
            column = f"{_col(name)}.cast(pl.String)" if words else _col(name)
            # Polars 2 does not look for whole numbers among others: both are made doubles.
            sought = column if words else f"{column}.cast(pl.Float64)"
            some = ", ".join([*map(repr, words), *_texts(numbers)] if words else map(_double, numbers))
            return [_with(f"pl.when({sought}.is_in([{some}])).then(None).otherwise({column}).alias({name!r})")]
        case AsNumber(column=name):
            made = f"{_col(name)}.cast(pl.String).map_elements({_reader(step)}, return_dtype=pl.Float64)"
            return [*_lost(step), _with(made)]
        case AsDate(column=name, forms=forms):
            made = f"lambda text: as_date(text, {list(forms)!r}), return_dtype=pl.Datetime"
            return [*_doubt(step), _with(f"{_col(name)}.map_elements({made})")]
        case OneSpelling(column=name, into=into):
            return _mapping(f"frame = frame.with_columns({_col(name)}.cast(pl.String).replace({{", into, "}))")
        case CountFromZero(column=name, labels=labels):
            pairs = ", ".join(f"{label}: {place}" for place, label in enumerate(labels))
            made = f"{_col(name)}.replace_strict({{{pairs}}}, default=None, return_dtype=pl.Int64)"
            return [f"if {name!r} in frame.columns:", f"    {_with(made)}"]
        case DropWithout(column=name):
            return [f"train = train.drop_nulls({name!r})"]
        case DropRepeats():
            return ["train = train.unique(maintain_order=True)"]
        case Shuffle():
            return ["train = train.sample(fraction=1.0, shuffle=True, seed=0)"]
        case FillIn(column=name, how=how, told=told):
            lines = [_with(f"{_col(name)}.is_null().alias({name + ' missing'!r})")] if told else []
            if how == "word":
                return [*lines, _with(f'{_col(name)}.cast(pl.String).fill_null("(none)")')]
            value = f"{_at(name)}.median()" if how == "median" else f"{_at(name)}.drop_nulls().mode().min()"
            return [*lines, _with(f"{_col(name)}.fill_null(learned.setdefault({'usual ' + name!r}, {value}))")]
        case Clip(column=name, low=low, high=high):
            return [_with(f"{_col(name)}.clip({_bounds(low, high, 'lower_bound', 'upper_bound')})")]
        case Compress(column=name, how=how, scale=scale, least=least):
            value = f"{_col(name)}.clip(lower_bound={least:g})" if how != "arcsinh" else _col(name)
            return [_with(f"{value}.log()" if how == "log" else f"({value} / {scale:g}).{how}()")]
        case Scale(columns=columns):
            return [
                *_broken("for name in [", columns, "]:"),
                "    usual = learned.setdefault(f'scale of {name}', (frame[name].mean(), frame[name].std()))",
                "    frame = frame.with_columns((pl.col(name) - usual[0]) / usual[1])",
            ]


def _number(value: float) -> str:
    """In code."""
    return f"{value:g}" if math.isfinite(value) else f"float('{value}')"


def _double(value: float) -> str:
    """In code, as a double."""
    return repr(float(value)) if math.isfinite(value) else _number(value)


def _texts(numbers: Iterable[float]) -> list[str]:
    """Numbers as a column of text has them, in code."""
    return [repr(text) for value in numbers for text in (f"{value:g}", f"{value:.1f}")]


def _at(name: str) -> str:
    return f"frame[{name!r}]"


def _col(name: str) -> str:
    # A name between ^ and $ is taken for a pattern by `pl.col`.
    return f"cs.by_name({name!r})" if name.startswith("^") and name.endswith("$") else f"pl.col({name!r})"


def _with(expression: str) -> str:
    return f"frame = frame.with_columns({expression})"


def _bounds(low: float | None, high: float | None, lower: str, upper: str) -> str:
    pairs = ((lower, low), (upper, high))
    return ", ".join(f"{word}={value:.6g}" for word, value in pairs if value is not None)


def _reader(step: AsNumber) -> str:
    """What makes a number of a text, in code."""
    if not step.units:
        return "as_number"
    units = ", ".join(f"{name!r}: {size:.10g}" for name, size in step.units)
    return f"lambda value: as_number(value, {{{units}}})"


def _lost(step: AsNumber) -> list[str]:
    lines = [f"# {', '.join(map(repr, step.lost))} and the like become missing"] if step.lost else []
    return [*lines, f"# {_words(step.doubt)}: look before you trust it"] if step.doubt else lines


def _doubt(step: AsDate) -> list[str]:
    return [f"# {_words(step.doubt)}: look before you trust it"] if step.doubt else []


def _mapping(head: str, pairs: tuple[tuple[str, str], ...], tail: str) -> list[str]:
    return _broken(head, (f"{one!r}: {other!r}" for one, other in pairs), tail, written=str)


def _broken(head: str, items: Iterable[str], tail: str, written: Callable[[str], str] = repr) -> list[str]:
    """Items between head and tail, over several lines where one would be long."""
    texts = [written(item) for item in items]
    if len(head) + sum(len(text) + 2 for text in texts) + len(tail) <= WIDTH:
        return [f"{head}{', '.join(texts)}{tail}"]
    lines = [head]
    row = ""
    for text in texts:
        if row and len(row) + len(text) > WIDTH - 8:
            lines.append(f"    {row.strip()}")
            row = ""
        row += f"{text}, "
    return [*lines, f"    {row.strip()}", tail]


def _words(text: str) -> str:
    """The text on one line, without characters that would end a comment."""
    return " ".join(clean(text).split())
