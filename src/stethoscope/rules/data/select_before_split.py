"""Features chosen with the labels of all rows, before they are split."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Finding, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Code
from stethoscope.facts.splits import SELECTING
from stethoscope.rules.leaking import before_splits, first_and_then, seen_by
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code


class SelectBeforeSplit(Rule):
    """Features are chosen or made with the labels of all rows, and the split comes after it.

    ## What it sees
    A selector, a target encoder or a supervised projection that learns from features and labels, and whose result is
    given to `train_test_split`.
    ## Why it hurts
    The labels of the test rows choose the features. With many features this alone gives high scores on data without
    any signal.
    ## How to fix it
    Split first and choose with the training part; best in a `Pipeline` with the model.
    ## When it is not a fault
    A choice that looks at no labels and at no values. That is not reported.
    ## Sources
    scikit-learn user guide, "Common pitfalls and recommended practices: data leakage during pre-processing"; Hastie,
    Tibshirani, Friedman, "The Elements of Statistical Learning", 7.10.2 (2009).
    """

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for what was chosen before a split, in what is split."""
        for fit, split in before_splits(file, SELECTING):
            yield self.finding(
                fitting(f"`{fit.name}` learns from all labels, and the split comes later", "a choice before the split"),
                sureness=Sureness.CERTAIN,
                place=place_in(file, fit.call.at),
                evidence=[seen_by(file, fit.call, fit.name, "the training part")],
                cause=f"The rows are split on {line_of(file, split.at)}, so the labels of the test part have had a "
                "say in which features there are.",
                fixes=[
                    "Split first, and choose with the training part:\n"
                    + code(
                        "X_train, X_test, y_train, y_test = train_test_split(X, y)",
                        f"model = make_pipeline({fit.name}(), classifier).fit(X_train, y_train)",
                    )
                ],
                chain=first_and_then(file, fit.call, f"`{fit.name}` learns from all rows", split, "they are split"),
            )

    on_trial = True
    bad_code = {
        "chosen, then split": """
            from sklearn.feature_selection import SelectKBest, f_classif
            from sklearn.model_selection import train_test_split

            def prepare(X, y):
                X_new = SelectKBest(f_classif, k=20).fit_transform(X, y)  # bad
                return train_test_split(X_new, y)
            """,
        "categories by their labels": """
            import pandas as pd
            from sklearn.preprocessing import TargetEncoder
            from sklearn.model_selection import train_test_split

            df = pd.read_csv("data.csv")
            encoder = TargetEncoder()
            df[["city"]] = encoder.fit_transform(df[["city"]], df["label"])  # bad
            train, test = train_test_split(df)
            """,
    }
    good_code = {
        "split first": """
            from sklearn.feature_selection import SelectKBest
            from sklearn.model_selection import train_test_split

            def prepare(X, y):
                X_train, X_test, y_train, y_test = train_test_split(X, y)
                best = SelectKBest(k=20).fit(X_train, y_train)
                return best.transform(X_train), best.transform(X_test)
            """,
        "an inner split of the training part": """
            from sklearn.feature_selection import SelectKBest
            from sklearn.model_selection import train_test_split

            def prepare(X, y):
                X_train, X_test, y_train, y_test = train_test_split(X, y)
                X_best = SelectKBest(k=20).fit_transform(X_train, y_train)
                return train_test_split(X_best, y_train)
            """,
    }
