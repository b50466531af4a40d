"""What it costs to inspect data sets: a Markdown table of CPU seconds and memory, beside counting and other tools.

    python bench/data.py                                    all of it, some minutes
    python bench/data.py --only memory --rounds 1
    python bench/data.py --evidently ENV/bin/python --deepchecks OTHER/bin/python

Two sets of 1,000,000 rows of 20 numeric and 10 text columns (5 to 1,000 values), from memory and from Parquet; two of
4,000,000 rows from Parquet; two of 100,000 rows with all that is looked at, a target among them. Every measurement is a
process of its own; each round runs all of them one after another, so that a busy machine slows all alike. Only ratios
within a round mean anything: their median and range are printed. `counting` is what cannot be left out: each numeric
column into 4,096 bins, and each text column, as codes that cost nothing (`counting`) or from the texts (`counting from
texts`), counted by value. Libraries are imported before, but for Parquet. Other tools are run by the Python of an
environment that has them, and skipped without one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

GROUPS = {
    "memory": ("counting", "polars-codes", "pandas-codes", "counting-texts", "polars", "pandas", "polars-rows"),
    "files": ("counting-parquet", "parquet", "parquet-rows"),
    "large": ("parquet",),
    "small": ("counting", "whole", "evidently", "deepchecks"),
    "evidently": ("counting", "polars", "evidently"),
}
ROWS = {"memory": 1_000_000, "files": 1_000_000, "large": 4_000_000, "small": 100_000, "evidently": 1_000_000}
WHAT = {
    "counting": "counting (NumPy, texts as codes)",
    "counting-texts": "counting from texts (NumPy, Polars)",
    "counting-parquet": "reading and counting (PyArrow, NumPy)",
    "polars-codes": "profiles and judgement, Polars frames, texts as `Categorical`",
    "pandas-codes": "profiles and judgement, pandas frames, texts as `category`",
    "polars": "profiles and judgement, Polars frames",
    "pandas": "profiles and judgement, pandas frames",
    "polars-rows": "the same, with equal rows and overlap, Polars frames",
    "parquet": "profiles and judgement, Parquet",
    "parquet-rows": "the same, with equal rows and overlap, Parquet",
    "whole": "all that `inspect_data` does",
    "evidently": "evidently, DataDriftPreset",
    "deepchecks": "deepchecks, data_integrity and train_test_validation",
}
CATEGORIES = (5, 5, 10, 10, 20, 50, 100, 200, 500, 1000)

CHILD = """
import json, resource, sys, time
what, one, two = sys.argv[1:]
def seconds():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
def done(began):
    try:  # of this program alone: what `getrusage` says begins with what its parent held
        peak = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu": seconds() - began, "peak": peak, "wall": time.perf_counter() - clock}))
clock = time.perf_counter()
"""

OURS = """
import numpy as np
from stethoscope.diagnosing.inspect import inspect
from stethoscope.facts.data import Data, DataSet
from stethoscope.observe.data.opening import open_table
from stethoscope.observe.data.profiling import profile
from stethoscope.observe.data.repeats import keyed, overlap_of, repeats_of
def judged(sources, rows):
    first, second = open_table(sources[0], "train"), open_table(sources[1], "test")
    one = profile(first); other = profile(second, one)
    sets, overlap = [DataSet("train", one), DataSet("test", other)], None
    if rows:
        keys = keyed(first), keyed(second)
        sets = [DataSet(s.name, s.profile, repeats=repeats_of(t, k)) for s, t, k in zip(sets, (first, second), keys)]
        overlap = overlap_of(first, second, (one, other), keys)
    return inspect(Data(*sets, overlap=overlap))
def warmed(sources, rows):
    judged([source[:100] for source in sources], rows)
judged([{"a": np.arange(50.0)}, {"a": np.arange(50.0)}], False)
"""

COUNTING = """
import numpy as np
def bins(columns):
    for name in columns[0]:
        if columns[0][name].dtype.kind == "f":
            least, greatest = columns[0][name].min(), columns[0][name].max()
            for values in (one[name] for one in columns):
                places = (values - least) * (4095 / (greatest - least))
                np.clip(places, 0, 4095, out=places)
                np.bincount(places.astype(np.int64), minlength=4096)
        else:
            for one in columns:
                np.bincount(one[name])
"""

BODIES = {
    "counting": COUNTING + '''
import polars as pl
frames = [pl.read_parquet(path) for path in (one, two)]
columns = [{name: frame[name].cast(pl.Categorical).to_physical().to_numpy().astype(np.int64) if name[0] == "c" else
            frame[name].to_numpy() for name in frame.columns} for frame in frames]
bins([{name: values[:100] for name, values in columns[0].items()}] * 2)
began = seconds(); bins(columns); done(began)
''',
    "counting-texts": COUNTING + '''
import polars as pl
frames = [pl.read_parquet(path) for path in (one, two)]
columns = [{name: frame[name].to_numpy() for name in frame.columns if name[0] != "c"} for frame in frames]
began = seconds(); bins(columns)
for frame in frames:
    for name in frame.columns:
        if name[0] == "c": frame[name].value_counts()
done(began)
''',
    "counting-parquet": COUNTING + '''
import pyarrow.parquet as pq, pyarrow.compute as pc
began = seconds()
files = [pq.ParquetFile(path) for path in (one, two)]
for name in files[0].schema_arrow.names:
    pair = [file.read([name]).column(0) for file in files]
    if name[0] == "c":
        for column in pair: pc.value_counts(column)
    else:
        bins([{name: column.to_numpy()} for column in pair])
done(began)
''',
    "polars-codes": OURS + '''
import polars as pl
frames = [pl.read_parquet(path).with_columns(pl.col(pl.String).cast(pl.Categorical)) for path in (one, two)]
warmed(frames, False); began = seconds(); judged(frames, False); done(began)
''',
    "pandas-codes": OURS + '''
import pandas as pd
frames = [pd.read_parquet(path) for path in (one, two)]
frames = [one.astype({name: "category" for name in one if name[0] == "c"}) for one in frames]
warmed(frames, False); began = seconds(); judged(frames, False); done(began)
''',
    "polars": OURS + '''
import polars as pl
frames = [pl.read_parquet(path) for path in (one, two)]
warmed(frames, False); began = seconds(); judged(frames, False); done(began)
''',
    "polars-rows": OURS + '''
import polars as pl
frames = [pl.read_parquet(path) for path in (one, two)]
warmed(frames, True); began = seconds(); judged(frames, True); done(began)
''',
    "pandas": OURS + '''
import pandas as pd
frames = [pd.read_parquet(path) for path in (one, two)]
warmed(frames, False); began = seconds(); judged(frames, False); done(began)
''',
    "parquet": OURS + 'began = seconds(); judged([one, two], False); done(began)\n',
    "parquet-rows": OURS + 'began = seconds(); judged([one, two], True); done(began)\n',
    "whole": '''
import pandas as pd
from stethoscope.inspecting import inspect_data
frames = [pd.read_parquet(path) for path in (one, two)]
inspect_data(frames[0][:200], frames[1][:200], target="y")
began = seconds(); inspect_data(*frames, target="y"); done(began)
''',
    "evidently": '''
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
frames = [pd.read_parquet(path) for path in (one, two)]
began = seconds()
report = Report([DataDriftPreset()]).run(frames[1], frames[0]); report.json()
done(began)
''',
    "deepchecks": '''
import warnings; warnings.simplefilter("ignore")
import numpy as np; np.Inf = np.inf
import pandas as pd
from deepchecks.tabular import Dataset
from deepchecks.tabular.suites import data_integrity, train_test_validation
frames = [pd.read_parquet(path) for path in (one, two)]
texts = [name for name in frames[0] if name[0] == "c"]
sets = [Dataset(frame, label="y", cat_features=texts) for frame in frames]
began = seconds()
data_integrity().run(sets[0], with_display=False); train_test_validation().run(*sets, with_display=False)
done(began)
''',
}  # fmt: skip


def make(path: Path, rows: int, seed: int) -> None:
    """Write a table: normal, lognormal, Poisson, uniform and heavy-tailed numbers, texts by Zipf's law, a target."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(seed)
    columns: dict[str, object] = {}
    for place in range(20):
        columns[f"n{place}"] = (
            rng.normal(place, 1 + place, rows), rng.lognormal(0, 1, rows), rng.poisson(5, rows).astype(float),
            rng.uniform(0, 1, rows), rng.standard_t(3, rows),
        )[place % 5]  # fmt: skip
    for place, count in enumerate(CATEGORIES):
        share = 1 / np.arange(1, count + 1)
        columns[f"c{place}"] = pl.Series([f"v{one}" for one in range(count)])[
            rng.choice(count, rows, p=share / share.sum())
        ]
    if rows <= 100_000:
        columns["y"] = (rng.random(rows) < 0.5).astype(np.int64)
    pl.DataFrame(columns).write_parquet(path)


def measure(what: str, python: str, paths: Sequence[Path]) -> dict[str, float] | None:
    """CPU seconds, peak memory (MB) and wall-clock seconds of one process; None where it failed."""
    said = subprocess.run(
        [python, "-W", "ignore", "-c", CHILD + BODIES[what], what, *map(str, paths)],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    if said.returncode:
        reason = (said.stderr.strip().splitlines() or ["no reason given"])[-1]
        print(f"{WHAT[what]} failed: {reason[:200]}", file=sys.stderr)
        return None
    return dict(json.loads(said.stdout.strip().splitlines()[-1]))


def report(group: str, found: dict[str, list[dict[str, float]]]) -> None:
    """Print the table of a group."""
    base = next((what for what in found if what.startswith("counting") and found[what]), None)
    print(f"\n### 2 x {ROWS[group]:,} x 30 ({group})\n")
    print("| what | CPU s | ratio to the first row (range) | peak MB |\n| --- | --- | --- | --- |")
    for what, rounds in found.items():
        if not rounds:
            print(f"| {WHAT[what]} | not run | | |")
            continue
        cpu = statistics.median(one["cpu"] for one in rounds)
        ratio = "1"
        if base is None:
            ratio = ""
        elif what != base:
            ratios = [one["cpu"] / other["cpu"] for one, other in zip(rounds, found[base], strict=False)]
            ratio = f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
        print(f"| {WHAT[what]} | {cpu:.2f} | {ratio} | {max(one['peak'] for one in rounds):.0f} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(GROUPS), action="append", help="this group of measurements")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--evidently", metavar="PYTHON", help="Python of an environment with evidently")
    parser.add_argument("--deepchecks", metavar="PYTHON", help="Python of an environment with deepchecks")
    options = parser.parse_args()
    pythons = {"evidently": options.evidently, "deepchecks": options.deepchecks}
    for name, python in pythons.items():
        if python is None:
            print(f"{name} is not measured: no environment was given with --{name}.")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}: the machine may be shared, compare ratios only.")
    with tempfile.TemporaryDirectory() as folder:
        for group in options.only or [name for name in GROUPS if name != "evidently" or options.evidently]:
            paths = [Path(folder) / f"{ROWS[group]}-{seed}.parquet" for seed in (0, 1)]
            for seed, path in enumerate(paths):
                if not path.exists():
                    make(path, ROWS[group], seed)
            found: dict[str, list[dict[str, float]]] = {what: [] for what in GROUPS[group]}
            for _ in range(options.rounds):
                for what in GROUPS[group]:
                    python = pythons.get(what, sys.executable)
                    result = measure(what, python, paths) if python else None
                    if result:
                        found[what].append(result)
            report(group, found)


if __name__ == "__main__":
    main()
