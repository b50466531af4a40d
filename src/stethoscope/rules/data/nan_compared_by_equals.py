"""A comparison with NaN, which never holds."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import At, Call, Code, Constant, Group, Operation, Symbol, Value
from stethoscope.facts.expressions import comparisons_in_keys, operations_of
from stethoscope.facts.things import binding_of
from stethoscope.rules.changing import Edits, imported_as
from stethoscope.rules.lines import edit_of, place_in, quoted
from stethoscope.rules.sites import code

NAN = frozenset({"numpy.nan", "numpy.NaN", "numpy.NAN", "math.nan", "torch.nan", "pandas.NA", "pandas.NaT"})
_ORDERS = ("<", ">", "<=", ">=")
_WORDS = re.compile(r"[=!]=|\bnan\b", re.I)


class NanComparedByEquals(Rule):
    """Missing values are looked for by `== np.nan`, which is never true.

    ## What it sees
    `==` or `!=` with `np.nan`, `math.nan`, `float("nan")`, `pd.NaT` or `pd.NA`.
    ## Why it hurts
    NaN equals nothing, itself included: the comparison is false for every value (`!=`: true), missing ones stay where
    they are, and no error says so.
    ## How to fix it
    `isna()` of pandas, `np.isnan`, `math.isnan`, `torch.isnan`.
    ## When it is not a fault
    `x != x`, which is a test for NaN, and columns of Spark or Polars, where NaN equals NaN: neither is reported. Beside
    `isnan` or `isna` of the same value in the same function it is possible at most, as where NaN comes out the same
    way: behind `x != nan and x >= 0`, which it fails, and before `return nan` or `return x`, which arithmetic gives as
    well; behind `isinstance(x, str)`, `dropna()` or `fillna(...)`, which leave none; and in a `print`, which shows it.
    ## Sources
    IEEE 754-2019, 5.11; pandas user guide, "Working with missing data".
    """

    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for such comparisons."""
        if not file.says("nan", "NaN", "NAN", "pd.NA", "NaT") or not file.matches(_WORDS) or _has_its_own_nan(file):
            return
        for operation in (*operations_of(file, "==", "!="), *comparisons_in_keys(file)):
            named = [one for one in operation.operands if _is_nan(one)]
            if len(named) != 1:
                continue
            other = next(one for one in operation.operands if one is not named[0])
            value = quoted(file, other, "`x`").strip("`")
            asked, is_safe, edits = _asked(file, operation, other)
            result = "false" if operation.operator == "==" else "true"
            yield self.finding(
                f"a comparison with NaN is {result} for every value",
                sureness=Sureness.POSSIBLE if _is_harmless(file, operation, other) else Sureness.CERTAIN,
                place=place_in(file, operation.at),
                evidence=[
                    Evidence("values for which it is another", 0, "the missing ones", "by IEEE 754, and for `pd.NA`")
                ],
                cause="NaN equals nothing, itself included.",
                fixes=[
                    Fix("Ask whether it is missing:\n" + code(asked or f"pd.isna({value})"), safe=is_safe, edits=edits)
                ],
            )

    bad_code = {
        "rows without an age": """
            import numpy as np
            import pandas as pd

            df = pd.read_csv("data.csv")
            missing = df[df["age"] == np.nan]  # bad
            """,
        "rows that are assigned to": """
            import numpy as np
            import pandas as pd

            def filled(depth):
                depth[depth == np.nan] = 0  # bad
                return pd.DataFrame(depth)
            """,
        "in a condition": """
            import math

            def clean(loss):
                if loss != math.nan:  # bad
                    return loss
                if float("nan") == loss:  # bad
                    return 0
            """,
    }
    good_code = {
        "asked": """
            import numpy as np
            import pandas as pd

            df = pd.read_csv("data.csv")
            missing = df[df["age"].isna()]
            odd = [x for x in df["age"] if x != x or x is np.nan]
            """,
        "a replacement": """
            import numpy as np

            def clean(df):
                return df.replace("?", np.nan) if df.size == 0 else df
            """,
    }


_OTHER_TABLES = ("pyspark", "polars", "snowflake", "databricks", "duckdb", "ibis", "datafusion", "sqlframe", "sympy")
"""Libraries whose comparisons are expressions of their own, and where NaN equals NaN in some."""
_ASKS = r"is_?nan|is_?na|is_?null|not_?na|not_?null|isfinite"


def _has_its_own_nan(file: Code) -> bool:
    """Whether a file compares columns of a library that has rules of its own for NaN."""
    return any(name.partition(".")[0] in _OTHER_TABLES for name, dots, _ in file.imports if not dots)


def _is_asked_as_well(file: Code, operation: Operation, other: Value) -> bool:
    """Whether the line of a comparison, or its function, asks of the same value for NaN as one should, too: what is
    left for the comparison may be texts.
    """
    at, name = operation.at, re.escape(file.text(other.at))
    asks = re.compile(
        rf"\b(?i:{_ASKS})\(\s*{name}\s*[,)]|(?<![\w.]){name}\.(?i:{_ASKS})\("
        rf"|(?<![\w.]){name}\s*[!=]=\s*{name}(?![\w.(\[])"
    )
    home = _home_of(file, at, at)
    lines = file.lines[home.line - 1 : home.end_line]
    return bool(name) and any(asks.search(line.partition("#")[0]) for line in lines)


def _home_of(file: Code, at: At, default: At) -> At:
    """Where the innermost function around a place stands."""
    around = [one.at for one in file.functions[1:] if one.at.line <= at.line and at.end_line <= one.at.end_line]
    return max(around, key=lambda one: one.line, default=default)


def _is_harmless(file: Code, operation: Operation, other: Value) -> bool:
    """Whether missing values are told beside, or go the same way without the comparison."""
    return (
        _is_asked_as_well(file, operation, other)
        or _is_ordered_beside(file, operation, other)
        or _is_answered_by_nan(file, operation, other)
        or _is_text_beside(file, operation, other)
        or _has_none_left(file, operation, other)
        or _is_printed(file, operation)
    )


def _is_text_beside(file: Code, operation: Operation, other: Value) -> bool:
    """Whether the same condition asks for a text first, which NaN is not: `isinstance(x, str) and x != nan`."""
    if operation.operator != "!=":
        return False
    asks = re.compile(rf"\bisinstance\(\s*{re.escape(file.text(other.at))}\s*,\s*str\s*\)")
    return any(
        asks.match(file.text(part.at))
        for both in operations_of(file, "and")
        if any(one.at == operation.at for one in both.operands)
        for part in both.operands
    )


def _has_none_left(file: Code, operation: Operation, other: Value) -> bool:
    """Whether the table that is compared was freed of missing values before, in the same function."""
    root = re.match(r"\w+", file.text(other.at))
    if root is None:
        return False
    name, home = root.group(), _home_of(file, operation.at, file.functions[0].at)
    column = re.search(r"\[['\"](\w+)['\"]\]$", file.text(other.at))
    subset = rf"subset\s*=\s*\[?[^()]*['\"]{column.group(1)}['\"][^()]*" if column else ""
    frees = re.compile(
        rf"^\s*{name}\s*=\s*{name}(?:\.\w+\([^()]*\))*\.(?:dropna\(\s*(?:{subset})?\)|fillna\()"
        rf"|^\s*{name}\.(?:dropna|fillna)\([^()]*inplace\s*=\s*True"
    )
    return any(frees.search(line) for line in file.lines[max(home.line - 1, 0) : operation.at.line - 1])


def _is_printed(file: Code, operation: Operation) -> bool:
    """Whether nothing but a print gets the answer: it is shown what NaN does."""
    return any(any(one.at == operation.at for one in call.arguments) for call in file.calls_of("builtins.print"))


def _is_ordered_beside(file: Code, operation: Operation, other: Value) -> bool:
    """Whether an order is asked of the same value, too, which NaN has not: `x != nan and x >= 0`."""
    if operation.operator != "!=":
        return False
    name = file.text(other.at)
    for both in operations_of(file, "and"):
        if any(one.at == operation.at for one in both.operands):
            ordered = [one for one in both.operands if isinstance(one, Operation) and one.operator in _ORDERS]
            return any(file.text(part.at) == name for one in ordered for part in one.operands)
    return False


def _is_answered_by_nan(file: Code, operation: Operation, other: Value) -> bool:
    """Whether nothing but NaN, or what is compared with it, is returned where it would hold: a formula of NaN gives NaN
    as well.
    """
    if operation.operator != "==":
        return False
    branches = {
        number for number, one in enumerate(file.contexts)
        if one.kind == "if" and one.value is not None and one.value.at == operation.at
    }  # fmt: skip
    given = [one.value for function in file.functions for one in function.returns if one.context in branches]
    parts = [part for one in given for part in (one.items if isinstance(one, Group) else (one,))]
    made = binding_of(file, other)
    same = {file.text(other.at)}
    if made is not None and isinstance(made.value, Call):
        same |= {file.text(one.at) for one in made.value.arguments}
    return bool(parts) and all(_is_nan(one) or file.text(one.at) in same for one in parts)


def _is_nan(value: Value) -> bool:
    if isinstance(value, Symbol):
        return value.name in NAN
    text = (
        value.arguments[0] if isinstance(value, Call) and value.name == "builtins.float" and value.arguments else None
    )
    return isinstance(text, Constant) and isinstance(text.value, str) and text.value.strip("+- ").lower() == "nan"


def _asked(file: Code, operation: Operation, other: Value) -> tuple[str, bool, Edits]:
    """The question that was meant, with what this file imports; whether it takes values of all kinds; the edit."""
    text = file.text(other.at)
    at = operation.at
    if len(operation.operands) != 2 or not text or other.at.line != other.at.end_line or at.line != at.end_line:
        return "", False, ()
    is_equal = operation.operator == "=="
    if pandas := imported_as(file, "pandas"):
        asked, is_safe = f"{pandas}.{'isna' if is_equal else 'notna'}({text})", True
    elif numpy := imported_as(file, "numpy"):
        asked, is_safe = f"{'' if is_equal else '~'}{numpy}.isnan({text})", False  # numbers only
    elif math := imported_as(file, "math"):
        asked, is_safe = f"{'' if is_equal else 'not '}{math}.isnan({text})", False
    else:
        return "", False, ()
    return asked, is_safe, (edit_of(file, at, asked),)
