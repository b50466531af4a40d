"""How often a whole report on healthy, unchanged data has an error or a warning: a Markdown table.

    python bench/data_reports.py                     all of it, some hours
    python bench/data_reports.py --share 0.05 --only target,texts --rows 1000

A report is what `inspect_data` says, every rule with it: of one set, or of two that are drawn from the same source. The
sets have 30 columns (20 of numbers, 10 of 5 to 1,000 categories, as in `data_honesty.py`), or are:

    target      with a target of two classes that five of the columns tell in part
    classes     with one of five classes, unequally frequent
    amount      with an amount to be predicted
    noise       with a target that nothing tells
    texts       with a column of texts of 5 to 40 words, and a target
    missing     with up to 3 % of the values missing, in half of the columns
    groups      with a model's predictions, and two columns whose groups are compared
    skewed      of skewed, discrete, rounded, rare, bounded and dated columns

"At most" is the upper end of the 95 % interval (Wilson).
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl
from data_honesty import REPORT, draw, table
from numpy.typing import NDArray

from stethoscope.core.finding import Severity
from stethoscope.facts.statistics import share_interval
from stethoscope.inspecting import inspect_data

Values = NDArray[Any]
Asked = dict[str, Any]
REPORTS = {200: 1000, 1_000: 1000, 10_000: 300, 100_000: 30, 1_000_000: 4}
WORDS = [f"{first}{second}" for first in "bdfgklmnprst" for second in ("a", "el", "ir", "on", "ust", "ay")]
"""Of which texts are made, by Zipf's law."""


def plain(rows: int, random: np.random.Generator) -> pl.DataFrame:
    """Thirty columns of any kind."""
    return table([draw(kind, rows, random) for kind in REPORT])


def told(frame: pl.DataFrame, random: np.random.Generator) -> Values:
    """Something that five columns tell in part, with a standard deviation of about 1.7."""
    first = sum(frame[name].to_numpy() for name in ("x0", "x5", "x10"))
    words = sum((frame[name] == "v0").to_numpy() * 1.0 for name in ("c20", "c21"))
    return np.asarray(0.8 * first + words + random.normal(size=len(frame)))


def target(rows: int, random: np.random.Generator) -> pl.DataFrame:
    """Two classes."""
    frame = plain(rows, random)
    return frame.with_columns(y=pl.Series((told(frame, random) > 1.0).astype(np.int64)))


def classes(rows: int, random: np.random.Generator) -> pl.DataFrame:
    """Five classes."""
    frame = plain(rows, random)
    return frame.with_columns(
        y=pl.Series([f"class {one}" for one in np.digitize(told(frame, random), [-1, 0.5, 1.5, 3])])
    )


def amount(rows: int, random: np.random.Generator) -> pl.DataFrame:
    """An amount."""
    frame = plain(rows, random)
    return frame.with_columns(y=pl.Series(100 + 20 * told(frame, random)))


def noise(rows: int, random: np.random.Generator) -> pl.DataFrame:
    """Two classes that nothing tells."""
    return plain(rows, random).with_columns(y=pl.Series(random.integers(0, 2, rows)))


def texts(rows: int, random: np.random.Generator) -> pl.DataFrame:
    """Texts, in which some words tell the class in part."""
    frame = target(rows, random)
    share = 1 / np.arange(1, len(WORDS) + 1)
    sizes = random.integers(5, 40, rows)
    words = random.choice(WORDS, size=int(sizes.sum()), p=share / share.sum())
    good = random.random(rows) < 0.3 + 0.4 * frame["y"].to_numpy()
    parts = np.split(words, np.cumsum(sizes)[:-1])
    said = [" ".join([*part, *(["good"] if one else [])]) for part, one in zip(parts, good, strict=True)]
    return frame.with_columns(review=pl.Series(said))


def missing(rows: int, random: np.random.Generator) -> pl.DataFrame:
    """Missing values, the same share of each column in both sets."""
    frame = plain(rows, random)
    return frame.with_columns(
        pl.when(pl.Series(random.random(rows) >= 0.03 * (place + 1) / len(frame.columns)))
        .then(pl.col(name))
        .alias(name)
        for place, name in enumerate(frame.columns)
        if place % 2
    )


def groups(rows: int, random: np.random.Generator) -> pl.DataFrame:
    """Groups that are not treated differently."""
    frame = target(rows, random)
    return frame.with_columns(
        sex=pl.Series(random.choice(["f", "m"], rows)),
        region=pl.Series(
            random.choice(["north", "east", "south", "west", "isles"], rows, p=[0.4, 0.3, 0.2, 0.08, 0.02])
        ),
        guess=pl.Series(np.where(random.random(rows) < 0.8, frame["y"].to_numpy(), 1 - frame["y"].to_numpy())),
    )


def skewed(rows: int, random: np.random.Generator) -> pl.DataFrame:
    """Columns as they come: nothing normal among them."""
    made: dict[str, Any] = {}
    for place in range(3):
        made |= {
            f"zero_inflated_{place}": random.lognormal(2, 1, rows) * (random.random(rows) < 0.3),
            f"rare_flag_{place}": (random.random(rows) < 0.05 * (place + 1)).astype(np.int64),
            f"flag_{place}": random.random(rows) < 0.4,
            f"count_{place}": random.geometric(0.3, rows) - 1,
            f"price_{place}": np.round(random.lognormal(3, 0.8, rows), 2),
            f"share_{place}": random.beta(0.5, 3, rows),
            f"wild_{place}": random.standard_t(2.5, rows),
            f"rating_{place}": random.choice(5, rows, p=[0.05, 0.05, 0.1, 0.3, 0.5]) + 1,
            f"income_{place}": np.round(np.exp(random.normal(10, 0.6, rows)), -2),
            f"when_{place}": np.datetime64("2023-01-01T00:00:00", "us")
            + random.integers(0, 3 * 365 * 86_400, rows) * np.timedelta64(1_000_000, "us"),
        }
    return pl.DataFrame(made)


SETS: dict[str, tuple[Callable[[int, np.random.Generator], pl.DataFrame], Asked]] = {
    "plain": (plain, {}),
    "target": (target, {"target": "y"}),
    "classes": (classes, {"target": "y"}),
    "amount": (amount, {"target": "y"}),
    "noise": (noise, {"target": "y"}),
    "texts": (texts, {"target": "y"}),
    "missing": (missing, {}),
    "groups": (groups, {"target": "y", "sensitive": ("sex", "region"), "predictions": "guess"}),
    "skewed": (skewed, {}),
}


def lines(kinds: list[str], sizes: list[int], share: float, seed: int) -> Iterator[str]:
    """The table, and what was said."""
    yield "| data | rows of each set | sets | reports | with an error or a warning | at most | CPU s each |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    said: Counter[str] = Counter()
    examples: dict[str, str] = {}
    all_alarms: Counter[tuple[int, int]] = Counter()
    all_reports: Counter[tuple[int, int]] = Counter()
    for kind in kinds:
        make, asked = SETS[kind]
        for rows in sizes:
            for sets in (1, 2):
                random = np.random.default_rng([seed, rows, sets, list(SETS).index(kind)])
                wanted, alarms, began = max(2, int(share * REPORTS[rows])), 0, time.process_time()
                for _ in range(wanted):
                    first, *rest = (make(rows, random) for _ in range(sets))
                    found = inspect_data(first, *rest, **asked).diagnosis
                    assert not found.broken, found.broken
                    loud = [one for one in found.findings if one.severity in (Severity.ERROR, Severity.WARNING)]
                    alarms += bool(loud)
                    for one in loud:
                        said[f"{kind}: {one.rule}"] += 1
                        examples.setdefault(f"{kind}: {one.rule}", f"{rows:,} rows, {sets} set(s): {one.title}")
                all_alarms[rows, sets] += alarms
                all_reports[rows, sets] += wanted
                spent = (time.process_time() - began) / wanted
                yield _row(kind, rows, sets, alarms, wanted) + f" {spent:.2f} |"
    for (rows, sets), reports in sorted(all_reports.items()):
        yield _row("all", rows, sets, all_alarms[rows, sets], reports) + " |"
    yield ""
    for rule, times in said.most_common():
        yield f"- {rule}: {times} times, such as: {examples[rule]}"
    if not said:
        yield "No report had an error or a warning."


def _row(kind: str, rows: int, sets: int, alarms: int, reports: int) -> str:
    most = 100 * share_interval(alarms, reports)[1]
    return f"| {kind} | {rows:,} | {sets} | {reports:,} | {alarms} ({alarms / reports:.2%}) | {most:.2g} % |"


def main() -> None:
    """Draw and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the reports")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(SETS), help="kinds of data, with commas between them")
    parser.add_argument("--rows", default="200,1000,10000,100000,1000000")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    sizes = [int(one) for one in arguments.rows.split(",")]
    for line in lines(arguments.only.split(","), sizes, arguments.share, arguments.seed):
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
