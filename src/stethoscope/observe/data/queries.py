"""Frames that are queries: Polars lazy, Dask, PySpark, Ibis and whatever else Narwhals hands a lazy frame for.

One set of queries for all engines; only counts and sums come back. Nothing is cast to an integer without `floor`
before it, since engines round such casts differently; NaN is made null at once, since engines differ in whether NaN is
null, equals itself, and sorts last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import narwhals as nw
import numpy as np

from stethoscope.core.errors import BadFile
from stethoscope.facts.data import Numbers, Rows
from stethoscope.facts.grids import BITS, OCTAVES, SIDE, Grid
from stethoscope.observe.data.arrays import FEW_SAMPLED, WIDEST, Survey, Tally, numbers_of_sums
from stethoscope.observe.data.duck import DIFFERENT, first_sentence
from stethoscope.observe.data.frames import FrameTable, evenly, kind_of
from stethoscope.observe.data.tables import MOST_VALUES, Counted, Field, Keys
from stethoscope.observe.data.words import counted, counted_there

TOGETHER = 50
"""Columns that are asked about in one query."""
KEYED = 5_000_000
"""Rows of which a key each is computed here; of more the engine itself counts the equal ones."""
ROW = "row_of_seen"
MINE, THEIRS = "mine_of_seen", "theirs_of_seen"


class LazyTable:
    """A frame that is a query."""

    def __init__(self, frame: nw.LazyFrame[Any], name: str) -> None:
        self.name = name
        self._schema = dict(frame.collect_schema())
        self._frame = _with_seconds(frame, self._schema)
        self._rows: int | None = None
        self._sampled: FrameTable | None = None

    def fields(self) -> tuple[Field, ...]:
        """The columns, in order."""
        return tuple(Field(name, kind_of(dtype), str(dtype)) for name, dtype in self._schema.items())

    def rows(self) -> int:
        """How many rows."""
        if self._rows is None:
            self._rows = int(self._asked(self._frame.select(nw.len().alias("rows")))[0][0])
        return self._rows

    def numbers(self, names: Sequence[str], grids: Mapping[str, Grid]) -> dict[str, tuple[int, Numbers]]:
        """Nulls and statistics of each."""
        found = {}
        for start in range(0, len(names), TOGETHER):
            some = names[start : start + TOGETHER]
            surveys = self._surveys(some)
            chosen = {name: grids.get(name) or surveys[name].grid() for name in some if surveys[name].count}
            narrow = {name: self._narrow(name, surveys[name], chosen[name]) for name in chosen}
            sums = self._sums({name: chosen[name] for name in chosen if narrow[name] is None}, surveys)
            for name in some:
                survey = surveys[name]
                numbers = narrow.get(name) or Numbers(infinite=survey.infinite)
                if name in sums:
                    numbers = numbers_of_sums(survey, chosen[name], self._counts(name, chosen[name]), *sums[name])
                found[name] = (survey.nans, numbers)
        return found

    def _narrow(self, name: str, survey: Survey, grid: Grid) -> Numbers | None:
        """Statistics of whole numbers within a narrow range, from the count of each; None for other columns."""
        if survey.greatest - survey.least >= WIDEST or not all(one.is_integer() for one in survey.sampled):
            return None
        value = _finite(nw.col(name).cast(nw.Float64)).alias("value")
        groups = self._frame.select(value).filter(~nw.col("value").is_null()).group_by("value")
        pairs = self._asked(groups.agg(nw.len().alias("rows")).select("value", "rows").head(WIDEST + 1))
        if len(pairs) > WIDEST:
            return None
        values, counts = (
            np.array([pair[0] for pair in pairs], np.float64),
            np.array([pair[1] for pair in pairs], np.int64),
        )
        tally = Tally(survey, grid, weighed=True)
        tally.add_counted(values, counts)
        return tally.numbers()

    def _surveys(self, names: Sequence[str]) -> dict[str, Survey]:
        """What the grids depend on."""
        asked = []
        for place, name in enumerate(names):
            value = nw.col(name).cast(nw.Float64)
            finite = _finite(value)
            asked += [
                finite.count().alias(f"count{place}"), _how_many(value.abs() == float("inf")).alias(f"infinite{place}"),
                finite.min().alias(f"least{place}"), finite.max().alias(f"greatest{place}"),
                finite.mean().alias(f"mean{place}"), finite.std(ddof=0).alias(f"spread{place}"),
            ]  # fmt: skip
        answer = iter(self._asked(self._frame.select(*asked))[0])
        sampled = self._few().sample(FEW_SAMPLED).values
        surveys = {}
        for name in names:
            count, infinite, least, greatest, mean, spread = (next(answer) for _ in range(6))
            some = np.asarray(sampled[name], np.float64)
            shape = tuple(np.nan if one is None else float(one) for one in (least, greatest, mean, spread))
            nulls = self.rows() - int(count) - int(infinite)
            surveys[name] = Survey(
                int(count), nulls, int(infinite), shape[0], shape[1], shape[2], shape[3], some[np.isfinite(some)]
            )
        return surveys

    def _sums(
        self, grids: Mapping[str, Grid], surveys: Mapping[str, Survey]
    ) -> dict[str, tuple[list[float], dict[float, int]]]:
        """Sums of powers around the centre and counts of zeros, negative and whole numbers; counts of watched ones."""
        if not grids:
            return {}
        asked = []
        for place, (name, grid) in enumerate(grids.items()):
            value = _finite(nw.col(name).cast(nw.Float64))
            distance = value - grid.centre
            squared = distance * distance
            single = [distance.sum(), squared.sum(), (distance * squared).sum(), (squared * squared).sum()]
            single += [_how_many(value == 0), _how_many(value < 0), _how_many(value.floor() == value)]
            single += [_how_many(value == float(one)) for one in surveys[name].watched()]
            asked += [one.alias(f"sum{place}_{number}") for number, one in enumerate(single)]
        answer = iter(self._asked(self._frame.select(*asked))[0])
        sums = {}
        for name in grids:
            totals = [float(next(answer)) for _ in range(7)]
            sums[name] = totals, {float(one): int(next(answer)) for one in surveys[name].watched()}
        return sums

    def _counts(self, name: str, grid: Grid) -> dict[int, int]:
        """Rows in each bin that has any."""
        binned = self._frame.select(_bin(_finite(nw.col(name).cast(nw.Float64)), grid).alias("bin"))
        grouped = binned.filter(~nw.col("bin").is_null()).group_by("bin").agg(nw.len().alias("rows"))
        return {int(place): int(count) for place, count in self._asked(grouped.select("bin", "rows"))}

    def words(self, names: Sequence[str], grids: Mapping[str, Grid]) -> dict[str, Counted]:
        """Values with their counts."""
        return {name: self._counted(name, grids.get(name)) for name in names}

    def _counted(self, name: str, grid: Grid | None) -> Counted:
        texts = self._frame.select(nw.col(name).cast(nw.String).alias("text")).filter(~nw.col("text").is_null())
        groups = texts.group_by("text").agg(nw.len().alias("rows")).select("text", "rows")
        pairs = self._asked(groups.head(DIFFERENT + 1))
        if len(pairs) <= DIFFERENT:
            counts = np.fromiter((count for _, count in pairs), np.int64, len(pairs))
            return counted([text for text, _ in pairs], counts, nulls=self.rows() - int(counts.sum()), grid=grid)
        distinct, count = self._asked(groups.select(nw.len().alias("len"), nw.col("rows").sum()))[0]
        top = self._asked(groups.sort("rows", "text", descending=[True, False]).head(MOST_VALUES))
        sized = groups.select(nw.col("text").str.len_chars().alias("length"), "rows")
        lengths = self._asked(sized.group_by("length").agg(nw.col("rows").sum()).select("length", "rows"))
        return counted_there(top, lengths, int(distinct), int(count), self.rows(), grid)

    def sample(self, most: int) -> Rows:
        """Rows at even distances, where the engine knows an order; else rows that it drew with a fixed seed."""
        return self._few(most).sample(most)

    def keys(self, names: Sequence[str]) -> Keys | None:
        """A key for each row, where rows have an order and there are not too many."""
        if self.rows() > KEYED or not self._is_ordered():
            return None
        total = np.zeros(self.rows(), np.uint64)
        for name in names:
            column = FrameTable(_eager(self._frame.select(name).collect()), self.name)
            part = column.keys([name])
            if part is None or part.size != total.size:
                return None
            total += part
        return total

    def repeated(self, names: Sequence[str]) -> int:
        """Rows that repeat an earlier one in these columns, as the engine counts them."""
        different = self._frame.select(*names).unique().select(nw.len().alias("rows"))
        return self.rows() - int(self._asked(different)[0][0])

    def shared_with(self, other: LazyTable, names: Sequence[str], *, different: bool = False) -> int | None:
        """Rows that the other table has as well in these columns, or different ones without nulls.

        None where the tables are of different engines, or of different connections of Ibis.
        """
        engine = self._frame.implementation
        if engine is not other._frame.implementation:
            return None
        if engine.is_ibis() and self._frame.to_native().get_backend() is not other._frame.to_native().get_backend():
            return None
        types = [{name: one._frame.collect_schema()[name] for name in names} for one in (self, other)]
        if not different and types[0] == types[1]:
            return self._rows_in(other, names)
        there = other._frame.select(*names).unique()
        mine = self._frame.select(*names)
        both = (mine.unique() if different else mine).join(there, on=list(names), how="semi")
        return int(self._asked(both.select(nw.len().alias("rows")))[0][0])

    def _rows_in(self, other: LazyTable, names: Sequence[str]) -> int:
        """Rows that the other table has as well. They are grouped: a join takes nulls for different from each other."""
        sides = [
            one._frame.select(*names).with_columns(nw.lit(mine).alias(MINE), nw.lit(1 - mine).alias(THEIRS))
            for one, mine in ((self, 1), (other, 0))
        ]
        counts = nw.concat(sides).group_by(*names).agg(nw.col(MINE).sum(), nw.col(THEIRS).sum())
        both = counts.filter(nw.col(THEIRS) > 0).select(nw.col(MINE).sum())
        return int(self._asked(both)[0][0] or 0)

    def _is_ordered(self) -> bool:
        return not self._frame.implementation.is_pyspark()

    def _few(self, most: int = FEW_SAMPLED) -> FrameTable:
        """A table of some rows in memory."""
        if self._sampled is None or (self._sampled.rows() < min(most, self.rows())):
            self._sampled = FrameTable(_eager(self._drawn(max(most, 4 * FEW_SAMPLED))), self.name)
        return self._sampled

    def _drawn(self, most: int) -> Any:
        rows, native, engine = self.rows(), self._frame.to_native(), self._frame.implementation
        if rows <= most:
            return self._frame.collect()
        if engine.is_polars():
            return _chosen(nw.from_native(native.with_row_index(ROW)), rows, most).drop(ROW).collect()
        if engine.is_dask():
            counted = native.assign(**{ROW: 1})
            counted[ROW] = counted[ROW].cumsum() - 1
            return _chosen(nw.from_native(counted), rows, most).drop(ROW).collect()
        if engine.is_ibis():
            import ibis

            return _chosen(nw.from_native(native.mutate(**{ROW: ibis.row_number()})), rows, most).drop(ROW).collect()
        if engine.is_pyspark():
            return nw.from_native(native.sample(fraction=min(1.0, 1.1 * most / rows), seed=0).limit(most)).collect()
        return self._frame.head(most).collect()

    def _asked(self, query: nw.LazyFrame[Any]) -> list[Any]:
        """The rows of an answer."""
        try:
            return list(_eager(query.collect()).rows())
        except Exception as error:  # each engine has errors of its own
            raise BadFile(f"{self.name} cannot be read: {first_sentence(str(error))}") from error


def _with_seconds(frame: nw.LazyFrame[Any], schema: Mapping[str, Any]) -> nw.LazyFrame[Any]:
    """The frame with dates as seconds since 1970 and durations as seconds; as each engine does that."""
    dates = [name for name, dtype in schema.items() if kind_of(dtype) == "date"]
    spans = [name for name, dtype in schema.items() if dtype == nw.Duration]
    native, engine = frame.to_native(), frame.implementation
    if dates and engine.is_pyspark():
        from pyspark.sql import functions as fn

        seconds = {name: fn.col(f"`{name}`").cast("timestamp").cast("double") for name in dates}
        native = native.withColumns(seconds)
        changed: nw.LazyFrame[Any] = nw.from_native(native)
        return changed
    if dates and engine.is_ibis():
        stamps = {name: native[name].cast("timestamp") for name in dates}
        native = native.mutate(**{
            name: stamp.epoch_seconds().cast("float64") + stamp.microsecond().cast("float64") % 1e6 / 1e6
            for name, stamp in stamps.items()
        })  # fmt: skip
        mutated: nw.LazyFrame[Any] = nw.from_native(native)
        return mutated
    made = []
    for name in dates:
        stamp = nw.col(name).cast(nw.Datetime("us")) if schema[name] == nw.Date else nw.col(name)
        made.append(stamp.dt.timestamp("us").cast(nw.Float64) / 1e6)
    made += [nw.col(name).dt.total_microseconds().cast(nw.Float64) / 1e6 for name in spans]
    return frame.with_columns(*made) if made else frame


def _eager(frame: Any) -> nw.DataFrame[Any]:
    return frame if isinstance(frame, nw.DataFrame) else nw.from_native(frame, eager_only=True)


def _finite(value: nw.Expr) -> nw.Expr:
    return nw.when(value.is_finite()).then(value)


def _how_many(truth: nw.Expr) -> nw.Expr:
    return nw.when(truth).then(nw.lit(1)).count()


def _chosen(frame: nw.LazyFrame[Any], rows: int, most: int) -> nw.LazyFrame[Any]:
    """The same rows that `evenly` chooses."""
    index = evenly(rows, most)
    return frame.filter(nw.col(ROW).is_in(index.tolist()))


def _bin(value: nw.Expr, grid: Grid) -> nw.Expr:
    """The bin of a finite number, as a double: see `facts/grids.py`."""
    distance = value - grid.centre
    size = distance.abs().clip(2.0**grid.octave, 2.0 ** (grid.octave + OCTAVES))
    octave = size.log(2.0).floor()
    inside = (size / (nw.lit(2.0) ** octave) * float(1 << BITS)).floor() - float(1 << BITS)
    level = ((octave - float(grid.octave)) * float(1 << BITS) + inside).clip(0.0, float(SIDE - 1))
    return nw.when(distance < 0).then(float(SIDE - 1) - level).otherwise(level + float(SIDE))
