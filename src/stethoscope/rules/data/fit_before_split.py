"""A scaler or an imputer that learns from all rows, before they are split."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Finding, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Code
from stethoscope.facts.splits import SCALING
from stethoscope.rules.leaking import before_splits, first_and_then, seen_by
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code


class FitBeforeSplit(Rule):
    """A scaler, an imputer or a projection learns from all rows, and the split comes after it.

    ## What it sees
    `fit_transform` (or `fit` and `transform`) of a transformer that learns numbers of the data, whose result is
    given to `train_test_split`.
    ## Why it hurts
    Means, ranges and directions hold what the test rows look like. The score on those rows is then not that on rows
    which nobody has seen; with few rows, outliers or many features the difference is large.
    ## How to fix it
    Split first, let the transformer learn from the training part, and only apply it to the test part; or put it in a
    `Pipeline` with the model.
    ## When it is not a fault
    A transformer with nothing to learn (`Normalizer`, `FunctionTransformer`), or one that only lists categories. Those
    are not reported.
    ## Sources
    scikit-learn user guide, "Common pitfalls and recommended practices: data leakage".
    """

    on_trial = True
    severity = Severity.WARNING

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for what was learned before a split, in what is split."""
        for fit, split in before_splits(file, SCALING):
            yield self.finding(
                fitting(f"`{fit.name}` learns from all rows, before the split", "a fit comes before the split"),
                sureness=Sureness.CERTAIN,
                place=place_in(file, fit.call.at),
                evidence=[seen_by(file, fit.call, fit.name, "the training part")],
                cause=f"The rows are split on {line_of(file, split.at)}, so the test part has had a say in what "
                f"`{fit.name}` does to all of them.",
                fixes=[
                    "Split first, and let it learn from the training part:\n"
                    + code(
                        "X_train, X_test, y_train, y_test = train_test_split(X, y)",
                        f"transformer = {fit.name}().fit(X_train)",
                        "X_train, X_test = transformer.transform(X_train), transformer.transform(X_test)",
                    )
                ],
                chain=first_and_then(file, fit.call, f"`{fit.name}` learns from all rows", split, "they are split"),
            )

    bad_code = {
        "scaled, then split": """
            import pandas as pd
            from sklearn.model_selection import train_test_split
            from sklearn.preprocessing import StandardScaler

            df = pd.read_csv("data.csv")
            X, y = df.drop("label", axis=1), df["label"]
            scaler = StandardScaler()
            X_scaled = scaler.fit_transform(X)  # bad
            X_train, X_test, y_train, y_test = train_test_split(X_scaled, y)
            """,
        "fit and transform apart": """
            from sklearn.datasets import load_wine
            from sklearn.model_selection import train_test_split
            from sklearn.decomposition import PCA

            X, y = load_wine(return_X_y=True)
            pca = PCA(5)
            pca.fit(X)  # bad
            X = pca.transform(X)
            X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2)
            """,
        "columns of a table": """
            import pandas as pd
            from sklearn import preprocessing
            from sklearn.model_selection import train_test_split

            def load(path):
                df = pd.read_csv(path)
                numbers = ["age", "income"]
                df[numbers] = preprocessing.MinMaxScaler().fit_transform(df[numbers])  # bad
                X = df.drop(columns="label").values
                return train_test_split(X, df["label"])
            """,
        "a pipeline that scales": """
            from sklearn.impute import SimpleImputer
            from sklearn.model_selection import train_test_split
            from sklearn.pipeline import Pipeline
            from sklearn.preprocessing import StandardScaler

            def prepare(X, y):
                steps = Pipeline([("fill", SimpleImputer()), ("scale", StandardScaler())])
                Z = steps.fit_transform(X.values)  # bad
                return train_test_split(Z, y)

            import pandas as pd
            """,
    }
    good_code = {
        "split first": """
            from sklearn.model_selection import train_test_split
            from sklearn.preprocessing import StandardScaler

            def prepare(X, y):
                X_train, X_test, y_train, y_test = train_test_split(X, y)
                scaler = StandardScaler()
                X_train = scaler.fit_transform(X_train)
                return X_train, scaler.transform(X_test)
            """,
        "nothing to learn": """
            from sklearn.model_selection import train_test_split
            from sklearn.preprocessing import LabelEncoder, Normalizer

            def prepare(X, y):
                X = Normalizer().fit_transform(X)
                y = LabelEncoder().fit_transform(y)
                return train_test_split(X, y)
            """,
        "learned from the first rows only": """
            from sklearn.model_selection import train_test_split
            from sklearn.preprocessing import StandardScaler

            def prepare(X, y):
                scaler = StandardScaler().fit(X[:800])
                return train_test_split(scaler.transform(X), y)
            """,
        "a plot of all rows": """
            from sklearn.decomposition import PCA
            from sklearn.model_selection import train_test_split

            def show(X, y, plot):
                plot(PCA(2).fit_transform(X), y)
                return train_test_split(X, y)
            """,
    }
