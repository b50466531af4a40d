"""Cross-validation of rows that a transformer has seen all of."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Finding, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Call, Code, Value
from stethoscope.facts.splits import SCALING, SELECTING, constructed, fitted_in
from stethoscope.rules.leaking import first_and_then, seen_by
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

VALIDATING = frozenset({"cross_val_score", "cross_validate", "cross_val_predict", "learning_curve", "validation_curve",
                        "permutation_test_score"})  # fmt: skip
SEARCHING = frozenset({"GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV"})


class PreprocessingOutsideCrossValidation(Rule):
    """A transformer learns from all rows, and its result is then cross-validated.

    ## What it sees
    The result of `fit_transform` as the features of `cross_val_score`, `cross_validate` or a grid search.
    ## Why it hurts
    The rows on which each fold is judged have had a say in what the transformer does. Where it chose features by their
    labels, high scores come out of data without any signal.
    ## How to fix it
    Put the transformer and the model into a `Pipeline` and cross-validate that.
    ## When it is not a fault
    A transformer with nothing to learn is not reported. One that only scales does little harm when rows are many: it
    is a warning, and only possible.
    ## Sources
    scikit-learn user guide, "Common pitfalls: data leakage"; Hastie, Tibshirani, Friedman, "The Elements of Statistical
    Learning", 7.10.2 (2009).
    """

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at what is cross-validated."""
        told = set()
        for call, data in _validations(file):
            for fit in fitted_in(file, data, call.number):
                if fit.name not in SCALING | SELECTING or fit.call.number in told:
                    continue
                told.add(fit.call.number)
                learns = fit.name in SELECTING
                yield self.finding(
                    fitting(f"`{fit.name}` learns from all rows before cross-validation", "a fit outside of the folds"),
                    sureness=Sureness.CERTAIN if learns else Sureness.POSSIBLE,
                    severity=None if learns else Severity.WARNING,
                    place=place_in(file, fit.call.at),
                    evidence=[seen_by(file, fit.call, fit.name, "the training rows of each fold")],
                    cause=f"The folds are made on {line_of(file, call.at)}, so each is judged on rows that "
                    f"`{fit.name}` has learned from.",
                    fixes=[
                        "Let each fold fit its own:\n"
                        + code(f"model = make_pipeline({fit.name}(), estimator)", "cross_val_score(model, X, y, cv=5)")
                    ],
                    chain=first_and_then(file, fit.call, f"`{fit.name}` learns", call, "the folds are made"),
                )

    on_trial = True
    bad_code = {
        "chosen, then validated": """
            from sklearn.feature_selection import SelectKBest
            from sklearn.linear_model import LogisticRegression
            from sklearn.model_selection import cross_val_score

            def judge(X, y):
                X = SelectKBest(k=20).fit_transform(X, y)  # bad
                return cross_val_score(LogisticRegression(), X, y, cv=5)
            """,
        "scaled, then searched": """
            from sklearn.model_selection import GridSearchCV
            from sklearn.preprocessing import StandardScaler
            from sklearn.svm import SVC

            def search(X, y):
                scaled = StandardScaler().fit_transform(X)  # bad
                grid = GridSearchCV(SVC(), {"C": [1, 10]})
                grid.fit(scaled, y)
            """,
    }
    good_code = {
        "a pipeline": """
            from sklearn.linear_model import LogisticRegression
            from sklearn.model_selection import cross_val_score
            from sklearn.pipeline import make_pipeline
            from sklearn.preprocessing import StandardScaler

            def judge(X, y):
                return cross_val_score(make_pipeline(StandardScaler(), LogisticRegression()), X, y)
            """,
        "features of no data": """
            from sklearn.linear_model import LogisticRegression
            from sklearn.model_selection import cross_val_score
            from sklearn.preprocessing import PolynomialFeatures

            def judge(X, y):
                X = PolynomialFeatures(2).fit_transform(X)
                return cross_val_score(LogisticRegression(), X, y)
            """,
    }


def _validations(file: Code) -> Iterator[tuple[Call, Value | None]]:
    """The calls that judge a model by folds of labelled rows, and the features."""
    for call in file.calls:
        if call.receiver is None and call.name.startswith("sklearn.") and call.name.rpartition(".")[2] in VALIDATING:
            if call.argument(2, "y") is not None:
                yield call, call.argument(1, "X")
        elif call.name == ".fit" and call.argument(1, "y") is not None:
            made = constructed(file, call.receiver)
            if made is not None and made.name.rpartition(".")[2] in SEARCHING:
                yield call, call.argument(0, "X")
