"""Frozen dataclasses to plain JSON and back.

The JSON names every field, so that an older reader can leave out what it does not know and a newer one can
fill in what is missing. Strict JSON has no NaN: non-finite floats are the strings `NaN`, `Infinity` and
`-Infinity` (a text that reads like one of them is marked). Arrays keep dtype and shape and are little-endian.

    float("nan")        "NaN"
    "NaN"               {"$text": "NaN"}
    np.array([1.0])     {"$array": "<f8", "shape": [1], "base64": "AAAAAAAA8D8="}
    {1: "one"}          {"$dict": [[1, "one"]]}        only where a key is no text, or starts with `$`
"""

from __future__ import annotations

import base64
import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping, Set
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, cast

import numpy as np
from numpy.typing import NDArray

from stethoscope.core.errors import BadFile

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Decoder = Callable[[Any], Any]  # from JSON as `json.loads` gives it, to whatever the hint says
T = TypeVar("T")

NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def pack(value: object) -> Json:
    """A value as plain JSON.

    Dataclasses become objects, tuples and sets lists, enums their values. Anything else that JSON does not
    know (a path, a dtype) becomes its `str`.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return pack(value.value)
    if isinstance(value, str):
        return {"$text": str(value)} if value in NON_FINITE else str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _name_of(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: pack(getattr(value, name)) for name in _field_names(type(value))}
    if isinstance(value, tuple | list):
        return [pack(item) for item in value]
    if isinstance(value, np.ndarray):
        return _pack_array(value)
    if isinstance(value, np.generic):
        return pack(value.item())
    if isinstance(value, Mapping):
        return _pack_mapping(value)
    if isinstance(value, Set):
        return [pack(item) for item in sorted(value, key=repr)]
    return str(value)


def unpack(kind: type[T], data: object) -> T:
    """The value of type `kind` that `pack` made `data` from.

    Fields that `kind` does not have are left out, missing ones take their defaults. Tuples and lists below an
    `Any` come back as lists.

    Raises: BadFile, when a field without a default is missing or a value has another shape than its type.
    """
    try:
        return cast(T, _decoder(cast(Any, kind))(data))  # a type is hashable, which its stub does not say
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise BadFile(f"what was stored is no {getattr(kind, '__name__', kind)}: {error}") from error


def _name_of(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def _pack_array(array: NDArray[Any]) -> Json:
    if array.dtype.hasobject:
        return pack(array.tolist())
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    text = base64.b64encode(little.tobytes()).decode("ascii")
    return {"$array": little.dtype.str, "shape": list(array.shape), "base64": text}


def _pack_mapping(mapping: Mapping[Any, Any]) -> Json:
    if all(isinstance(key, str) and not key.startswith("$") for key in mapping):
        return {str(key): pack(value) for key, value in mapping.items()}
    return {"$dict": [[pack(key), pack(value)] for key, value in mapping.items()]}


def _unpack_plain(data: Any) -> Any:
    """Decode without a hint: by the shape of the JSON alone."""
    if isinstance(data, str):
        return NON_FINITE.get(data, data)
    if isinstance(data, list):
        return [_unpack_plain(item) for item in data]
    if not isinstance(data, dict):
        return data
    if "$text" in data:
        return data["$text"]
    if "$array" in data:
        return _unpack_array(data)
    if "$dict" in data:
        return {_unpack_plain(key): _unpack_plain(value) for key, value in data["$dict"]}
    return {key: _unpack_plain(value) for key, value in data.items()}


def _unpack_array(data: dict[str, Any]) -> NDArray[Any]:
    raw = bytearray(base64.b64decode(data["base64"]))  # a bytearray, so that the array can be written to
    dtype = np.dtype(data["$array"])
    if 0 in data["shape"]:
        return np.zeros(data["shape"], dtype)
    return np.frombuffer(raw, dtype).reshape(data["shape"])


@cache
def _decoder(hint: Any) -> Decoder:
    """What turns JSON into a value of this type hint."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return _union_decoder(arguments)
    if origin is tuple:
        return _tuple_decoder(arguments)
    if origin is list:
        item = _decoder(arguments[0])
        return lambda data: [item(entry) for entry in _listed(data)]
    if origin is dict:
        return _dict_decoder(*arguments)
    if dataclasses.is_dataclass(hint):
        return _dataclass_decoder(cast(type, hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return lambda data: hint(_unpack_plain(data))
    if hint is float:
        return lambda data: float(_scalar(_unpack_plain(data)))
    return _unpack_plain


def _union_decoder(members: tuple[Any, ...]) -> Decoder:
    rich = [member for member in members if typing.get_origin(member) or dataclasses.is_dataclass(member)]
    if not rich:
        return _unpack_plain if members != (float, type(None)) else _optional(_decoder(float))
    if len(rich) > 1:
        raise TypeError(f"cannot tell {' and '.join(map(str, rich))} apart in JSON")
    inner = _decoder(rich[0])

    def decode(data: Any) -> Any:
        return inner(data) if isinstance(data, dict | list) else _unpack_plain(data)

    return decode


def _optional(inner: Decoder) -> Decoder:
    return lambda data: None if data is None else inner(data)


def _tuple_decoder(arguments: tuple[Any, ...]) -> Decoder:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        item = _decoder(arguments[0])
        return lambda data: tuple([item(entry) for entry in _listed(data)])
    items = [_decoder(argument) for argument in arguments]
    return lambda data: tuple(decode(entry) for decode, entry in zip(items, _listed(data), strict=True))


def _dict_decoder(key_hint: Any, value_hint: Any) -> Decoder:
    key, value = _decoder(key_hint), _decoder(value_hint)

    def decode(data: Any) -> Any:
        if "$dict" in data:
            return {key(name): value(entry) for name, entry in data["$dict"]}
        return {name: value(entry) for name, entry in data.items()}

    return decode


def _dataclass_decoder(kind: type) -> Decoder:
    decoders: dict[str, Decoder] = {}  # filled at first use: a Finding holds Findings

    def decode(data: Any) -> Any:
        if not isinstance(data, dict):
            raise TypeError(f"expected the fields of a {kind.__name__}, found {data!r:.60}")
        if not decoders:
            hints = typing.get_type_hints(kind)
            decoders.update({name: _decoder(hints[name]) for name in _field_names(kind)})
        return kind(**{name: decoders[name](entry) for name, entry in data.items() if name in decoders})

    return decode


def _listed(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise TypeError(f"expected a list, found {data!r:.60}")
    return data


def _scalar(data: Any) -> float:
    if isinstance(data, int | float):
        return data
    raise TypeError(f"expected a number, found {data!r:.60}")
