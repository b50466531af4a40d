"""Categories that are numbered anew for the test part."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Code
from stethoscope.facts.splits import ENCODING, fitted_again
from stethoscope.rules.leaking import first_and_then
from stethoscope.rules.lines import fitting, line_of, place_in, quoted
from stethoscope.rules.sites import code


class EncodersFittedApart(Rule):
    """Categories of the training part and of the test part are numbered apart.

    ## What it sees
    `fit` or `fit_transform` of an encoder on the test part of a split, after the same kind of encoder has numbered the
    training part.
    ## Why it hurts
    Numbers go by what is there, in order. A category that one part lacks moves all behind it: the same number then
    means different things in the two parts, without an error.
    ## How to fix it
    Fit one encoder on the training part, and `transform` the test part with it.
    ## When it is not a fault
    Both parts hold exactly the same categories; then one encoder does as well.
    ## Sources
    scikit-learn documentation, `LabelEncoder`; user guide, "Inconsistent preprocessing".
    """

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for encoders that are fitted on both parts of a split."""
        for first, again in fitted_again(file, ENCODING):
            data = quoted(file, again.data, "test rows")
            yield self.finding(
                fitting(f"`{again.name}` numbers the test part {data} anew", f"`{again.name}` numbers test rows anew"),
                sureness=Sureness.CERTAIN,
                place=place_in(file, again.call.at),
                evidence=[
                    Evidence(
                        f"fits of `{again.name}` on the two parts of one split", 2, "1, on the training part",
                        "followed through the code",
                    )
                ],
                cause=f"Categories got their numbers on {line_of(file, first.call.at)}, and get others where a part "
                "lacks one of them.",
                fixes=[
                    "Use the numbers of the training part:\n" + code(f"encoder.transform({data.strip('`')})")
                ],
                unless="both parts hold the same categories.",
                chain=first_and_then(file, first.call, "the training part", again.call, "the test part"),
            )  # fmt: skip

    on_trial = True
    bad_code = {
        "labels": """
            from sklearn.model_selection import train_test_split
            from sklearn.preprocessing import LabelEncoder

            def prepare(X, y):
                X_train, X_test, y_train, y_test = train_test_split(X, y)
                y_train = LabelEncoder().fit_transform(y_train)
                y_test = LabelEncoder().fit_transform(y_test)  # bad
                return y_train, y_test
            """,
    }
    good_code = {
        "one encoder": """
            from sklearn.model_selection import train_test_split
            from sklearn.preprocessing import LabelEncoder

            def prepare(X, y):
                X_train, X_test, y_train, y_test = train_test_split(X, y)
                encoder = LabelEncoder()
                return encoder.fit_transform(y_train), encoder.transform(y_test)
            """,
        "two columns, an encoder each": """
            from sklearn.model_selection import train_test_split
            from sklearn.preprocessing import LabelEncoder

            def prepare(X, y, z):
                X_train, X_test, y_train, y_test, z_train, z_test = train_test_split(X, y, z)
                return LabelEncoder().fit_transform(y_train), LabelEncoder().fit_transform(z_test)
            """,
    }
