"""Data in Python's own things: arrays, dicts of columns, lists of rows, and data sets and loaders of torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stethoscope.core.errors import BadFile, UsageError
from stethoscope.facts.data import Numbers, Rows
from stethoscope.facts.grids import Grid
from stethoscope.observe.data import keys
from stethoscope.observe.data.arrays import numbers_of
from stethoscope.observe.data.coding import Coded, coded_objects, holds_things, is_missing
from stethoscope.observe.data.frames import EXACT, Doubles, evenly
from stethoscope.observe.data.tables import Counted, Field, Keys

MOST_SAMPLES = 100_000
"""Samples that are taken from a data set or loader of torch, evenly from a data set, the first ones of a loader."""
MOST_FEATURES = 5_000
"""Values of a sample that become a column each."""
MOST_DOUBLES = 50_000_000
"""Values of all samples together that are held: 400 MB."""

Values = NDArray[Any]


class ArrayTable:
    """Columns that are NumPy arrays."""

    def __init__(self, columns: Mapping[str, Values], name: str) -> None:
        sizes = {column: len(values) for column, values in columns.items()}
        if len(set(sizes.values())) > 1:
            few, most = min(sizes, key=lambda one: sizes[one]), max(sizes, key=lambda one: sizes[one])
            raise UsageError(
                f"{name}: columns differ in length: {few!r} has {sizes[few]} rows, {most!r} has {sizes[most]}"
            )
        self.name = name
        self._columns = dict(columns)
        self._coded: dict[str, Coded] = {}

    def fields(self) -> tuple[Field, ...]:
        """The columns, in order."""
        return tuple(Field(name, _kind(values), str(values.dtype)) for name, values in self._columns.items())

    def rows(self) -> int:
        """How many rows."""
        return len(next(iter(self._columns.values()))) if self._columns else 0

    def numbers(self, names: Sequence[str], grids: Mapping[str, Grid]) -> dict[str, tuple[int, Numbers]]:
        """Nulls and statistics of each."""
        return {name: numbers_of(_doubles(self._columns[name]), grids.get(name)) for name in names}

    def words(self, names: Sequence[str], grids: Mapping[str, Grid]) -> dict[str, Counted]:
        """Values with their counts."""
        return {name: self._code(name).counted(grids.get(name)) for name in names}

    def sample(self, most: int) -> Rows:
        """Rows at even distances."""
        index = evenly(self.rows(), most)
        values: dict[str, NDArray[np.float64] | NDArray[np.object_]] = {}
        for field in self.fields():
            part = self._columns[field.name][index]
            if field.kind == "words":
                texts = np.empty(index.size, object)
                texts[:] = [None if is_missing(one) else str(one) for one in part.tolist()]
                values[field.name] = texts
            elif field.kind != "nested":
                values[field.name] = _doubles(part)
        return Rows(index, values)

    def keys(self, names: Sequence[str]) -> Keys | None:
        """A key for each row."""
        total = np.zeros(self.rows(), np.uint64)
        kinds = {field.name: field.kind for field in self.fields()}
        for name in names:
            values = self._columns[name]
            if kinds[name] in ("words", "nested"):
                coded = self._code(name)
                keys.add_words(total, name, coded.codes, coded.different)
            elif values.dtype.kind in "iu" and values.size and max(-int(values.min()), int(values.max())) > EXACT:
                keys.add_integers(total, name, np.ascontiguousarray(values).astype(np.uint64, copy=False))
            else:
                keys.add_numbers(total, name, _doubles(values))
        return total

    def _code(self, name: str) -> Coded:
        if name not in self._coded:
            values = self._columns[name]
            self._coded[name] = coded_objects(list(values) if values.ndim > 1 else values.tolist())
        return self._coded[name]


def _kind(values: Values) -> str:
    if values.ndim > 1:
        return "nested"
    if values.dtype.kind == "O":
        return "nested" if holds_things(values[:1000].tolist()) else "words"
    return {"b": "truth", "M": "date", "i": "number", "u": "number", "f": "number", "m": "number"}.get(
        values.dtype.kind, "nested" if values.dtype.kind in "cV" else "words"
    )


def _doubles(values: Values) -> Doubles:
    if values.dtype.kind in "Mm":
        unit = "datetime64[us]" if values.dtype.kind == "M" else "timedelta64[us]"
        seconds = values.astype(unit).astype(np.int64) / 1e6
        seconds[np.isnat(values)] = np.nan
        return np.asarray(seconds, np.float64)
    return np.ascontiguousarray(values, np.float64)


def from_array(array: Values, name: str) -> ArrayTable:
    """A matrix of rows and columns, or a structured array.

    Raises: UsageError for another shape.
    """
    if array.dtype.names:
        return ArrayTable({str(one): np.asarray(array[one]) for one in array.dtype.names}, name)
    if array.ndim == 1:
        return ArrayTable({"x0": array}, name)
    if array.ndim == 2:
        return ArrayTable({f"x{place}": array[:, place] for place in range(array.shape[1])}, name)
    raise UsageError(
        f"{name} is an array of shape {array.shape}: tables have two axes, rows and columns"
        + ("; flatten the others: array.reshape(len(array), -1)" if array.ndim > 2 else "")
    )


def from_columns(columns: Mapping[Any, Any], name: str) -> ArrayTable:
    """A dict of columns: lists, arrays or tensors."""
    made: dict[str, Values] = {}
    for column, values in columns.items():
        array = as_array(values)
        if array.ndim == 2 and array.shape[1] <= MOST_FEATURES and array.dtype.kind in "biuf":
            made.update({f"{column}{place}": array[:, place] for place in range(array.shape[1])})
        elif array.ndim == 0:
            raise UsageError(f"{name}: column {column!r} is one value, not a column: {values!r:.40}")
        else:
            made[str(column)] = array
    if not made:
        raise UsageError(f"{name} is an empty dict: there are no columns")
    return ArrayTable(made, name)


def from_records(records: Sequence[Mapping[Any, Any]], name: str) -> ArrayTable:
    """A list of dicts, one for each row; what a row lacks is missing."""
    names = list(dict.fromkeys(key for record in records for key in record))
    return ArrayTable({str(key): as_array([record.get(key) for record in records]) for key in names}, name)


def from_samples(source: Any, name: str) -> ArrayTable:
    """Samples of a torch data set, or of a loader or other iterable of batches, as columns `x0`, `x1`, ... and `y`.

    A sample is (inputs, target), a dict, or inputs alone. Of a data set with a length some samples are taken evenly,
    of anything else the first ones; numbers drawn by workers or by shuffling are those that the user's own pass over
    the loader would draw.
    """
    batched = _is_loader(source)
    rows: list[list[Values]] = []
    held = 0
    names: list[str] = []
    for sample in _samples(source, batched):
        parts = list(_parts(sample))
        names = names or [part for part, _ in parts]
        arrays = [_flat(as_array(values), batched) for _, values in parts]
        rows.append(arrays)
        held += sum(array.size for array in arrays)
        if held > MOST_DOUBLES or sum(len(one[0]) for one in rows) >= MOST_SAMPLES:
            break
    if not rows:
        raise UsageError(f"{name} gave no samples")
    columns: dict[str, Values] = {}
    for place, part in enumerate(names):
        try:
            whole = np.concatenate([arrays[place] for arrays in rows])
        except (ValueError, IndexError) as error:
            raise UsageError(f"{name}: samples differ in shape, so they are no rows of a table") from error
        if whole.shape[1] == 1 and (part != "x"):
            columns[part] = whole[:, 0]
        else:
            columns.update({f"{part}{i}": whole[:, i] for i in range(whole.shape[1])})
    return ArrayTable(columns, name)


def _is_loader(source: Any) -> bool:
    return hasattr(source, "batch_size") and hasattr(source, "dataset") and source.batch_size is not None


def _samples(source: Any, batched: bool) -> Iterator[Any]:
    if not batched and hasattr(source, "__getitem__") and hasattr(source, "__len__"):
        for place in evenly(len(source), MOST_SAMPLES):
            try:
                yield source[int(place)]
            except Exception as error:  # a data set of the user's fails in its own way
                raise BadFile(f"sample {place} cannot be read: {type(error).__name__}: {error}") from error
    else:
        yield from islice(source, None)


def _parts(sample: Any) -> Iterable[tuple[str, Any]]:
    """Name and values of each part of a sample."""
    if isinstance(sample, Mapping):
        return [(str(key), value) for key, value in sample.items()]
    if isinstance(sample, tuple | list) and len(sample) > 1 and not all(isinstance(one, int | float) for one in sample):
        middle = [f"x_{place}_" for place in range(1, len(sample) - 1)]
        return list(zip(["x", *middle, "y"], sample, strict=True))
    if isinstance(sample, tuple | list) and len(sample) == 2:
        return [("x", sample[0]), ("y", sample[1])]
    alone = isinstance(sample, tuple | list) and len(sample) == 1
    return [("x", sample[0] if alone else sample)]


def _flat(array: Values, batched: bool) -> Values:
    """A row for each sample. Shape: (samples, values of one)."""
    shaped = array.reshape(len(array), -1) if batched and array.ndim else array.reshape(1, -1)
    if shaped.shape[1] > MOST_FEATURES:
        chosen = np.linspace(0, shaped.shape[1] - 1, MOST_FEATURES).astype(np.int64)
        shaped = shaped[:, chosen]
    return shaped


def as_array(values: Any) -> Values:
    """A list, tensor or array as an array; of mixed things, one of objects."""
    if hasattr(values, "detach"):
        tensor = values.detach().cpu()
        try:
            return np.asarray(tensor.numpy())
        except TypeError:  # bfloat16
            return np.asarray(tensor.float().numpy())
    if isinstance(values, np.ndarray):
        return values
    if isinstance(values, list | tuple):
        kinds = {type(one) for one in values}
        if kinds <= {int, float, type(None)} and kinds - {type(None)}:
            if kinds == {int} and not any(abs(one) >= 2**63 for one in values):
                return np.array(values, np.int64)
            return np.array([np.nan if one is None else float(one) for one in values])
        if kinds == {bool} or all(issubclass(kind, np.generic) for kind in kinds):
            return np.array(values)
        if kinds <= {list, tuple} and kinds:
            try:
                return np.array(values, np.float64)
            except (ValueError, TypeError):
                pass
        objects = np.empty(len(values), object)
        objects[:] = values
        return objects
    return np.asarray(values)
