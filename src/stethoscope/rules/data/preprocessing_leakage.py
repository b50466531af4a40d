"""What learned from the rows that a model is judged by: scalers, imputers, encoders, selectors."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Place, Severity, Sureness
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.facts.code import Code
from stethoscope.facts.comparable import comparable
from stethoscope.facts.data import Data, Numbers
from stethoscope.rules.columns import named
from stethoscope.rules.leaking import chosen_before, numbered_apart, scaled_again, scaled_before
from stethoscope.rules.sites import code
from stethoscope.rules.two_sets import bell, two_sets

CLOSE = 2e-5
"""How near to 0 and 1 a mean and a spread have to be; with many rows nearer, since chance comes nearer, too."""
FINE = 20
"""Different values of a column that can be standardized."""
MOST_NAMED = 3


class PreprocessingLeakage(Rule):
    """A scaler, an imputer, an encoder or a selector learns from the rows that a model is judged by.

    ## What it sees
    `fit_transform` (or `fit` and `transform`) of a transformer that learns numbers of the data, or of a selector or
    encoder that learns from labels as well, whose result is given to `train_test_split`. And `fit` or `fit_transform`
    on the part of a split that is for testing, of what has learned from the training part already: a scaler, or an
    encoder that numbers its categories anew.
    In data: mean and spread, or range, of each column of numbers. Numbers that are exactly 0 and 1 in the second set by
    itself, or in both sets taken together, while the training set's are not, are the trace of a scaler that learned
    from these rows. No chance gives that in most columns at once.
    ## Why it hurts
    Means, ranges, directions and chosen features hold what the test rows look like, and the score on those rows is not
    that on rows which nobody has seen. Labels do most: with many features, a choice by the labels of all rows gives
    high scores on data without any signal. Where the test rows are fitted again they are brought to a scale, or to
    numbers of categories, of their own: one value means two things.
    ## How to fix it
    Split first, let each transformer learn from the training part, and only apply it to the test part; best in a
    `Pipeline` with the model.
    ## When it is not a fault
    A transformer with nothing to learn (`Normalizer`, `FunctionTransformer`), one that only lists categories before a
    split, a plot of all rows. None of these is reported.
    ## Sources
    scikit-learn user guide, "Common pitfalls and recommended practices: data leakage" and "inconsistent preprocessing".
    Hastie, Tibshirani, Friedman, "The Elements of Statistical Learning", 7.10.2 (2009).
    """

    on_trial = True
    explains = ("distribution-shift", "out-of-range-values", "embedding-shift")

    most = Limit(0.8, unit="share of the columns of numbers", why="a scaler is given all of them, or nearly")
    fewest = Limit(2, unit="columns of numbers", why="one column may come near to 0 and 1 by chance")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Look for means, spreads and ranges that only a scaler gives."""
        if seen.test is None:
            yield self.cannot_tell("there is only one data set")
            return
        columns = [
            (one.name, one.numbers, other.numbers)
            for one, other in comparable(seen)
            if one.kind == "number" and one.numbers and other.numbers and _is_fine(one.numbers, other.numbers)
        ]
        if len(columns) < self.fewest:
            yield self.cannot_tell("there are too few columns of fine numbers")
            return
        together = [name for name, one, other in columns if _standardized_together(one, other)]
        alone = [name for name, _, other in columns if _is_standard(other.mean, other.squares, other.count)]
        ranges = [name for name, _, other in columns if (other.least, other.greatest) == (0.0, 1.0)]
        for names, is_together, what in ((together, True, "mean"), (alone, False, "mean"), (ranges, False, "range")):
            if len(names) >= max(self.fewest, self.most * len(columns)):
                yield self._report(seen, names, len(columns), is_together, what)
                return

    def _report(self, seen: Data, names: list[str], of: int, together: bool, what: str) -> Finding:
        assert seen.test is not None
        which = "both sets together" if together else "the second set by itself"
        has = "mean 0 and spread 1" if what == "mean" else "the range 0 to 1"
        evidence = [Evidence(f"columns with {has} in {which}, to five digits", f"{len(names)} of {of}", "0")]
        for name in names[:MOST_NAMED]:
            one, other = (each.profile.column(name) for each in seen.sets)
            if one and other and one.numbers and other.numbers and what == "mean":
                first, second = one.numbers, other.numbers
                mean, spread = _pooled(first, second) if together else (second.mean, second.std)
                evidence.append(
                    Evidence(
                        f"mean and spread of {named(name)} in {which}", f"{_near(mean)} and {_near(spread)}",
                        f"{first.mean:.4f} and {first.std:.4f}", "in the training set",
                    )
                )  # fmt: skip
        return self.finding(
            f"the scaler was fitted on {'both sets together' if together else 'the second set by itself'}",
            severity=Severity.WARNING,
            sureness=Sureness.CERTAIN if what == "mean" else Sureness.LIKELY,
            place=Place(file=seen.test.name, columns=tuple(names)),
            evidence=evidence,
            cause=f"Only a scaler that learned from the rows of `{seen.test.name}` leaves {has} there, to all digits"
            + (": the table was scaled before it was split." if together else "."),
            fixes=[
                Fix(
                    "Split first, and fit on the training rows only:\n"
                    + code(
                        "train, test = train_test_split(frame)",
                        "scaler = StandardScaler().fit(train[columns])",
                        "train[columns] = scaler.transform(train[columns])",
                        "test[columns] = scaler.transform(test[columns])",
                    )
                )
            ],
            unless="each set is meant to be seen relative to itself.",
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for what learns before a split, and for what learns from both of its parts."""
        yield from scaled_before(self, file)
        yield from chosen_before(self, file)
        yield from scaled_again(self, file)
        yield from numbered_apart(self, file)

    bad = Examples(lambda: {
        "the second by itself": two_sets({name: (bell(500, 0.02), _standard(300)) for name in "abc"}),
        "both together": two_sets({name: _halves(_standard(600)) for name in "abc"}),
        "ranges of 0 to 1": two_sets({name: (_range(400, 0.95), _range(300, 1.0)) for name in "abc"}),
        "two columns": two_sets({name: (bell(500, 0.02), _standard(300)) for name in "ab"}),
        "21 of 26": _mixed(21, 26),
        "20 of 25": _mixed(20, 25),
    })  # fmt: skip
    good = Examples(lambda: {
        "fitted on the training rows": two_sets({name: (_standard(500), bell(300, 0.01, 0.97)) for name in "abc"}),
        "one column": two_sets({"a": (bell(500, 0.02), _standard(300))}),
        "no scaler": two_sets({name: (bell(500, 5.0), bell(300, 5.0)) for name in "abc"}),
        "19 of 24": _mixed(19, 24),
    })  # fmt: skip
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
        "words listed twice": """
            from sklearn.model_selection import KFold
            from sklearn.feature_extraction.text import CountVectorizer

            def folds(texts):
                for train, test in KFold(5).split(texts):
                    vectorizer = CountVectorizer()
                    yield vectorizer.fit_transform(texts[train]), vectorizer.fit_transform(texts[test])  # bad
            """,
        "rows that a model is only judged by": """
            import numpy as np
            from sklearn.linear_model import LogisticRegression
            from sklearn.preprocessing import StandardScaler

            def judge(folder):
                train, test = np.load(folder + "/a.npz"), np.load(folder + "/b.npz")
                scaler = StandardScaler()
                scaler.fit(train["x"])
                x, x_test = scaler.transform(train["x"]), scaler.fit_transform(test["x"])  # bad
                model = LogisticRegression().fit(x, train["y"])
                return model.score(x_test, test["y"])
            """,
        "named columns again, and probabilities": """
            import pandas as pd
            from sklearn.linear_model import LogisticRegression
            from sklearn.preprocessing import StandardScaler

            def submit(first, second, y):
                scaler, model = StandardScaler(), LogisticRegression()
                first = pd.DataFrame(scaler.fit_transform(first), columns=first.columns)
                second = pd.DataFrame(scaler.fit_transform(second), columns=second.columns)  # bad
                model.fit(first, y)
                return model.predict_proba(second)
            """,
        "parts that only their names tell": """
            from sklearn.feature_extraction.text import TfidfVectorizer

            def features(reviews, clean, learn):
                train_texts, test_texts = clean(reviews[:9000]), clean(reviews[9000:])
                vectorizer = TfidfVectorizer()
                learn(vectorizer.fit_transform(train_texts), vectorizer.fit_transform(test_texts))  # bad
            """,
        "of some rows, all that are split": """
            from sklearn.datasets import load_iris
            from sklearn.model_selection import train_test_split
            from sklearn.preprocessing import StandardScaler

            def prepare():
                iris = load_iris()
                X, y = iris.data[50:, [1, 2]], iris.target[50:]
                X = StandardScaler().fit_transform(X)  # bad
                return train_test_split(X, y)
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
        "learned from the first rows only, and transformed all": """
            from sklearn.model_selection import train_test_split
            from sklearn.preprocessing import StandardScaler

            def prepare(X, y):
                scaler = StandardScaler()
                scaler.fit(X[:800])
                return train_test_split(scaler.transform(X), y)
            """,
        "scaled twice, and each model learns from its own": """
            from sklearn.linear_model import LogisticRegression
            from sklearn.preprocessing import StandardScaler

            def compare(first, second, y):
                scaler, model = StandardScaler(), LogisticRegression()
                one, other = scaler.fit_transform(first), scaler.fit_transform(second)
                a = model.fit(one, y).score(one, y)
                return a, model.fit(other, y).score(other, y)
            """,
        "a scaler for each part, and another array": """
            from sklearn.preprocessing import StandardScaler

            def prepare(clean, x_train, y_test, x_val):
                first, second = StandardScaler(), StandardScaler()
                rows, targets = first.fit_transform(clean(x_train)), first.fit_transform(y_test)
                return rows, targets, second.fit_transform(clean(x_val))
            """,
        "learned in each fold": """
            from sklearn.model_selection import KFold
            from sklearn.feature_extraction.text import CountVectorizer

            def folds(texts):
                for train, test in KFold(5).split(texts):
                    vectorizer = CountVectorizer()
                    yield vectorizer.fit_transform(texts[train]), vectorizer.transform(texts[test])
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
        "split first, then chosen": """
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


def _is_fine(one: Numbers, other: Numbers) -> bool:
    """Whether both have many values, and few of them at the ends of the range."""
    if min(one.distinct, other.distinct) < FINE or not one.std > 0 or not other.std > 0:
        return False
    ends = {other.least, other.greatest, one.least, one.greatest}
    return not any(value in ends for numbers in (one, other) for value, count in numbers.spikes if count > 2)


def _is_standard(mean: float, squares: float, count: int) -> bool:
    """Whether mean and spread are 0 and 1, with either divisor, as near as only arithmetic gives."""
    close = min(CLOSE, 0.01 / sqrt(count))
    return abs(mean) <= close and any(
        abs(sqrt(squares / divisor) - 1) <= close for divisor in (count, count - 1) if divisor > 0
    )


def _pooled(one: Numbers, other: Numbers) -> tuple[float, float]:
    """Mean and standard deviation of both together."""
    count = one.count + other.count
    mean = (one.count * one.mean + other.count * other.mean) / count
    squares = one.squares + other.squares + one.count * other.count / count * (one.mean - other.mean) ** 2
    return mean, sqrt(squares / count)


def _standardized_together(one: Numbers, other: Numbers) -> bool:
    mean, spread = _pooled(one, other)
    alone = any(_is_standard(each.mean, each.squares, each.count) for each in (one, other))
    count = one.count + other.count
    return not alone and _is_standard(mean, spread**2 * count, count)


def _near(value: float) -> str:
    return f"{value:.5f}".replace("-0.00000", "0.00000")


def _standard(rows: int) -> list[float]:
    """Numbers with mean 0 and standard deviation 1."""
    values = bell(rows)
    mean = sum(values) / rows
    spread = sqrt(sum((value - mean) ** 2 for value in values) / rows)
    return [(value - mean) / spread for value in values]


def _halves(values: list[float]) -> tuple[list[float], list[float]]:
    """The first two thirds and the others."""
    return values[: len(values) * 2 // 3], values[len(values) * 2 // 3 :]


def _range(rows: int, greatest: float) -> list[float]:
    return [greatest * i / (rows - 1) for i in range(rows)]


def _mixed(scaled: int, of: int) -> Data:
    """Two sets of which so many columns were standardized by themselves."""
    return two_sets({f"x{i}": (bell(100, 0.02), _standard(90) if i < scaled else bell(90, 0.3)) for i in range(of)})
