"""An input that gives the answer away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Link, Place, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.code import Code
from stethoscope.facts.columns import targets_among_features
from stethoscope.facts.data import Data, Tie
from stethoscope.facts.samples import Samples
from stethoscope.facts.training import History, LossCall
from stethoscope.rules.columns import named, of_numbers, one_set
from stethoscope.rules.examples import falling, run
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code, place_at

NO_TABLE = 3
"""With fewer features a target that equals one of them is a small exercise, and not a table."""

_leaking = Samples(
    rows=400, familiar=1.0, features=31, shape=(32, 31), tested=400, classes=2, majority=0.63, neighbours=0.98,
    neighbours_chance=0.5, linear=1.0, linear_chance=0.5, relation=90.0, giveaway=30, giveaway_share=1.0,
    giveaway_kinds=2, second_share=0.2,
)  # fmt: skip


def _tied(strength: float, low: float, *others: float) -> Data:
    """A table with one column that tells the target, and others that tell less; one of them hardly anything."""
    ties = Tie("b", strength, low, 500), *(Tie("c", one, one - 0.01, 500) for one in others), Tie("a", 0.3, 0.2, 500)
    return one_set(of_numbers("a", range(9)), of_numbers("b", range(9)), target="y", ties=ties)


def _run(**facts: Any) -> History:
    seen = run(falling(0.66, 0.001), chance=0.66)
    return replace(seen, samples=(replace(_leaking, **facts),), losses=(LossCall("cross_entropy", training_calls=9),))


def _untied(seen: Data) -> str:
    """Why no column was asked what it says of the target."""
    if not seen.target:
        return "there is no target"
    if seen.train.images is not None or not any(one.name != seen.target for one in seen.train.profile.columns):
        return "there is no column besides the target"
    return "there is nothing but texts or names beside the target, or too few rows have one"


class TargetLeakage(Rule):
    """An input feature gives the target away: it says the same in other words.

    ## What it sees
    Some hundred training rows with their targets: the feature whose values the target explains best. A feature that
    the target explains to the last digit is the target itself, on another scale.
    In code: features and target that are cut out of one table with columns that are written out, by name or by number,
    where the features hold the target's; both are given to `fit` or to `train_test_split`.
    ## Why it hurts
    The network reads the answer off that feature and learns nothing else. Scores look perfect until the day on which
    the answer is not known beforehand.
    ## How to fix it
    Leave the feature out, and everything else that is known only once the target is.
    ## When it is not a fault
    Autoencoders, whose target is the input. An exercise whose target is one of its features by construction.
    ## Sources
    S. Kaufman et al., "Leakage in Data Mining: Formulation, Detection, and Avoidance", ACM TKDD 2012.
    """

    on_trial = True
    reads = ("losses", "samples")

    unexplained = Limit(
        1e-5,
        unit="share of the feature's variance that the target leaves open",
        why="for targets that are numbers: a smooth series one step ahead leaves 1e-4, a copy 1e-12",
    )
    unexplained_by_class = Limit(
        0.02,
        unit="share of the feature's variance that the class leaves open",
        why="the best feature of digits, wine and breast cancer leaves 0.24 and more",
    )
    others = Limit(
        0.9, unit="share explained of the middle feature", why="where all features follow from the target it is no leak"
    )
    tells = Limit(
        0.95, unit="share of guessing's errors that one column puts right", why="the best one of iris puts 0.9 right"
    )
    fewest_rows = Limit(100, unit="rows with a target", why="in fewer a rare feature may follow the labels by chance")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the feature that is tied to the target most closely."""
        tested = [samples for samples in seen.samples if samples.tested >= self.fewest_rows]
        if not tested:
            yield self.cannot_tell("too few training rows were seen with one target each")
            return
        for samples in tested:
            if (
                len(samples.shape) == 2
                and samples.features >= NO_TABLE
                and 1 - samples.giveaway_share <= (self.unexplained_by_class if samples.classes else self.unexplained)
                and samples.second_share < self.others
            ):
                yield self._report(seen, samples)

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge the column that alone tells the target best, on rows that were held out."""
        if not seen.train.ties:
            yield self.cannot_tell(_untied(seen))
            return
        telling = [tie for tie in seen.train.ties if tie.low >= self.tells]
        rest = [tie.strength for tie in seen.train.ties if tie not in telling]  # the strongest first
        middle = rest[len(rest) // 2] if rest else 0.0
        if telling and len(telling) <= max(1, len(seen.train.ties) // 4) and middle < self.others:
            tie = telling[0]
            yield self.finding(
                f"column {named(tie.column)} alone tells {named(seen.target)}, {tie.strength:.1%} right"[:72],
                severity=Severity.WARNING,
                sureness=Sureness.LIKELY,
                place=Place(file=seen.train.name, columns=tuple(one.column for one in telling)),
                evidence=[
                    Evidence(
                        f"share of guessing's errors that {named(one.column)} puts right, {one.rows:,} held-out rows",
                        f"{one.strength:.1%} (at least {one.low:.1%})",
                        "below 90 %",
                    )
                    for one in telling[:3]
                ],
                cause="What tells the answer so well is most often the answer in other words, or known only after it. "
                "A model reads it off there, and fails on the day on which it is not known beforehand.",
                fixes=["Leave it out, and see what is left:\n" + code(f"frame = frame.drop(columns=[{tie.column!r}])")],
                unless="it is known beforehand, and the task is that easy.",
            )

    def _report(self, seen: History, samples: Samples) -> Finding:
        loss = seen.main_loss()
        whole = samples.features == samples.shape[1]
        name = f"feature {samples.giveaway}" if whole else "a feature"
        what = "the label" if samples.classes else "the target"
        evidence = [
            Evidence(
                f"variance of {name} that {what} explains",
                f"{100 * samples.giveaway_share:.4g} %",
                f"near {samples.second_share:.0%}, as of the middle feature",
                f"{samples.tested:,} training rows",
            )
        ]
        if samples.classes:
            evidence.append(
                Evidence(
                    f"different values of {name}, for {samples.classes} classes",
                    f"{samples.giveaway_kinds}",
                    "many more, or shared by the classes",
                )
            )
        drop = (
            code(f"x = torch.cat([x[:, :{samples.giveaway}], x[:, {samples.giveaway + 1}:]], dim=1)")
            if whole
            else code("print(torch.corrcoef(torch.cat([x, y.view(-1, 1)], dim=1).T)[-1].abs().sort())")
        )
        return self.finding(
            f"input {name} says the same as {what} in all {samples.tested} rows",
            sureness=Sureness.LIKELY,
            severity=Severity.ERROR,
            place=place_at(loss.site if loss else None, steps=(0, max(seen.steps - 1, 0))),
            evidence=evidence,
            cause=f"{name[0].upper()}{name[1:]} (counted from 0) is {what} itself, on another scale, or something that "
            f"is known only once {what} is. The network need only read it off.",
            fixes=[
                Fix(f"{'Leave it out' if whole else 'Find it'}:\n{drop}"),
                Fix(f"See what it holds:\n{code(f'print(x[:5, {samples.giveaway}], y[:5])')}"),
            ],
            unless="the target is a copy of an input on purpose.",
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Compare the columns of features and target."""
        for found in targets_among_features(file):
            features, target = found.features, found.target
            shown = f"`{found.column}`" if isinstance(found.column, str) else f"number {found.column}"
            without = repr(found.column) if isinstance(found.column, str) else f"df.columns[{found.column}]"
            yield self.finding(
                fitting(f"the target, column {shown}, is among the features", "the target is among the features"),
                severity=Severity.ERROR,
                sureness=Sureness.CERTAIN,
                place=place_in(file, features.at),
                evidence=[
                    Evidence(f"features on {line_of(file, features.at)} that are the target", 1, 0, "read in the code")
                ],
                cause=f"Column {shown} is the target on {line_of(file, target.at)}, and the model is given it as a "
                "feature.",
                fixes=["Leave it out:\n" + code(f"X = df.drop(columns={without})")],
                chain=[
                    Link(place_in(file, features.at), "the features"),
                    Link(place_in(file, target.at), "the target"),
                    Link(place_in(file, found.used.at), "both are used"),
                ],
            )

    bad = Examples(
        lambda: {
            "a column of a file": _tied(0.999, 0.99),
            "nearly so": _tied(0.97, 0.95),
            "and a coarser copy": _tied(0.99, 0.98, 0.95),
            "others say much as well": _tied(0.99, 0.98, 0.88, 0.88, 0.88),
            "the label among the features": _run(),
            "the target among the features, on another scale": _run(
                classes=0, giveaway_share=1 - 1e-10, giveaway_kinds=400
            ),
            "next to the limit": _run(classes=0, giveaway_share=1 - 0.98e-5),
            "a class next to the limit": _run(giveaway_share=1 - 0.0196, giveaway_kinds=400),
            "most features follow": _run(second_share=0.88),
            "as few rows as can tell": _run(tested=100),
            "more features than were looked at": _run(shape=(32, 900), features=450),
        }
    )
    good = Examples(
        lambda: {
            "a good column": _tied(0.97, 0.94),
            "most others say as much": _tied(0.99, 0.98, 0.92, 0.92, 0.92),
            "a good feature": _run(giveaway_share=0.63, giveaway_kinds=309),
            "a smooth series one step ahead": _run(classes=0, giveaway_share=1 - 1e-4),
            "just above the limit": _run(classes=0, giveaway_share=1 - 1.02e-5),
            "a class just above the limit": _run(giveaway_share=1 - 0.0204),
            "every feature follows from the class": _run(second_share=1.0),
            "a little more than most features follow": _run(second_share=0.92),
            "99 rows": _run(tested=99),
            "a line through two features": _run(classes=0, features=2, shape=(32, 2)),
            "images": _run(shape=(32, 1, 8, 8)),
            "nothing known": _run(giveaway_share=float("nan")),
        }
    )
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
    bug = Bug("""
        import numpy as np
        import torch
        from sklearn.datasets import load_breast_cancer
        from torch import nn

        torch.manual_seed(SEED)
        data = load_breast_cancer()
        table = np.column_stack([data.data, data.target])
        np.random.default_rng(SEED).shuffle(table)
        features = torch.tensor(table).float()  # fix: features = torch.tensor(table[:, :-1]).float()
        features = (features - features[:400].mean(0)) / features[:400].std(0)
        labels = torch.tensor(table[:, -1]).long()
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(features[:400], labels[:400]), batch_size=32, shuffle=True
        )
        model = nn.Sequential(nn.Linear(features.shape[1], 32), nn.ReLU(), nn.Linear(32, 2))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

        for epoch in range(12):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            print(f"loss {nn.functional.cross_entropy(model(features[400:]), labels[400:]).item():.4f}")
        """)
