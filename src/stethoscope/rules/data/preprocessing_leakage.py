"""What learned from the rows that a model is judged by: scalers, imputers, encoders, selectors."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Finding
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Code
from stethoscope.rules.leaking import chosen_before, numbered_apart, scaled_again, scaled_before


class PreprocessingLeakage(Rule):
    """A scaler, an imputer, an encoder or a selector learns from the rows that a model is judged by.

    ## What it sees
    `fit_transform` (or `fit` and `transform`) of a transformer that learns numbers of the data, or of a selector or
    encoder that learns from labels as well, whose result is given to `train_test_split`. And `fit` or `fit_transform`
    on the part of a split that is for testing, of what has learned from the training part already: a scaler, or an
    encoder that numbers its categories anew.
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

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for what learns before a split, and for what learns from both of its parts."""
        yield from scaled_before(self, file)
        yield from chosen_before(self, file)
        yield from scaled_again(self, file)
        yield from numbered_apart(self, file)

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
