"""What a loader's workers draw random numbers from, read off the data set's objects and the code of its functions.

Nothing of the user's is called: attributes are read off `__dict__`, and functions are read as bytecode.
"""

from __future__ import annotations

import dis
import functools
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

from stethoscope.facts.workers import WorkerDraws
from stethoscope.observe.training.sites import Spot, is_users, site_of

MOST_OBJECTS = 200
MOST_ELEMENTS = 20
"""Of a list or dict that are looked into."""
MOST_FUNCTIONS = 100
GENERATORS = (np.random.Generator, np.random.RandomState, random.Random, torch.Generator)
ENTRIES = ("__getitem__", "__getitems__", "__iter__", "__next__", "__call__", "forward")
"""Methods through which a sample is made."""
SETTLED_BY = {"get_worker_info", "initial_seed", "getpid", "urandom", "uuid4", "SeedSequence", "time", "time_ns"}
"""Names by whose use workers are told apart."""
LIBRARY_GENERATORS = tuple(
    getattr(place, name, None) for place, name in ((np.random.mtrand, "_rand"), (random, "_inst"))
)
"""The generators of the libraries themselves: torch seeds these in each worker."""


@dataclass(frozen=True)
class Function:
    """A function on the way to a sample, and the object whose method it is."""

    function: FunctionType
    owner: Any = None

    @property
    def code(self) -> CodeType:
        """Its bytecode."""
        return self.function.__code__


def draws_of(loader: Any, source: int, place: Spot | None) -> tuple[WorkerDraws, ...]:
    """What the workers of this loader draw from a source that stands alike in all of them; empty without workers."""
    if loader.num_workers < 2:
        return ()
    objects = list(_objects(loader))
    functions = _functions(objects)
    usual = WorkerDraws(source, loader.num_workers, bool(loader.persistent_workers), loader_site=site_of(place))
    names = _names(function.code for function in functions)
    if names & SETTLED_BY:
        return ()
    seeding = _plain_function(loader.worker_init_fn)
    start = _with_helpers(seeding[0]) if seeding else []
    touched = _names(function.__code__ for function in start)
    found = [replace(usual, **fact) for fact in _copies(objects, functions) if fact["name"] not in touched]
    if seeding is not None and not touched & SETTLED_BY:
        found += [replace(usual, **fact) for fact in _seeded_alike(*seeding, start, functions)]
    return tuple(found[:4])


def _attributes(thing: Any) -> dict[str, Any]:
    try:
        found = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        return {}
    return found if isinstance(found, dict) else {}


def _objects(loader: Any) -> Iterator[Any]:
    """The data set and what hangs on it, nearest first: transforms, wrapped data sets, functions."""
    waiting = [loader.dataset, loader.collate_fn]
    seen: set[int] = set()
    plain = (str, bytes, int, float, type, ModuleType, torch.Tensor, np.ndarray, *GENERATORS)
    while waiting and len(seen) < MOST_OBJECTS:
        thing = waiting.pop(0)
        if thing is None or id(thing) in seen or issubclass(type(thing), plain):
            continue
        seen.add(id(thing))
        kind = type(thing)
        if kind in (list, tuple):
            waiting.extend(thing[:MOST_ELEMENTS])
        elif kind is dict:
            waiting.extend(islice(thing.values(), MOST_ELEMENTS))
        else:
            yield thing
            if kind is functools.partial:
                waiting += [thing.func, *thing.args, *thing.keywords.values()]
            else:
                waiting.extend(islice(_attributes(thing).values(), 100))


def _method(kind: type, name: str) -> FunctionType | None:
    for base in kind.__mro__:
        found = base.__dict__.get(name)
        found = found.__func__ if isinstance(found, staticmethod | classmethod) else found
        if found is not None:
            return found if isinstance(found, FunctionType) else None
    return None


def _functions(objects: list[Any]) -> list[Function]:
    """The functions by which these objects make a sample, and those that they call in turn."""
    waiting: list[Function] = []
    for thing in objects:
        thing_is = type(thing)
        if thing_is is FunctionType:
            waiting.append(Function(thing))
            continue
        waiting += [Function(m, thing) for name in ENTRIES if (m := _method(thing_is, name)) is not None]
    found: dict[tuple[int, int], Function] = {}
    while waiting and len(found) < MOST_FUNCTIONS:
        one = waiting.pop(0)
        key = (id(one.function), id(one.owner))
        if key in found or (one.function.__module__ or "").startswith(("torch.nn.", "torch.utils.")):
            continue
        found[key] = one
        for name in _names([one.code]):
            method = _method(type(one.owner), name) if one.owner is not None else None
            if method is not None and not name.startswith("__"):
                waiting.append(Function(method, one.owner))
        if is_users(one.code):
            waiting += [Function(helper) for helper in _called(one.function)]
    return list(found.values())


def _called(function: FunctionType) -> list[FunctionType]:
    """Functions of a module, or of an enclosing function, that this one names."""
    return [found for found in _variables(function).values() if type(found) is FunctionType]


def _variables(function: FunctionType) -> dict[str, Any]:
    """What the names in a function stand for that are not its own."""
    found = {name: function.__globals__[name] for name in _names([function.__code__]) if name in function.__globals__}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not filled yet
            continue
    return found


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of the comprehensions and functions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _names(codes: Any) -> set[str]:
    return {name for code in codes for each in _codes(code) for name in each.co_names}


def _line_of(code: CodeType, name: str) -> Spot:
    """The first line that reads this name."""
    for each in _codes(code):
        for step in dis.get_instructions(each):
            if step.argval == name and step.opname.startswith("LOAD") and step.positions and step.positions.lineno:
                return each, step.positions.lineno
    return code, code.co_firstlineno


def _stores(kind: type, name: str) -> bool:
    """Whether a method of this class, its constructor left out, makes the attribute anew or seeds it."""
    for base in kind.__mro__[:-1]:
        for title, method in base.__dict__.items():
            if title == "__init__" or not isinstance(method, FunctionType):
                continue
            steps = [step for code in _codes(method.__code__) for step in dis.get_instructions(code)]
            if any(step.opname == "STORE_ATTR" and step.argval == name for step in steps):
                return True
            if {"seed", "manual_seed", "set_state", "setstate"} & _names([method.__code__]):
                return True
    copied = (_method(kind, "__setstate__"), _method(kind, "__getstate__"))
    return any(method is not None and is_users(method.__code__) for method in copied)


def _copies(objects: list[Any], functions: list[Function]) -> Iterator[dict[str, Any]]:
    """Generators, kept by an object or a variable, that the making of a sample draws from."""
    for thing in objects:
        for name, value in list(_attributes(thing).items())[:100]:
            if not _is_own_generator(value):
                continue
            readers = [f for f in functions if f.owner is thing and name in _names([f.code]) and is_users(f.code)]
            if readers and not _stores(type(thing), name):
                yield {
                    "kind": _kind(value),
                    "owner": type(thing).__name__,
                    "name": name,
                    "drawn_at": site_of(_line_of(readers[0].code, name)),
                }
    told: set[int] = set()
    for one in functions:
        if not is_users(one.code) or {"seed", "manual_seed"} & _names([one.code]):
            continue
        for name, value in _variables(one.function).items():
            if _is_own_generator(value) and id(value) not in told:
                told.add(id(value))
                drawn = site_of(_line_of(one.code, name))
                yield {"kind": _kind(value), "name": name, "drawn_at": drawn}


def _is_own_generator(value: Any) -> bool:
    kind = type(value)
    return (
        issubclass(kind, GENERATORS)
        and not issubclass(kind, random.SystemRandom)
        and not any(value is known for known in (*LIBRARY_GENERATORS, torch.default_generator))
    )


def _kind(value: Any) -> str:
    kind = type(value)
    return {torch.Generator: "torch.Generator", random.Random: "random.Random"}.get(
        kind, f"numpy.random.{kind.__name__}"
    )


def _plain_function(given: Any) -> tuple[FunctionType, int] | None:
    """The function that starts a worker, and the place of the worker's number among its arguments."""
    place = 0
    while type(given) is functools.partial:
        place += len(given.args)
        given = given.func
    return (given, place) if type(given) is FunctionType else None


def _with_helpers(function: FunctionType) -> list[FunctionType]:
    return [function, *_called(function)]


def _seeded_alike(
    function: FunctionType, place: int, start: list[FunctionType], functions: list[Function]
) -> Iterator[dict[str, Any]]:
    """Libraries that a `worker_init_fn` gives one seed in all workers, and that a sample is made with."""
    code = function.__code__
    if place >= code.co_argcount or code.co_flags & 0x04:  # its worker's number arrives in `*args`, or not at all
        return
    number = code.co_varnames[place]
    read = [step for each in _codes(code) for step in dis.get_instructions(each) if step.argval == number]
    if any(step.opname.startswith("LOAD") for step in read):
        return
    if {"seed", "manual_seed"} & _names(one.code for one in functions):  # each sample has a seed of its own
        return
    for library in ("numpy.random", "random", "torch"):
        seeds = next((f for f in start if _uses(f, library, {"seed", "manual_seed"})), None)
        draws = next((f for f in functions if _draws_from(f.function, library)), None)
        if seeds is not None and draws is not None:
            word = next(name for name in ("seed", "manual_seed") if name in _names([seeds.__code__]))
            first = "torch" if library == "torch" else "random"
            drawn = site_of(_line_of(draws.code, first)) if is_users(draws.code) else None
            yield {
                "how": "seeding",
                "kind": library,
                "name": function.__name__,
                "seeded_at": site_of(_line_of(seeds.__code__, word)),
                "drawn_at": drawn,
            }


def _uses(function: FunctionType, library: str, words: set[str]) -> bool:
    """Whether a function names one of these functions of a library (`np.random.seed`)."""
    steps = [step for code in _codes(function.__code__) for step in dis.get_instructions(code)]
    modules, numpys = _module_names(function, library), _module_names(function, "numpy")
    for place, step in enumerate(steps[:-1]):
        if step.opname not in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF"):
            continue
        after = [each.argval for each in steps[place + 1 : place + 3]]
        if step.argval in modules and after[0] in words:
            return True
        if library == "numpy.random" and step.argval in numpys and after[0] == "random" and after[-1] in words:
            return True
    return False


def _module_names(function: FunctionType, library: str) -> set[str]:
    return {n for n, value in _variables(function).items() if type(value) is ModuleType and value.__name__ == library}


TORCH_DRAWS = {
    "rand", "randn", "randint", "randperm", "rand_like", "randn_like", "normal", "bernoulli", "multinomial",
}  # fmt: skip


def _draws_from(function: FunctionType, library: str) -> bool:
    """Whether a function draws from the global generator of a library."""
    if library == "torch":
        return _uses(function, library, TORCH_DRAWS)
    public = {name for name in dir(np.random if library == "numpy.random" else random) if name[0].islower()}
    known = LIBRARY_GENERATORS[0 if library == "numpy.random" else 1]
    imported = any(getattr(value, "__self__", None) is known for value in _variables(function).values())
    return imported or _uses(function, library, public - {"seed", "default_rng", "getstate", "setstate"})
