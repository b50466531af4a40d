"""How often a comparison of two data sets raises a false alarm, and how often it misses a shift: Markdown tables.

    python bench/data_honesty.py                    all of it, about ten minutes
    python bench/data_honesty.py --share 0.1        a tenth of the draws
    python bench/data_honesty.py --only packages --evidently ENV/bin/python --deepchecks OTHER/bin/python

Columns are drawn from known distributions, twice from the same one for false alarms. A report has 30 columns: 20 of
numbers (normal, log-normal, Pareto with tail 2.2, Poisson, uniform) and 10 of 5 to 1,000 categories (Zipf). Ours is
all rules that compare two sets; an alarm is an error or a warning. Beside it stand the stock rules of three tools,
restated as arithmetic: evidently (up to 1,000 rows Kolmogorov-Smirnov or chi-square p < 0.05, above that Wasserstein /
SD or Jensen-Shannon distance >= 0.1), deepchecks (Kolmogorov-Smirnov distance or bias-corrected Cramer's V > 0.2), and
nannyml (Jensen-Shannon distance to the reference above the mean + 3 SD of ten chunks of the reference, chunks of the
second set judged one by one). The restated chi-square is kinder than evidently's own, which takes the shares of the
first set as exact. Where the Python of an environment with a package is given, the package itself answers, by its
defaults. What whole reports say, every rule with it, and of other data than this, is in `data_reports.py`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from stethoscope.core.finding import Finding, Severity
from stethoscope.diagnosing.inspect import inspect
from stethoscope.facts.data import Data, DataSet
from stethoscope.facts.statistics import share_interval
from stethoscope.observe.data.joint import joint_shift
from stethoscope.observe.data.opening import open_table
from stethoscope.observe.data.profiling import profile
from stethoscope.rules import all_rules
from stethoscope.rules.budget import SHARES

Values = NDArray[Any]
NUMBERS = ("normal", "lognormal", "Pareto 2.2", "Poisson", "uniform")
CATEGORIES = (5, 50, 500, 1000)
REPORT = (*NUMBERS * 4, 5, 5, 5, 50, 50, 50, 500, 500, 1000, 1000)
OURS = {*SHARES, "inconsistent-preprocessing", "schema-violation", "train-test-overlap", "preprocessing-leakage"}
"""Rules that compare two sets."""
SAMPLED = 20_000
PAIRS = ((200, 200), (1_000, 1_000), (10_000, 200), (10_000, 1_000), (100_000, 10_000))
REPORTS = {200: 1500, 1_000: 1500, 10_000: 400, 100_000: 30, 1_000_000: 4}
CLASSIFIED = {200: 150, 1_000: 200, 10_000: 100, 100_000: 30}
PEERS_ALONGSIDE = 100
"""Reports that the others are asked about, too; fewer of the large ones."""
COLUMNS = 400
POWER = 200


def draw(kind: str | int, rows: int, random: np.random.Generator, shift: float = 0.0) -> Values:
    """A column; `shift` moves numbers by so many standard deviations, and that share of the first category away."""
    if isinstance(kind, int):
        weights = 1 / np.arange(1, kind + 1)
        weights /= weights.sum()
        if shift:
            taken = min(shift, weights[0])
            weights[0] -= taken
            weights[-1] += taken
        return random.choice(np.arange(kind), size=rows, p=weights)
    if kind == "normal":
        return random.normal(size=rows) + shift
    if kind == "lognormal":
        return random.lognormal(size=rows) + shift * 2.1612
    if kind == "Pareto 2.2":
        return 1 + random.pareto(2.2, size=rows) + shift * 2.7639
    if kind == "Poisson":
        return random.poisson(4 + 2 * shift, size=rows).astype(float)
    return random.uniform(size=rows) + shift * 0.28868


def table(columns: list[Values]) -> pl.DataFrame:
    """A frame of these columns, whole numbers as texts."""
    return pl.DataFrame(
        {
            f"{'c' if each.dtype.kind == 'i' else 'x'}{i}": [f"v{v}" for v in each.tolist()]
            if each.dtype.kind == "i"
            else each
            for i, each in enumerate(columns)
        }
    )


def seen(first: list[Values], second: list[Values]) -> Data:
    """What is known of two sets, rows compared with each other left out."""
    one, other = open_table(table(first), "train"), open_table(table(second), "test")
    before = profile(one)
    return Data(
        DataSet("train", before, one.sample(SAMPLED)), DataSet("test", profile(other, before), other.sample(SAMPLED))
    )


RULES = tuple(rule for rule in all_rules() if rule.name in OURS)


def alarms(data: Data) -> list[Finding]:
    """Errors and warnings of the rules that compare sets."""
    said = inspect(data, rules=RULES)
    assert not said.broken, said.broken
    return [each for each in said.findings if each.severity in (Severity.ERROR, Severity.WARNING)]


def ours(first: list[Values], second: list[Values]) -> bool:
    """Whether we raise an alarm, the classifier aside."""
    return bool(alarms(seen(first, second)))


# --- the stock rules of others, as arithmetic ---


def counts_of(first: Values, second: Values) -> tuple[Values, Values]:
    """Counts of the categories of both."""
    most = int(max(first.max(), second.max())) + 1
    counts = np.bincount(first, minlength=most), np.bincount(second, minlength=most)
    met = counts[0] + counts[1] > 0
    return counts[0][met], counts[1][met]


def jensen_shannon(p: Values, q: Values) -> float:
    """The distance, base 2."""
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(each > 0, each * np.log2(each / middle), 0).sum() for each in (p, q)]
    return float(np.sqrt(max(0.0, sum(parts) / 2)))


def chi_square(first: Values, second: Values) -> tuple[float, int]:
    """Statistic and degrees of freedom of a table of two rows."""
    counts = np.stack(counts_of(first, second)).astype(float)
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    return float(((counts - expected) ** 2 / expected).sum()), counts.shape[1] - 1


def evidently(first: Values, second: Values) -> bool:
    """Its default for one column."""
    words = first.dtype.kind == "i"
    if len(first) <= 1000:
        if words:
            return bool(stats.chi2.sf(*chi_square(first, second)) < 0.05)
        return bool(stats.ks_2samp(first, second, method="asymp").pvalue < 0.05)
    if words:
        return jensen_shannon(*counts_of(first, second)) >= 0.1
    return bool(stats.wasserstein_distance(first, second) / first.std() >= 0.1)


def deepchecks(first: Values, second: Values) -> bool:
    """Its default for one column."""
    if first.dtype.kind != "i":
        return bool(stats.ks_2samp(first, second, method="asymp").statistic > 0.2)
    square, freedom = chi_square(first, second)
    rows = len(first) + len(second)
    corrected = max(0.0, square / rows - freedom / (rows - 1))
    width = min(2 - 1 / (rows - 1), freedom + 1 - freedom**2 / (rows - 1)) - 1
    return bool(np.sqrt(corrected / width) > 0.2) if width > 0 else False


def nannyml(first: Values, second: Values) -> bool:
    """Its default for one column: whether any chunk of the second set is beyond three sigma.

    Chunks are a tenth of the first set, or all of a second set that is smaller.
    """
    edges = None if first.dtype.kind == "i" else np.histogram_bin_edges(first, bins="doane")

    def distance(chunk: Values) -> float:
        if edges is None:
            return jensen_shannon(*counts_of(first, chunk))
        inside = np.clip(chunk, edges[0], edges[-1])
        return jensen_shannon(np.histogram(first, edges)[0], np.histogram(inside, edges)[0])

    known = np.array([distance(chunk) for chunk in np.array_split(first, 10)])
    limit = known.mean() + 3 * known.std()
    chunks = max(1, 10 * len(second) // len(first))
    return any(distance(chunk) > limit for chunk in np.array_split(second, chunks))


PEERS: dict[str, Callable[[Values, Values], bool]] = {
    "evidently": evidently,
    "deepchecks": deepchecks,
    "nannyml": nannyml,
}


@dataclass
class Tally:
    """How often something happened."""

    times: int = 0
    of: int = 0

    def add(self, happened: bool) -> None:
        """Once more."""
        self.times += happened
        self.of += 1

    def __str__(self) -> str:
        if not self.of:
            return "-"
        return f"{100 * self.times / self.of:.3g} %"

    @property
    def at_most(self) -> str:
        """Upper end of the 95 % interval."""
        return f"{100 * share_interval(self.times, self.of)[1]:.2g} %"


def columns_table(share: float, random: np.random.Generator) -> Iterator[str]:
    """False alarms of one unchanged column."""
    yield "| column | rows | ours | evidently | deepchecks | nannyml |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for kind in (*NUMBERS, *CATEGORIES):
        for rows in PAIRS:
            draws = max(20, int(share * COLUMNS * min(1, 20_000 / sum(rows))))
            tallies = {name: Tally() for name in ("ours", *PEERS)}
            for _ in range(draws):
                first, second = (draw(kind, size, random) for size in rows)
                tallies["ours"].add(ours([first], [second]))
                for name, rule in PEERS.items():
                    tallies[name].add(rule(first, second))
            name = f"{kind} categories" if isinstance(kind, int) else kind
            yield f"| {name} | {rows[0]:,} / {rows[1]:,} | {' | '.join(map(str, tallies.values()))} |"


def reports_table(share: float, random: np.random.Generator) -> Iterator[str]:
    """Reports on 30 unchanged columns with any alarm."""
    yield "| rows of each set | reports | ours | at most | by the classifier alone | evidently | deepchecks | nannyml |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    said: Counter[str] = Counter()
    for rows, reports in REPORTS.items():
        tallies = {name: Tally() for name in ("ours", "classifier", *PEERS)}
        wanted = max(3, int(share * reports))
        for number in range(wanted):
            first, second = ([draw(kind, rows, random) for kind in REPORT] for _ in range(2))
            data = seen(first, second)
            if number < share * CLASSIFIED.get(rows, 3):
                data = replace(data, joint=joint_shift(data))
                tallies["classifier"].add(data.joint is not None and data.joint.low > 0.55)
            found = alarms(data)
            said.update(each.rule for each in found)
            tallies["ours"].add(bool(found))
            if number < share * PEERS_ALONGSIDE * min(1, 10_000 / rows) or number < 2:
                for name, rule in PEERS.items():
                    tallies[name].add(any(rule(*pair) for pair in zip(first, second, strict=True)))
        mine, *others = tallies.values()
        yield f"| {rows:,} | {wanted:,} | {mine} | {mine.at_most} | {' | '.join(map(str, others))} |"
    yield ""
    yield f"False alarms by rule: {dict(said) or 'none'}."


def power_table(share: float, random: np.random.Generator) -> Iterator[str]:
    """One shifted column among 30: how often it is named in a warning, and by others flagged."""
    yield "| column | shift | rows of each set | ours | evidently | deepchecks | nannyml |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    cases: list[tuple[str | int, float, int]] = [
        (kind, shift, rows) for kind in NUMBERS for shift, rows in ((0.25, 1_000), (0.25, 10_000), (0.5, 1_000))
    ]
    cases += [("normal", 0.05, 100_000), ("normal", 0.5, 200), ("normal", 1.0, 200)]
    cases += [(kind, 0.2, 1_000) for kind in CATEGORIES[:2]] + [(5, 0.1, 10_000)]
    others = {}
    for kind, shift, rows in cases:
        if rows not in others:
            # The other 29 columns are the same ones each time: their profiles cost most of the time.
            others[rows] = seen(*([draw(each, rows, random) for each in REPORT[1:]] for _ in range(2)))
        tallies = {name: Tally() for name in ("ours", *PEERS)}
        for _ in range(max(10, int(share * POWER * min(1, 20_000 / rows)))):
            first, second = draw(kind, rows, random), draw(kind, rows, random, shift)
            tallies["ours"].add(_named(beside(others[rows], seen([first], [second]))))
            for name, rule in PEERS.items():
                tallies[name].add(rule(first, second))
        what = f"{shift:g} SD" if isinstance(kind, str) else f"{shift:.0%} of the rows"
        name = f"{kind} categories" if isinstance(kind, int) else kind
        yield f"| {name} | {what} | {rows:,} | {' | '.join(map(str, tallies.values()))} |"


def beside(others: Data, one: Data) -> Data:
    """The columns of `one` in front of the others."""
    assert others.test is not None
    assert one.test is not None
    sets = []
    for many, single in ((others.train, one.train), (others.test, one.test)):
        first = single.profile.columns[0]
        column = replace(first, name="shifted")
        values = {"shifted": single.sample.values[first.name], **many.sample.values}
        columns = (column, *many.profile.columns)
        sets.append(
            replace(many, profile=replace(many.profile, columns=columns), sample=replace(many.sample, values=values))
        )
    return Data(*sets)


def _named(data: Data) -> bool:
    return any("shifted" in (each.place.columns or ()) for each in alarms(data))


PEER = """
import os, sys, json, warnings
warnings.filterwarnings("ignore")
os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
import numpy as np, pandas as pd
"""
LOOP = """
for line in sys.stdin:
    first, second = (pd.read_parquet(path) for path in line.split())
    stdout, sys.stdout = sys.stdout, open(os.devnull, "w")
    count = flagged(first, second)
    sys.stdout = stdout
    print(int(count), flush=True)
"""
PACKAGES = {
    "evidently": (
        "columns that DataDriftPreset calls drifted",
        """
from evidently import Report
from evidently.presets import DataDriftPreset
def flagged(first, second):
    said = Report([DataDriftPreset()]).run(second, first).dict()
    return [m["value"]["count"] for m in said["metrics"] if "DriftedColumnsCount" in str(m)][0]
""",
    ),
    "deepchecks": (
        "conditions of train_test_validation that are not met",
        """
from deepchecks.tabular import Dataset
from deepchecks.tabular.suites import train_test_validation
def flagged(first, second):
    sets = [Dataset(each, cat_features=[name for name in each if name[0] == "c"]) for each in (first, second)]
    return len(train_test_validation().run(*sets, with_display=False).get_not_passed_checks())
""",
    ),
    "nannyml": (
        "columns with an alert in any chunk",
        """
import nannyml
def flagged(first, second):
    names = list(first)
    known = nannyml.UnivariateDriftCalculator(
        column_names=names, treat_as_categorical=[name for name in names if name[0] == "c"]
    ).fit(first)
    told = known.calculate(second).filter(period="analysis").to_df()
    return sum(bool(told[column].any()) for column in told.columns if column[-1] == "alert")
""",
    ),
}
ASKED = {200: 20, 1_000: 20, 10_000: 10}
"""Reports that the packages themselves are asked for."""


def packages(pythons: Mapping[str, str], share: float, seed: int) -> Iterator[str]:
    """The real packages on unchanged reports."""
    yield "| package | what is counted | rows of each set | reports | with any | mean |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, python in pythons.items():
        what, program = PACKAGES[name]
        with tempfile.TemporaryDirectory() as folder, _asked(python, PEER + program + LOOP) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            paths = [Path(folder) / f"{side}.parquet" for side in "ab"]
            for rows, reports in ASKED.items():
                random, flags = np.random.default_rng([seed, rows]), []
                for _ in range(max(2, int(share * reports))):
                    for path in paths:
                        table([draw(kind, rows, random) for kind in REPORT]).write_parquet(path)
                    child.stdin.write(f"{paths[0]} {paths[1]}\n")
                    child.stdin.flush()
                    answer = child.stdout.readline().strip()
                    if not answer:
                        break
                    flags.append(int(answer))
                if not flags:
                    yield f"| {name} | gave no answer | {rows:,} | | | |"
                    break
                alarmed = np.mean(np.array(flags) > 0)
                yield f"| {name} | {what} | {rows:,} | {len(flags)} | {alarmed:.0%} | {np.mean(flags):.1f} |"
            child.stdin.close()


def _asked(python: str, program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [python, "-W", "ignore", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


def main() -> None:
    """Draw and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the draws")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("columns", "reports", "power", "packages"))
    for name in PACKAGES:
        parser.add_argument(f"--{name}", metavar="PYTHON", help=f"Python of an environment with {name}")
    arguments = parser.parse_args()
    parts: dict[str, tuple[str, Callable[[], Iterator[str]]]] = {
        "reports": (
            "Whole reports, nothing changed: share with any alarm",
            lambda: reports_table(arguments.share, np.random.default_rng(arguments.seed)),
        ),
        "columns": (
            "One column, nothing changed: share with an alarm",
            lambda: columns_table(arguments.share, np.random.default_rng(arguments.seed + 1)),
        ),
        "power": (
            "One of 30 columns shifted: share in which it is named",
            lambda: power_table(arguments.share, np.random.default_rng(arguments.seed + 2)),
        ),
    }
    pythons = {name: getattr(arguments, name) for name in PACKAGES if getattr(arguments, name)}
    if pythons:
        parts["packages"] = (
            "The packages themselves, nothing changed",
            lambda: packages(pythons, arguments.share, arguments.seed + 3),
        )
    for name, (title, lines) in parts.items():
        if arguments.only in (None, name):
            began = time.process_time()
            print(f"\n## {title}\n")
            for line in lines():
                print(line, flush=True)
            print(f"\n{time.process_time() - began:.0f} s of CPU.", flush=True)


if __name__ == "__main__":
    sys.exit(main())
