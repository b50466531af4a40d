"""A feature that is computed from later rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, Attribute, Call, Code, Item, Name, Value
from stethoscope.facts.splits import SPLITTERS
from stethoscope.facts.stored_columns import Column, columns_set, first_inside, named, whole_number
from stethoscope.facts.things import followed, literal
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

_KEEPING = frozenset({".copy", ".dropna", ".to_numpy", ".reset_index", ".astype", ".fillna", ".sort_index"})


class _Features(NamedTuple):
    table: str
    names: tuple[str, ...] | None
    """The columns; None where those that are dropped are known."""
    dropped: tuple[str, ...]
    value: Value


class LookAheadFeature(Rule):
    """A column that is computed from later rows is among the features.

    ## What it sees
    `df["a"] = df["price"].shift(-1)`, or a centred rolling window, where the column stays in the features that are
    given to `fit` or to a split, and is not the target.
    ## Why it hurts
    Each row knows what comes after it. Scores are far too good, and the column cannot be computed when the model is
    used, since the later rows are not there yet.
    ## How to fix it
    Leave the column out of the features, or look back: `shift(1)`, `rolling(5)`.
    ## When it is not a fault
    A target that is to be predicted: the column that is given as the target is not reported.
    ## Sources
    Kaufman et al., "Leakage in Data Mining" (2012); scikit-learn example, "Lagged features for time series
    forecasting".
    """

    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Follow columns that look ahead into the features of a model."""
        ahead = _ahead(file)
        if not ahead:
            return
        told = set()
        for call in file.calls_of(*SPLITTERS, ".fit"):
            features, target = _features(file, call.argument(0, "X")), _column(file, call.argument(1, "y"))
            if features is None or target is None:
                continue
            for column in ahead:
                if column.key in told or column.key == target or column.table != features.table:
                    continue
                if column.order > call.number or column.function != file.function_at(call.context):
                    continue
                inside = column.key in features.names if features.names is not None else (
                    column.key not in features.dropped and not _is_taken_out(file, column)
                )  # fmt: skip
                if inside:
                    told.add(column.key)
                    yield self._read(file, column, features, call)

    def _read(self, file: Code, column: Column, features: _Features, call: Call) -> Finding:
        return self.finding(
            fitting(f"feature `{column.key}` is computed from later rows", "a feature is computed from later rows"),
            sureness=Sureness.CERTAIN,
            place=place_in(file, column.at),
            evidence=[
                Evidence(f"features given on {line_of(file, call.at)} that hold later rows", 1, 0, "read in the code")
            ],
            cause=f"`{column.key}` looks ahead, and it is among the features: each row knows what comes after it.",
            fixes=["Leave it out of the features:\n" + code(f'X = {column.table}.drop(columns=["{column.key}"])')],
            chain=[
                Link(place_in(file, column.at), "the column looks ahead"),
                Link(place_in(file, features.value.at), "it stays among the features"),
                Link(place_in(file, call.at), "they are given to the model, or split"),
            ],
        )

    bad_code = {
        "what the target was made of": """
            import pandas as pd
            from sklearn.linear_model import LogisticRegression
            from sklearn.model_selection import train_test_split

            df = pd.read_csv("prices.csv")
            df["tomorrow"] = df["close"].shift(-1)  # bad
            df["rises"] = (df["tomorrow"] > df["close"]).astype(int)
            df = df.dropna()
            X = df.drop(columns=["rises"])
            y = df["rises"]
            X_train, X_test, y_train, y_test = train_test_split(X, y, shuffle=False)
            """,
        "a centred mean": """
            import pandas as pd
            from sklearn.linear_model import Ridge

            def train(df):
                df["smooth"] = df["load"].rolling(7, center=True).mean()  # bad
                df["next"] = df["load"].shift(-1)
                model = Ridge()
                return model.fit(df[["load", "smooth"]], df["next"])
            """,
    }
    good_code = {
        "looking back": """
            import pandas as pd
            from sklearn.linear_model import Ridge

            def train(df):
                df["before"] = df["load"].shift(1)
                df["smooth"] = df["load"].rolling(7).mean()
                df["next"] = df["load"].shift(-1)
                return Ridge().fit(df[["load", "smooth", "before"]], df["next"])
            """,
        "dropped": """
            import pandas as pd
            from sklearn.model_selection import train_test_split

            df = pd.read_csv("prices.csv")
            df["tomorrow"] = df["close"].shift(-1)
            df["rises"] = (df["tomorrow"] > df["close"]).astype(int)
            X, y = df.drop(columns=["rises", "tomorrow"]), df["rises"]
            parts = train_test_split(X, y, shuffle=False)
            """,
        "dropped before": """
            import pandas as pd
            from sklearn.model_selection import train_test_split

            df = pd.read_csv("prices.csv")
            df["tomorrow"] = df["close"].shift(-1)
            df["rises"] = (df["tomorrow"] > df["close"]).astype(int)
            df = df.drop("tomorrow", axis=1)
            X, y = df.drop(columns="rises"), df["rises"]
            parts = train_test_split(X, y, shuffle=False)
            """,
    }


def _looks_ahead(file: Code, call: Call) -> bool:
    if call.name == ".rolling":
        return literal(file, call.keyword("center")) is True
    if call.name in (".shift", ".diff", ".pct_change"):
        periods = whole_number(file, call.argument(0, "periods"))
        return periods is not None and periods < 0
    return False


def _ahead(file: Code) -> list[Column]:
    """The columns that are computed from later rows, each once."""
    if not file.calls_of(".shift", ".diff", ".pct_change", ".rolling"):
        return []
    return [
        column for column in columns_set(file)
        if first_inside(file, column.value, lambda call: _looks_ahead(file, call)) is not None
    ]  # fmt: skip


def _column(file: Code, value: Value | None) -> str | None:
    """The one column that a value is."""
    found = _table(file, value)
    key = literal(file, found.key) if isinstance(found, Item) else None
    return key if isinstance(key, str) else None


def _table(file: Code, value: Value | None) -> Value | None:
    for _ in range(12):
        found, _ = followed(file, value)
        if isinstance(found, Attribute) and found.name == "values":
            value = found.value
        elif isinstance(found, Call) and found.name in _KEEPING:
            value = found.receiver
        else:
            return found
    return None


def _features(file: Code, value: Value | None) -> _Features | None:
    """The columns of a table that a value has, as far as they are written out."""
    found = _table(file, value)
    if isinstance(found, Item) and isinstance(found.value, Name):
        names = named(file, found.key)
        return _Features(found.value.name, names, (), found) if names is not None and len(names) > 1 else None
    if isinstance(found, Call) and found.name == ".drop" and isinstance(found.receiver, Name):
        wide = found.keyword("columns") is not None or literal(file, found.keyword("axis") or found.argument(1)) in (
            1, "columns",
        )  # fmt: skip
        dropped = named(file, found.keyword("columns") or found.argument(0, "labels"))
        known = found.receiver.binding != NOWHERE and wide and dropped is not None
        return _Features(found.receiver.name, None, dropped or (), found) if known else None
    return None


def _is_taken_out(file: Code, column: Column) -> bool:
    """Whether some line may take a column out of its table: it drops or deletes, and names the column or any."""
    quoted = re.compile(rf"""["']{re.escape(column.key)}["']""")
    for line in file.lines[column.at.line :]:
        if re.search(r"\bdel\b|\.pop\(|\.drop\(|\.loc\[|\.filter\(|\.iloc\[", line) and (
            quoted.search(line)
            or re.search(r"\.(?:drop|pop)\((?:(?:columns|labels) ?= ?)?(?!columns|labels|axis|index)[A-Za-z_]", line)
        ):
            return True
    return False
