"""Rows that are copied or made up before the split."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Finding, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Code
from stethoscope.facts.splits import resampled_in, splits_of
from stethoscope.rules.leaking import first_and_then, seen_by
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code


class ResampleBeforeSplit(Rule):
    """Rows of rare classes are copied or made up, and the split comes after it.

    ## What it sees
    `fit_resample` of an over-sampler of imbalanced-learn, or `sklearn.utils.resample` with replacement, whose result is
    given to `train_test_split`.
    ## Why it hurts
    Copies of one row, or mixtures of its neighbours, land on both sides of the split: the test part asks for what the
    model has seen. Its classes are also balanced, as no real data will be.
    ## How to fix it
    Split first, and resample the training part only; in cross-validation with the `Pipeline` of imbalanced-learn.
    ## When it is not a fault
    Rows that are only left out are not copied, and are not reported.
    ## Sources
    imbalanced-learn user guide, "Common pitfalls and recommended practices: data leakage".
    """

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for resampled rows in what is split."""
        told = set()
        for split in splits_of(file):
            for data in split.call.arguments:
                for call, name in resampled_in(file, data):
                    if call.number in told:
                        continue
                    told.add(call.number)
                    yield self.finding(
                        fitting(f"`{name}` copies rows, and the split comes later", "rows are copied before the split"),
                        sureness=Sureness.CERTAIN,
                        place=place_in(file, call.at),
                        evidence=[seen_by(file, call, name, "the training part")],
                        cause="Copies and mixtures of one row land on both sides of the split on "
                        f"{line_of(file, split.call.at)}.",
                        fixes=[
                            "Split first, and resample the training part only:\n"
                            + code(
                                "X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y)",
                                "X_train, y_train = sampler.fit_resample(X_train, y_train)",
                            )
                        ],
                        chain=first_and_then(file, call, f"`{name}` adds rows", split.call, "they are split"),
                    )

    on_trial = True
    bad_code = {
        "synthetic rows": """
            from imblearn.over_sampling import SMOTE
            from sklearn.model_selection import train_test_split

            def prepare(X, y):
                X_res, y_res = SMOTE(random_state=0).fit_resample(X, y)  # bad
                return train_test_split(X_res, y_res)
            """,
        "copies, joined again": """
            import pandas as pd
            from sklearn.model_selection import train_test_split
            from sklearn.utils import resample

            df = pd.read_csv("data.csv")
            many, few = df[df.label == 0], df[df.label == 1]
            more = resample(few, replace=True, n_samples=len(many))  # bad
            df = pd.concat([many, more])
            X_train, X_test, y_train, y_test = train_test_split(df.drop("label", axis=1), df["label"])
            """,
    }
    good_code = {
        "the training part": """
            from imblearn.over_sampling import SMOTE
            from sklearn.model_selection import train_test_split

            def prepare(X, y):
                X_train, X_test, y_train, y_test = train_test_split(X, y)
                X_train, y_train = SMOTE().fit_resample(X_train, y_train)
                return X_train, X_test, y_train, y_test
            """,
        "rows left out": """
            from imblearn.under_sampling import RandomUnderSampler
            from sklearn.model_selection import train_test_split
            from sklearn.utils import resample

            def prepare(X, y):
                X, y = RandomUnderSampler().fit_resample(X, y)
                X, y = resample(X, y, replace=False, n_samples=500)
                return train_test_split(X, y)
            """,
        "an inner split": """
            from imblearn.over_sampling import SMOTE
            from sklearn.model_selection import train_test_split

            def prepare(X, y):
                X_train, X_test, y_train, y_test = train_test_split(X, y)
                return SMOTE().fit_resample(X_train, y_train), X_test, y_test
            """,
    }
