"""A scaler that learns from the test part again."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Code
from stethoscope.facts.splits import SCALING, SELECTING, fitted_again
from stethoscope.rules.leaking import first_and_then
from stethoscope.rules.lines import fitting, line_of, place_in, quoted
from stethoscope.rules.sites import code


class FitOnTestData(Rule):
    """A transformer learns from the training part, and once more from the test part.

    ## What it sees
    `fit` or `fit_transform` on the part of `train_test_split` that is for testing, of a transformer that has learned
    from the training part as well.
    ## Why it hurts
    The test rows are brought to a scale of their own: one value means two things, and a shift between the parts, which
    the test should show, is taken out. Nothing of the kind can be done for a single new row.
    ## How to fix it
    `transform` for the test part, with what was learned from the training part.
    ## When it is not a fault
    A transformer with nothing to learn, or another split that only looks like a test. Neither is reported.
    ## Sources
    scikit-learn user guide, "Common pitfalls and recommended practices: inconsistent preprocessing".
    """

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for a second fit, on the test part."""
        for first, again in fitted_again(file, SCALING | SELECTING):
            data = quoted(file, again.data, "test rows")
            yield self.finding(
                fitting(f"`{again.name}` learns from the test part {data} again", f"`{again.name}` fits test rows"),
                sureness=Sureness.CERTAIN,
                place=place_in(file, again.call.at),
                evidence=[
                    Evidence(
                        f"fits of `{again.name}` on the two parts of one split", 2, "1, on the training part",
                        "followed through the code",
                    )
                ],
                cause=f"What was learned on {line_of(file, first.call.at)} is not what the test rows are transformed "
                "with, so the model meets them on another scale.",
                fixes=[
                    "Apply what the training part has taught:\n" + code(f"transformer.transform({data.strip('`')})")
                ],
                chain=first_and_then(file, first.call, "learns from the training part", again.call, "learns again"),
            )  # fmt: skip

    on_trial = True
    bad_code = {
        "one scaler, fitted twice": """
            from sklearn.model_selection import train_test_split
            from sklearn.preprocessing import StandardScaler

            def prepare(X, y):
                X_train, X_test, y_train, y_test = train_test_split(X, y)
                sc = StandardScaler()
                X_train = sc.fit_transform(X_train)
                X_test = sc.fit_transform(X_test)  # bad
                return X_train, X_test
            """,
        "two scalers": """
            from sklearn.model_selection import train_test_split
            from sklearn.preprocessing import MinMaxScaler

            def prepare(df):
                train, test = train_test_split(df)
                a = MinMaxScaler().fit(train[["age"]])
                b = MinMaxScaler()
                b.fit(test[["age"]])  # bad
                return a.transform(train[["age"]]), b.transform(test[["age"]])
            """,
        "a test part that was halved": """
            from sklearn.model_selection import train_test_split
            from sklearn.preprocessing import StandardScaler

            def prepare(X, y):
                X_train, X_rest, y_train, y_rest = train_test_split(X, y)
                X_test, X_val, y_test, y_val = train_test_split(X_rest, y_rest)
                a = StandardScaler().fit_transform(X_train)
                b = StandardScaler().fit_transform(X_val)  # bad
                return a, b
            """,
    }
    good_code = {
        "fitted once": """
            from sklearn.model_selection import train_test_split
            from sklearn.preprocessing import StandardScaler

            def prepare(X, y):
                X_train, X_test, y_train, y_test = train_test_split(X, y)
                sc = StandardScaler()
                return sc.fit_transform(X_train), sc.transform(X_test)
            """,
        "a scale for each array": """
            from sklearn.model_selection import train_test_split
            from sklearn.preprocessing import StandardScaler

            def prepare(X, y):
                X_train, X_test, y_train, y_test = train_test_split(X, y)
                sc_x, sc_y = StandardScaler().fit(X_train), StandardScaler().fit(y_train)
                return sc_x.transform(X_test), sc_y.transform(y_test)
            """,
        "nothing learned from the training part": """
            from sklearn.decomposition import PCA
            from sklearn.model_selection import train_test_split

            def show(X, y, plot):
                X_train, X_test, y_train, y_test = train_test_split(X, y)
                plot(PCA(2).fit_transform(X_test), y_test)
            """,
    }
