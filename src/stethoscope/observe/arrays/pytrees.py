"""Finds the trained parameters among what a step is given and returns: in a Flax NNX model, in a train state, or plain.

Nothing of the user's is kept: trees are taken apart anew at each look.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from stethoscope.observe.arrays.marks import path_of


@dataclass
class Taken:
    """The arguments of a call, as arrays that can be traced and all the rest."""

    arrays: list[Any]
    names: list[str]
    """Path of each array."""
    rebuild: Any
    """Makes (args, kwargs) of arrays such as these."""
    signature: Any
    """Equal for calls that one trace serves."""
    plain: int = 0
    """Arrays before those of NNX models and the like, which a step changes where they are."""
    changed: Any = None
    """Gives the arrays of those models, of (args, kwargs), as they are behind a step."""
    modules: list[Any] = field(default_factory=list)
    """Models of Flax NNX."""
    weights: dict[str, int] = field(default_factory=dict)
    """Of NNX models: path of each parameter to the number of its array."""
    kinds: dict[str, str] = field(default_factory=dict)
    """Of NNX models: path of each part to its class."""


def take(args: tuple[Any, ...], kwargs: dict[str, Any], whole_numbers: bool = False) -> Taken:
    """Take the arguments of a call apart.

    Args:
        args: of the call.
        kwargs: of the call.
        whole_numbers: those of Python's are values that differ from call to call, and not settings.
    """
    nnx = sys.modules.get("flax.nnx")
    values = [*args, *kwargs.values()]
    nodes = [place for place, value in enumerate(values) if nnx is not None and _is_node(nnx, value)]
    rest = [None if place in nodes else value for place, value in enumerate(values)]
    leaves, structure = jax.tree_util.tree_flatten_with_path(rest)
    moving = [place for place, (_, leaf) in enumerate(leaves) if _is_moving(leaf, whole_numbers)]
    still = {place: leaf for place, (_, leaf) in enumerate(leaves) if place not in set(moving)}
    arrays = [leaves[place][1] for place in moving]
    taken = Taken(arrays, [path_of(leaves[place][0]) for place in moving], None, None)
    graph = None
    if nodes and nnx is not None:
        whole = tuple(values[place] for place in nodes)
        graph, state = nnx.split(whole)
        flat, tree = jax.tree_util.tree_flatten(state)
        _take_nnx(nnx, whole, state, len(arrays), taken)
        arrays.extend(flat)
        taken.names.extend("" for _ in flat)
    count, keys, inside = len(moving), list(kwargs), len(args)

    def rebuild(given: list[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        all_leaves = [still.get(place) for place in range(len(leaves))]
        for place, value in zip(moving, given[:count], strict=True):
            all_leaves[place] = value
        again = list(jax.tree_util.tree_unflatten(structure, all_leaves))
        if nodes and nnx is not None:
            merged = nnx.merge(graph, jax.tree_util.tree_unflatten(tree, given[count:]))
            for place, node in zip(nodes, merged, strict=True):
                again[place] = node
        return tuple(again[:inside]), dict(zip(keys, again[inside:], strict=True))

    def changed(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        values = [*args, *kwargs.values()]
        return jax.tree_util.tree_leaves(nnx.split(tuple(values[place] for place in nodes))[1]) if nodes and nnx else []

    taken.rebuild, taken.changed, taken.plain = rebuild, changed, count
    constant = tuple((place, leaf if _is_hashable(leaf) else id(leaf)) for place, leaf in still.items())
    shapes = tuple((np.shape(array), str(getattr(array, "dtype", type(array)))) for array in arrays)
    taken.signature = (structure, constant, graph if _is_hashable(graph) else id(graph), shapes, tuple(keys))
    return taken


def _take_nnx(nnx: Any, whole: tuple[Any, ...], state: Any, begin: int, taken: Taken) -> None:
    """Note the models, their parameters and the classes of their parts."""
    models = [place for place, value in enumerate(whole) if isinstance(value, nnx.Module) and _trains(nnx, value)]
    taken.modules = [whole[place] for place in models]
    flat, _ = jax.tree_util.tree_flatten_with_path(state, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))
    number = begin
    for path, variable in flat:
        width = len(jax.tree_util.tree_leaves(variable))
        name = path_of(path)
        owner, _, inside = name.partition(".")
        owner = owner.strip("[]")
        if isinstance(variable, nnx.Param) and width == 1 and int(owner) in models:
            taken.weights[inside if len(models) == 1 else f"{type(whole[int(owner)]).__name__}.{inside}"] = number
        number += width
    for place in models:
        prefix = "" if len(models) == 1 else f"{type(whole[place]).__name__}."
        for path, part in nnx.iter_graph(whole[place]):
            if isinstance(part, nnx.Module) and path:
                taken.kinds[prefix + ".".join(map(str, path))] = type(part).__name__


def _is_node(nnx: Any, value: Any) -> bool:
    bases = type(value).__mro__[-2:-1]
    return isinstance(value, nnx.Module | nnx.Optimizer | nnx.Rngs) or any(each.__name__ == "Pytree" for each in bases)


def _trains(nnx: Any, value: Any) -> bool:
    if isinstance(value, nnx.Optimizer | nnx.Metric | nnx.Rngs):
        return False
    return any(isinstance(part, nnx.Param) for _, part in nnx.iter_graph(value))


def nnx_weights(modules: list[Any]) -> dict[str, Any]:
    """The parameters of NNX models as they are now, by path."""
    nnx = sys.modules["flax.nnx"]
    found: dict[str, Any] = {}
    for module in modules:
        prefix = "" if len(modules) == 1 else f"{type(module).__name__}."
        for path, leaf in jax.tree_util.tree_flatten_with_path(nnx.to_pure_dict(nnx.state(module, nnx.Param)))[0]:
            found[prefix + path_of(path)] = leaf
    return found


def _is_moving(leaf: Any, whole_numbers: bool) -> bool:
    if isinstance(leaf, int):
        return whole_numbers and not isinstance(leaf, bool)
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | float) and not isinstance(leaf, str)


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


# Plain pytrees


def parameters_in(value: Any) -> Any:
    """The tree of parameters that a value is or holds; None where there is none."""
    if value is None or isinstance(value, jax.Array | np.ndarray | str | int | float):
        return None
    if type(value).__module__.split(".")[0] == "optax":
        return None
    if _has_matrix(getattr(value, "params", None)):
        return value.params
    if isinstance(value, Mapping) and _has_matrix(value.get("params")):
        return value["params"]
    if isinstance(value, tuple | list) and _is_mixed(value):
        return next((found for part in value if (found := parameters_in(part)) is not None), None)
    return value if _has_matrix(value) else None


def _is_mixed(value: Any) -> bool:
    """Whether parameters stand beside the state of an optimizer, or in a train state."""
    return any(_is_state(part) or hasattr(part, "params") for part in value)


def _is_state(value: Any) -> bool:
    if type(value).__module__.split(".")[0] == "optax":
        return True
    return isinstance(value, tuple) and any(_is_state(part) for part in value)


def _has_matrix(tree: Any) -> bool:
    if tree is None:
        return False
    leaves = jax.tree_util.tree_leaves(tree)
    return any(len(np.shape(leaf)) >= 2 and _is_float(leaf) for leaf in leaves if hasattr(leaf, "dtype"))


def _is_float(leaf: Any) -> bool:
    return bool(jax.numpy.issubdtype(leaf.dtype, jax.numpy.floating))


def candidates(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
    """Trees among the arguments that may be the parameters, the likeliest first."""
    for value in (*args, *kwargs.values()):
        found = parameters_in(value)
        if found is not None:
            yield found


def again_in(result: Any, structure: Any, shapes: tuple[tuple[int, ...], ...]) -> Any:
    """The tree of this structure in what a step returned; None where there is none."""
    waiting = [(result, 0)]
    while waiting:
        value, depth = waiting.pop(0)
        found = parameters_in(value)
        if found is not None and jax.tree_util.tree_structure(found) == structure and shapes_of(found) == shapes:
            return found
        if isinstance(value, tuple | list) and depth < 2 and not _is_state(value):
            waiting.extend((part, depth + 1) for part in value)
        elif isinstance(value, Mapping) and depth < 2:
            waiting.extend((part, depth + 1) for part in value.values())
    return None


def shapes_of(tree: Any) -> tuple[tuple[int, ...], ...]:
    """Shapes of all leaves."""
    return tuple(tuple(np.shape(leaf)) for leaf in jax.tree_util.tree_leaves(tree))


def named_leaves(tree: Any) -> dict[str, Any]:
    """The floating-point leaves of a tree by their paths."""
    flat = jax.tree_util.tree_flatten_with_path(tree)[0]
    found = {path_of(path): leaf for path, leaf in flat if hasattr(leaf, "dtype") and _is_float(leaf)}
    beginning = "params."
    if found and all(name.startswith(beginning) for name in found):
        return {name.removeprefix(beginning): leaf for name, leaf in found.items()}
    return found


def scalars_in(result: Any) -> list[tuple[tuple[Any, ...], Any]]:
    """Path and value of each number that a step returned."""
    flat = jax.tree_util.tree_flatten_with_path(result)[0]
    return [(path, leaf) for path, leaf in flat if hasattr(leaf, "dtype") and np.shape(leaf) == () and _is_float(leaf)]


def reach(result: Any, path: tuple[Any, ...]) -> Any:
    """The leaf at a path of a tree."""
    for key in path:
        if hasattr(key, "idx"):
            result = result[key.idx]
        elif hasattr(key, "key"):
            result = result[key.key]
        else:
            result = getattr(result, key.name)
    return result
