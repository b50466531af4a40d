"""The target, left among the features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import At, Attribute, Call, Code, Constant, Group, Item, Name, Operation, Value
from stethoscope.facts.splits import SPLITTERS, constructed
from stethoscope.facts.things import followed
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

KEEPING = (".copy", ".to_numpy", ".astype", ".as_matrix", ".reshape", ".ravel")


class _Columns(NamedTuple):
    """Some columns of a table."""

    table: int
    """The binding of the table."""
    names: tuple[object, ...] | None
    """Their names; None where they are given by number."""
    start: int
    stop: int | None
    at: At


class TargetInFeatures(Rule):
    """The column that is to be predicted is among the features.

    ## What it sees
    Features and target that are cut out of one table with columns that are written out, by name or by number, and where
    the features hold the target's; both are given to `fit` or to `train_test_split`.
    ## Why it hurts
    The model reads the answer off its input: scores are near perfect, and worthless where the answer is not known.
    ## How to fix it
    Leave the column out: `X = df.drop(columns="target")`.
    ## When it is not a fault
    A model that is to copy its input (an autoencoder): its target is all of the features, which is not reported.
    ## Sources
    Kaufman et al., "Leakage in Data Mining" (2012).
    """

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Compare the columns of features and target."""
        told = set()
        for call in file.calls:
            fits = call.name == ".fit" and constructed(file, call.receiver) is not None
            if call.name not in SPLITTERS and not fits:
                continue
            features, target = _columns(file, call.argument(0, "X")), _columns(file, call.argument(1, "y"))
            if features is None or target is None or features.table != target.table or features.at in told:
                continue
            shared = _shared(features, target)
            if shared is None:
                continue
            told.add(features.at)
            shown = f"`{shared}`" if isinstance(shared, str) else f"number {shared}"
            yield self.finding(
                fitting(f"the target, column {shown}, is among the features", "the target is among the features"),
                sureness=Sureness.CERTAIN,
                place=place_in(file, features.at),
                evidence=[
                    Evidence(f"features on {line_of(file, features.at)} that are the target", 1, 0, "read in the code")
                ],
                cause=f"Column {shown} is the target on {line_of(file, target.at)}, and the model is given it as a "
                "feature.",
                fixes=["Leave it out:\n" + code(f"X = df.drop(columns={shared!r})" if isinstance(shared, str) else
                                                f"X = df.drop(columns=df.columns[{shared}])")],
                chain=[
                    Link(place_in(file, features.at), "the features"),
                    Link(place_in(file, target.at), "the target"),
                    Link(place_in(file, call.at), "both are used"),
                ],
            )  # fmt: skip

    on_trial = True
    bad_code = {
        "a list of columns": """
            import pandas as pd
            from sklearn.linear_model import LinearRegression

            df = pd.read_csv("data.csv")
            X = df[["rooms", "area", "price"]]  # bad
            y = df["price"]
            LinearRegression().fit(X, y)
            """,
        "columns by number": """
            import pandas as pd
            from sklearn.model_selection import train_test_split

            data = pd.read_csv("data.csv")
            X = data.iloc[:, 0:5].values  # bad
            y = data.iloc[:, 4].values
            X_train, X_test, y_train, y_test = train_test_split(X, y)
            """,
    }
    good_code = {
        "left out": """
            import pandas as pd
            from sklearn.linear_model import LinearRegression
            from sklearn.model_selection import train_test_split

            df = pd.read_csv("data.csv")
            LinearRegression().fit(df[["rooms", "area"]], df["price"])
            X_train, X_test, y_train, y_test = train_test_split(df.iloc[:, 0:4], df.iloc[:, 4])
            X_train, X_test, y_train, y_test = train_test_split(df.iloc[:, :-1], df.iloc[:, -1])
            """,
        "rebound between": """
            import pandas as pd
            from sklearn.linear_model import LinearRegression

            df = pd.read_csv("a.csv")
            X = df[["rooms", "price"]]
            df = pd.read_csv("b.csv")
            LinearRegression().fit(X, df["price"])
            """,
        "a model that copies": """
            import pandas as pd
            from sklearn.neural_network import MLPRegressor

            df = pd.read_csv("data.csv")
            MLPRegressor().fit(df[["a", "b"]], df[["a", "b"]])
            """,
    }


def _columns(file: Code, value: Value | None) -> _Columns | None:
    """The columns that a value is, where they are written out."""
    for _ in range(12):
        found, _ = followed(file, value)
        if isinstance(found, Attribute) and found.name in ("values", "T"):
            value = found.value
        elif isinstance(found, Call) and found.name in KEEPING:
            value = found.receiver
        else:
            break
    if not isinstance(found, Item):
        return None
    if isinstance(found.value, Attribute) and found.value.name == "iloc":
        return _by_number(found.value.value, found)
    key, _ = followed(file, found.key)
    names = key.items if isinstance(key, Group) and key.kind == "list" else (key,)
    written = tuple(one.value for one in names if isinstance(one, Constant) and isinstance(one.value, str))
    known = isinstance(found.value, Name) and found.value.binding >= 0 and len(written) == len(names)
    return (
        _Columns(found.value.binding, written, 0, None, found.at) if known and isinstance(found.value, Name) else None
    )


def _by_number(table: Value, found: Item) -> _Columns | None:
    """Columns of `table.iloc[:, key]`."""
    key = found.key
    if not isinstance(table, Name) or table.binding < 0 or not isinstance(key, Group) or len(key.items) != 2:
        return None
    which = key.items[1]
    if isinstance(which, Constant) and isinstance(which.value, int) and which.value >= 0:
        return _Columns(table.binding, None, which.value, which.value + 1, found.at)
    if isinstance(which, Operation) and which.operator == ":":
        ends = [one.value for one in which.operands if isinstance(one, Constant)]
        if len(ends) == 3 and ends[2] is None and all(one is None or (type(one) is int and one >= 0) for one in ends):
            return _Columns(table.binding, None, ends[0] or 0, ends[1], found.at)
    return None


def _shared(features: _Columns, target: _Columns) -> str | int | None:
    """The target's one column, where the features have it among others."""
    if features.names is not None and target.names is not None:
        one = target.names[0] if len(target.names) == 1 and len(features.names) > 1 else None
        return one if isinstance(one, str) and one in features.names else None
    if features.names is not None or target.names is not None or target.stop != target.start + 1:
        return None
    wide = features.stop is None or features.stop > features.start + 1
    inside = features.start <= target.start and (features.stop is None or target.start < features.stop)
    return target.start if wide and inside else None
