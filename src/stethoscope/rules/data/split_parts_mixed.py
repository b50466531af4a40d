"""A model that is given features of one part of a split and labels, or more features, of the other."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Code
from stethoscope.facts.splits import part_of_split
from stethoscope.rules.lines import fitting, line_of, place_in, quoted
from stethoscope.rules.sites import code


class SplitPartsMixed(Rule):
    """A model is fitted to features of one part of a split, with labels that are not those of these rows.

    ## What it sees
    `fit(a, b)` where `a` and `b` come from one `train_test_split`, and are of different parts, or of one array: its
    results were unpacked in another order than it gives them.
    ## Why it hurts
    `train_test_split(X, y)` gives `X_train, X_test, y_train, y_test`, in this order. Unpacked otherwise, the model
    learns from rows and labels that do not belong together.
    ## How to fix it
    Unpack in the order of the function.
    ## When it is not a fault
    A split of one array into inputs and targets by chance. That is not known to exist.
    ## Sources
    scikit-learn documentation, `train_test_split`: "list containing train-test split of inputs".
    """

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at what is fitted to what."""
        for call in file.calls_of(".fit"):
            x, y = part_of_split(file, call.argument(0, "X")), part_of_split(file, call.argument(1, "y"))
            if x is None or y is None or x.split is not y.split or len(x.split.arguments) < 2:
                continue
            if x.which == y.which and x.array != y.array:
                continue
            if x.array == y.array > 0:
                continue  # labels of both parts: not an estimator's `fit`
            first = quoted(file, call.argument(0, "X"), "features")
            second = quoted(file, call.argument(1, "y"), "labels")
            yield self.finding(
                fitting(f"{first} is fitted to {second} of other rows", "features and labels are of different rows"),
                sureness=Sureness.CERTAIN,
                place=place_in(file, call.at),
                evidence=[
                    Evidence(
                        f"what {second} holds, of the split on {line_of(file, x.split.at)}",
                        f"the {y.which} part of argument {y.array + 1}",
                        f"the {x.which} part of the labels, for the {x.which} part of argument {x.array + 1}",
                    )
                ],
                cause="`train_test_split` gives both parts of its first argument, then both parts of the next; they "
                "are unpacked in another order.",
                fixes=["Unpack in this order:\n" + code("X_train, X_test, y_train, y_test = train_test_split(X, y)")],
                chain=[Link(place_in(file, x.split.at), "unpacked here"), Link(place_in(file, call.at), "fitted")],
            )

    on_trial = True
    bad_code = {
        "unpacked part by part": """
            from sklearn.linear_model import LogisticRegression
            from sklearn.model_selection import train_test_split

            def train(X, y):
                X_train, y_train, X_test, y_test = train_test_split(X, y)
                return LogisticRegression().fit(X_train, y_train)  # bad
            """,
        "labels of the test part": """
            from sklearn.linear_model import LogisticRegression
            from sklearn.model_selection import train_test_split

            def train(X, y):
                X_train, X_test, y_train, y_test = train_test_split(X, y)
                model = LogisticRegression()
                model.fit(X_train, y_test)  # bad
            """,
    }
    good_code = {
        "labels beside labels, to show their shares": """
            from sklearn.model_selection import train_test_split

            _, _, y_train, y_test = train_test_split(X, y)
            balance = ClassBalance()
            balance.fit(y_train, y_test)
            """,
        "unpacked in order": """
            from sklearn.linear_model import LogisticRegression
            from sklearn.model_selection import train_test_split

            def train(X, y):
                X_train, X_test, y_train, y_test = train_test_split(X, y)
                return LogisticRegression().fit(X_train, y_train)
            """,
        "a table, split as a whole": """
            from sklearn.linear_model import LogisticRegression
            from sklearn.model_selection import train_test_split

            def train(df):
                train, test = train_test_split(df)
                return LogisticRegression().fit(train.drop("y", axis=1), train["y"])
            """,
    }
