"""Rows that hold their neighbours' values, split at random."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Attribute, Call, Code, Item, Name, Value
from stethoscope.facts.splits import splits_of
from stethoscope.facts.stored_columns import columns_set, first_inside, whole_number
from stethoscope.facts.things import followed, literal
from stethoscope.rules.lines import line_of, place_in
from stethoscope.rules.sites import code

_WINDOWS = frozenset({".rolling", ".ewm", ".expanding"})
_SHIFTS = frozenset({".shift", ".diff", ".pct_change"})


class ShuffledTimeSplit(Rule):
    """Rows with lags or rolling means of their neighbours are split at random, and not in time.

    ## What it sees
    Columns made by `shift`, `diff`, `pct_change` or `rolling` in the table that `train_test_split` shuffles.
    ## Why it hurts
    The order of such rows is time. A test row lies between training rows that hold its value as their lag, or share
    its window: the score measures how well gaps are filled, and not how well the future is foretold.
    ## How to fix it
    `train_test_split(..., shuffle=False)`, or `TimeSeriesSplit`.
    ## When it is not a fault
    Lags within groups, such as the earlier visits of a patient: those after `groupby` are not reported.
    ## Sources
    scikit-learn user guide, "Cross validation of time series data".
    """

    on_trial = True
    severity = Severity.WARNING

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for windows and lags in what is split at random."""
        if not file.calls_of(*_WINDOWS, *_SHIFTS):
            return
        for split in splits_of(file):
            call = split.call
            if call.is_open or literal(file, call.keyword("shuffle")) is False or call.keyword("stratify") is not None:
                continue
            lag = _lag_in(file, call)
            if lag is None:
                continue
            yield self.finding(
                "rows that hold their neighbours' values are split at random",
                sureness=Sureness.LIKELY,
                place=place_in(file, call.at),
                evidence=[
                    Evidence(f"columns with values of other rows, the first on {line_of(file, lag.at)}", "1 or more",
                             "0, or a split in time")
                ],
                cause=f"`{lag.name[1:]}` puts the rows before into each row, and the split leaves rows of the test "
                "between rows of the training.",
                fixes=["Let the test be the last rows:\n" + code("train_test_split(X, y, shuffle=False)")],
                unless="the rows are in no order of time.",
                chain=[
                    Link(place_in(file, lag.at), "rows get values of the rows before"),
                    Link(place_in(file, call.at), "they are split at random"),
                ],
            )  # fmt: skip

    bad_code = {
        "a lag": """
            import pandas as pd
            from sklearn.model_selection import train_test_split

            df = pd.read_csv("load.csv")
            df["before"] = df["load"].shift(1)
            df["mean"] = df["load"].rolling(24).mean()
            df = df.dropna()
            X, y = df.drop(columns="load"), df["load"]
            parts = train_test_split(X, y, test_size=0.2)  # bad
            """,
    }
    good_code = {
        "in time": """
            import pandas as pd
            from sklearn.model_selection import train_test_split

            df = pd.read_csv("load.csv")
            df["before"] = df["load"].shift(1)
            X, y = df.dropna().drop(columns="load"), df["load"]
            parts = train_test_split(X, y, test_size=0.2, shuffle=False)
            """,
        "within groups": """
            import pandas as pd
            from sklearn.model_selection import train_test_split

            df = pd.read_csv("visits.csv")
            df["before"] = df.groupby("patient")["pressure"].shift(1)
            parts = train_test_split(df.drop(columns="outcome"), df["outcome"])
            """,
        "another table": """
            import pandas as pd
            from sklearn.model_selection import train_test_split

            df, other = pd.read_csv("load.csv"), pd.read_csv("cars.csv")
            df["before"] = df["load"].shift(1)
            parts = train_test_split(other.drop(columns="price"), other["price"])
            """,
    }


def _is_lag(file: Code, call: Call) -> bool:
    if first_inside(file, call.receiver, lambda one: one.name == ".groupby") is not None:
        return False
    if call.name in _WINDOWS:
        return True
    periods = whole_number(file, call.argument(0, "periods"))
    return call.name in _SHIFTS and (periods is None or periods > 0)


def _lag_in(file: Code, split: Call) -> Call | None:
    """A lag or a window in the table that a split is given."""
    table = _table(file, split.argument(0))
    index = file.function_at(split.context)
    for column in columns_set(file):
        if column.table == table and column.function == index and column.order < split.number:
            found = first_inside(file, column.value, lambda call: _is_lag(file, call))
            if found is not None:
                return found
    return None


def _table(file: Code, value: Value | None) -> str:
    """The variable of the table that features come from."""
    for _ in range(12):
        last = value.name if isinstance(value, Name) else ""
        found, way = followed(file, value)
        if way:
            last = way[-1].name
        if isinstance(found, Attribute | Item):
            value = found.value
        elif isinstance(found, Call) and found.receiver is not None and found.name in (
            ".drop", ".copy", ".dropna", ".to_numpy", ".astype", ".reset_index", ".fillna",
        ):  # fmt: skip
            value = found.receiver
            if isinstance(value, Name):
                return value.name
        else:
            return last
        if isinstance(value, Name):
            return value.name
    return ""
