"""Splits of data in source code, and what learned from the data before: scalers, selectors, samplers.

for split in splits_of(code):
    list(fitted_in(code, split.call.arguments[0]))    the `fit_transform` calls whose result is split
part_of_split(code, value)                            the training or the test part of a split, where a value is one
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from stethoscope.facts.code import (
    NOWHERE,
    Attribute,
    Call,
    Code,
    Constant,
    Each,
    Group,
    Item,
    Name,
    Operation,
    Symbol,
    Value,
)
from stethoscope.facts.expressions import values_of
from stethoscope.facts.things import MOST_STEPS, followed, iterated

SPLITTERS = frozenset({
    "sklearn.model_selection.train_test_split", "sklearn.cross_validation.train_test_split",
    "sklearn.model_selection._split.train_test_split",
})  # fmt: skip
SCALING = frozenset({
    "StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler", "QuantileTransformer", "PowerTransformer",
    "KBinsDiscretizer", "SimpleImputer", "Imputer", "KNNImputer", "IterativeImputer", "TfidfVectorizer",
    "TfidfTransformer", "PCA", "IncrementalPCA", "KernelPCA", "TruncatedSVD", "FastICA", "NMF", "FactorAnalysis",
    "SparsePCA", "LatentDirichletAllocation", "RandomizedPCA",
})  # fmt: skip
"""Learn numbers of the data: means, ranges, directions. What has no numbers to learn (`Normalizer`) is not here, nor
what only lists categories."""
SELECTING = frozenset({
    "SelectKBest", "SelectPercentile", "SelectFpr", "SelectFdr", "SelectFwe", "GenericUnivariateSelect", "RFE", "RFECV",
    "SelectFromModel", "SequentialFeatureSelector", "TargetEncoder", "LinearDiscriminantAnalysis", "LDA",
    "NeighborhoodComponentsAnalysis", "PLSRegression", "BorutaPy", "LeaveOneOutEncoder", "CatBoostEncoder",
    "JamesSteinEncoder", "MEstimateEncoder", "WOEEncoder",
})  # fmt: skip
"""Learn from the labels as well."""
ENCODING = frozenset({"LabelEncoder", "OrdinalEncoder", "OneHotEncoder", "LabelBinarizer", "MultiLabelBinarizer"})
"""Give numbers to categories, in the order in which they are met."""
LISTING = frozenset({"CountVectorizer", "DictVectorizer"})
"""List what they meet as columns: other rows have other columns. What they list before a split does no harm."""
_JOINED = frozenset({"Pipeline", "make_pipeline", "ColumnTransformer", "make_column_transformer", "FeatureUnion",
                     "make_union"})  # fmt: skip
_LIBRARIES = ("sklearn.", "category_encoders.", "boruta.", "imblearn.", "cuml.", "sklearn_pandas.")
KEEPING = frozenset({
    ".copy", ".astype", ".to_numpy", ".reshape", ".toarray", ".todense", ".fillna", ".drop", ".reset_index", ".rename",
    ".as_matrix", ".ravel", ".flatten", ".round", ".to_frame", ".clip", ".apply", ".join", ".merge", ".assign",
})  # fmt: skip
"""Methods of an array or a table that give its rows again."""
_WRAPPING = frozenset({
    "numpy.array", "numpy.asarray", "numpy.hstack", "numpy.concatenate", "numpy.column_stack", "numpy.vstack",
    "scipy.sparse.hstack", "scipy.sparse.csr_matrix", "pandas.DataFrame", "pandas.concat", "pandas.get_dummies",
    "pandas.Series", "numpy.append", "numpy.nan_to_num", "numpy.log1p", "numpy.expand_dims", "numpy.reshape",
    "pandas.merge", "numpy.squeeze", "numpy.ravel",
})  # fmt: skip
"""Calls that give the rows that they were given."""
_HANDED_ON = frozenset({"numpy.array", "numpy.asarray", "pandas.DataFrame", ".transform", ".fit_transform"})
_STORES = ("[]", ".loc[]", ".iloc[]")


class Fit(NamedTuple):
    """That something learned from data: `scaler.fit_transform(X)`."""

    call: Call
    name: str
    """Its class, without the library."""
    data: Value
    made: Call
    """The call that constructed it."""


class Split(NamedTuple):
    """A call of `train_test_split`."""

    call: Call


class Part(NamedTuple):
    """One of the arrays that a split gives."""

    split: Call
    which: str
    """train or test."""
    array: int
    """Of which argument; of a fold a negative number, by what is indexed."""


def splits_of(code: Code) -> tuple[Split, ...]:
    """The splits of a file."""
    return tuple(Split(call) for call in code.calls_of(*SPLITTERS))


def constructed(code: Code, value: Value | None) -> Call | None:
    """The call that constructed something of scikit-learn's or of a library in its style."""
    found, _ = followed(code, value)
    for _ in range(4):
        if not (isinstance(found, Call) and found.name in (".fit", ".set_output", ".set_params")):
            break
        found, _ = followed(code, found.receiver)
    return found if isinstance(found, Call) and found.name.startswith(_LIBRARIES) else None


def learners_in(code: Code, made: Call, depth: int = 0) -> Iterator[tuple[Call, str]]:
    """What a construction makes that learns, by class: itself, or the parts of a pipeline."""
    name = made.name.rpartition(".")[2]
    if name not in _JOINED:
        yield made, name
        return
    waiting = [*made.arguments, *(value for _, value in made.keywords)]
    for _ in range(MOST_STEPS):
        if not waiting or depth > 4:
            return
        value, _ = followed(code, waiting.pop(0))
        if isinstance(value, Group):
            waiting += value.items
        elif isinstance(value, Call) and value.name.startswith(_LIBRARIES):
            yield from learners_in(code, value, depth + 1)


def fits_of(code: Code) -> tuple[Fit, ...]:
    """All calls that let a transformer of a known class learn."""
    if "fits" not in code.memo:
        code.memo["fits"] = tuple(
            fit for call in code.calls_of(".fit", ".fit_transform", ".fit_resample", ".fit_sample")
            if (fit := fit_of(code, call)) is not None
        )  # fmt: skip
    found: tuple[Fit, ...] = code.memo["fits"]
    return found


def fit_of(code: Code, call: Call) -> Fit | None:
    """What learns in a call, and from what."""
    made, data = constructed(code, call.receiver), call.argument(0, "X")
    if made is None or data is None:
        return None
    names = [name for _, name in learners_in(code, made)]
    known = next((name for name in names if name in SELECTING), None) or next(
        (name for name in names if name in SCALING), None
    )
    return Fit(call, known or names[0] if names else "", data, made)


def fitted_in(code: Code, value: Value | None, number: int) -> Iterator[Fit]:
    """What learned from data and made, or changed, the rows that a value holds.

    Args:
        code: the file.
        value: an array or a table.
        number: the call that is given the value: what is stored in a table after it does not count.
    """
    seen: set[int] = set()
    waiting: list[tuple[Value | None, int]] = [(value, number)]
    for _ in range(4 * MOST_STEPS):
        if not waiting:
            return
        one, before = waiting.pop()
        if isinstance(one, Name) and one.binding != NOWHERE:
            binding = code.bindings[one.binding]
            if one.binding in seen and not before:
                continue
            seen.add(one.binding)
            if binding.how in ("assign", "augment") and not binding.item:
                waiting.append((binding.value, binding.order))
            waiting += [(store, order) for store, order in _stored(code, one, before) if order not in seen]
        elif isinstance(one, Attribute) and one.name in ("values", "iloc", "loc", "T"):
            waiting.append((one.value, before))
        elif isinstance(one, Item):
            joins = isinstance(one.value, Symbol) and one.value.name in ("numpy.c_", "numpy.r_")
            waiting.append((one.key if joins else one.value, before))
        elif isinstance(one, Group):
            waiting += [(item, before) for item in one.items]
        elif isinstance(one, Call):
            if one.name in (".fit_transform", ".fit_resample", ".fit_sample"):
                fit = fit_of(code, one)
                if fit is not None:
                    yield fit
                    waiting.append((fit.data, before))
            elif one.name == ".transform":
                fit = _earlier_fit(code, one)
                if fit is not None:
                    yield fit
            elif one.name in KEEPING:
                waiting.append((one.receiver, before))
            elif one.name in _WRAPPING:
                waiting += [(argument, before) for argument in one.arguments]


def resampled_in(code: Code, value: Value | None) -> Iterator[tuple[Call, str]]:
    """The calls that copied or made up rows which a value holds, each with what it is called."""
    waiting = [value]
    for _ in range(2 * MOST_STEPS):
        if not waiting:
            return
        one = waiting.pop()
        if isinstance(one, Name) and one.binding != NOWHERE:
            if code.bindings[one.binding].how in ("assign", "augment"):
                waiting.append(code.bindings[one.binding].value)
        elif isinstance(one, Item) or (isinstance(one, Attribute) and one.name in ("values", "iloc", "loc")):
            waiting.append(one.value)
        elif isinstance(one, Group):
            waiting += one.items
        elif isinstance(one, Call):
            made = constructed(code, one.receiver) if one.name in (".fit_resample", ".fit_sample") else None
            replaces = one.keyword("replace")
            copies = not (isinstance(replaces, Constant) and not replaces.value) and not one.is_open
            if made is not None and made.name.startswith(("imblearn.over_sampling.", "imblearn.combine.")):
                yield one, made.name.rpartition(".")[2]
            elif one.name == "sklearn.utils.resample" and copies:
                yield one, "resample"
            elif one.name in KEEPING:
                waiting.append(one.receiver)
            elif one.name in _WRAPPING:
                waiting += one.arguments


def _stored(code: Code, name: Name, before: int) -> Iterator[tuple[Value, int]]:
    """What was put into columns of a table since it got its name, before a call."""
    binding = code.bindings[name.binding]
    home = code.function_at(binding.context)
    stores: dict[str, list[int]] | None = code.memo.get("stores")
    if stores is None:
        stores = code.memo["stores"] = {}
        for number, one in enumerate(code.bindings):
            if one.name.endswith("[]") and one.how == "assign":
                stores.setdefault(one.name, []).append(number)
    for ending in _STORES:
        for number in stores.get(name.name + ending, ()):
            one = code.bindings[number]
            if number < name.binding or one.order > before or one.value is None:
                continue
            between = code.bindings[name.binding + 1 : number]
            if code.function_at(one.context) == home and not any(other.name == name.name for other in between):
                yield one.value, one.order


def _earlier_fit(code: Code, call: Call) -> Fit | None:
    """The `fit` before a `transform` of the same object, in the same function."""
    chained = call.receiver
    if isinstance(chained, Call) and chained.name == ".fit":
        return fit_of(code, chained)
    if not isinstance(chained, Name) or chained.binding == NOWHERE:
        return None
    first, _ = code.functions[code.function_at(call.context)].calls
    for other in reversed(code.calls[first : call.number]):
        same = isinstance(other.receiver, Name) and other.receiver.binding == chained.binding
        if same and other.name in (".fit", ".fit_transform"):
            return fit_of(code, other)
    return None


def part_of_split(code: Code, value: Value | None, *, folds: bool = False) -> Part | None:
    """Which part of a split, or of one of the `folds`, a value holds rows of, where it is certain."""
    for _ in range(MOST_STEPS):
        if isinstance(value, Name) and value.binding != NOWHERE:
            binding = code.bindings[value.binding]
            if binding.how != "assign":
                return None
            whole = binding.value
            if isinstance(whole, Call) and whole.name in SPLITTERS:
                known = len(binding.item) == 1 and binding.item[0] >= 0 and not whole.is_open
                return Part(whole, "test" if binding.item[0] % 2 else "train", binding.item[0] // 2) if known else None
            if binding.item:
                return None
            value = whole
        elif isinstance(value, Item) or (isinstance(value, Attribute) and value.name in ("values", "iloc", "loc")):
            fold = _part_of_fold(code, value) if folds and isinstance(value, Item) else None
            if fold is not None:
                return fold
            value = value.value
        elif isinstance(value, Call) and value.name in KEEPING:
            value = value.receiver
        elif isinstance(value, Call) and value.name in _HANDED_ON:
            value = value.argument(0)
        else:
            return None
    return None


def _part_of_fold(code: Code, value: Item) -> Part | None:
    """The part of a fold that rows are: `X[train]` in `for train, test in folds.split(X)`."""
    key = value.key.items[0] if isinstance(value.key, Group) and value.key.items else value.key
    base = value.value.value if isinstance(value.value, Attribute) else value.value
    if not (isinstance(key, Name) and isinstance(base, Name) and NOWHERE not in (key.binding, base.binding)):
        return None
    binding = code.bindings[key.binding]
    source, place = iterated(code, binding.value, binding.item) if binding.how == "for" else (None, ())
    is_fold = isinstance(source, Call) and source.name == ".split" and place in ((0,), (1,))
    if not is_fold or not isinstance(source, Call) or constructed(code, source.receiver) is None:
        return None
    return Part(source, "test" if place[0] else "train", -2 - base.binding)


def is_some_rows(code: Code, value: Value | None) -> bool:
    """Whether a value may be some rows of another: `X[:800]`, `X[mask]`, what may be a split made by hand."""
    if not isinstance(value, Item):
        return False
    key = value.key
    if isinstance(key, Group) and key.kind == "tuple" and key.items:
        key = key.items[0]
    if isinstance(key, Operation) and key.operator == ":":
        return not all(isinstance(one, Constant) and one.value is None for one in key.operands)
    found, _ = followed(code, key)
    columns = isinstance(found, Attribute) and found.name == "columns"
    listed = isinstance(found, Call) and found.name in (".tolist", "builtins.list", ".difference", ".drop")
    if isinstance(found, Operation) and found.operator == "+":
        listed = any(isinstance(followed(code, one)[0], Group | Each) for one in found.operands)
    return not (isinstance(found, Constant | Group | Each) or columns or listed)


def _is_one_of_several(code: Code, value: Value | None) -> bool:
    """Whether other rows of the same are taken as well: of `X[50:]` alone, those before are left out of everything."""
    if not isinstance(value, Item):
        return True
    taken: dict[str, set[str]] | None = code.memo.get("rows taken")
    if taken is None:
        taken = code.memo["rows taken"] = {}
        for one in values_of(code):
            if isinstance(one, Item) and is_some_rows(code, one):
                taken.setdefault(code.text(one.value.at), set()).add(_rows(code, one))
    key = value.key
    sliced = key.items[0] if isinstance(key, Group) and key.items else key
    is_slice = isinstance(sliced, Operation) and sliced.operator == ":"
    return not is_slice or len(taken.get(code.text(value.value.at), ())) > 1


def _rows(code: Code, value: Item) -> str:
    key = value.key
    return code.text(key.items[0].at if isinstance(key, Group) and key.items else key.at)


def holds_all_rows(code: Code, fit: Fit) -> bool:
    """Whether what something learned from is, as far as is seen, neither part of a split nor some rows of many.

    Rows of which no others are taken are all that there are, where they themselves are transformed.
    """
    value: Value | None = fit.data
    transformed = fit.call.name == ".fit_transform"
    for _ in range(MOST_STEPS):
        if is_some_rows(code, value) and not (transformed and not _is_one_of_several(code, value)):
            return False
        if isinstance(value, Name) and value.binding != NOWHERE:
            binding = code.bindings[value.binding]
            if binding.how != "assign" or binding.item:
                whole = binding.value
                is_part = isinstance(whole, Call) and "split" in whole.name
                return binding.how in ("assign", "argument") and not is_part
            value = binding.value
        elif isinstance(value, Attribute | Item):
            value = value.value
        elif isinstance(value, Call) and value.name in KEEPING:
            value = value.receiver
        else:
            return isinstance(value, Name | Call | Group)
    return False
