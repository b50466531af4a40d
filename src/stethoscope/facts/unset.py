"""Attributes that methods read, and that nothing in their file gives: the line that asks for one ends with an error.

Only classes whose bases are all seen are looked at, and only where nobody can give an attribute by a computed name.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from stethoscope.facts.code import Code
from stethoscope.facts.origins import bases, lineage
from stethoscope.facts.parsed import Parsed
from stethoscope.facts.things import Thing

_GIVES_BY_NAME = re.compile(
    r"setattr|__dict__|__getattr|__slots__|\bvars\(|\bexec\(|\bglobals\(|\blocals\(|NotImplementedError|abstractmethod"
    r"|(?:register_buffer|register_parameter|register_module|add_module)\((?!\s*[\"'])"
)
"""What may give an attribute that no statement names; or what says that heirs give it."""
_FOR_HEIRS = re.compile(r"Base|Abstract|Mixin|^I[A-Z][a-z]|Interface")
_KNOWN = frozenset({
    "torch.nn.Module", "torch.utils.data.Dataset", "torch.utils.data.dataset.Dataset", "builtins.object",
})  # fmt: skip
"""Bases whose attributes are listed here."""
_OF_MODULES = frozenset(
    """
    T_destination _apply _backward_hooks _backward_pre_hooks _buffers _call_impl _compiled_call_impl _forward_hooks
    _forward_hooks_always_called _forward_hooks_with_kwargs _forward_pre_hooks _forward_pre_hooks_with_kwargs
    _get_backward_hooks _get_backward_pre_hooks _get_name _is_full_backward_hook _load_from_state_dict
    _load_state_dict_post_hooks _load_state_dict_pre_hooks _maybe_warn_non_full_backward_hook _modules _named_members
    _non_persistent_buffers_set _parameters _register_load_state_dict_pre_hook _register_state_dict_hook
    _replicate_for_data_parallel _save_to_state_dict _slow_forward _state_dict_hooks _state_dict_pre_hooks
    _tracing_name _version _wrapped_call_impl add_module apply bfloat16 buffers call_super_init children compile cpu
    cuda double dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half
    ipu load_state_dict modules mtia named_buffers named_children named_modules named_parameters parameters
    register_backward_hook register_buffer register_forward_hook register_forward_pre_hook
    register_full_backward_hook register_full_backward_pre_hook register_load_state_dict_post_hook
    register_load_state_dict_pre_hook register_module register_parameter register_state_dict_post_hook
    register_state_dict_pre_hook requires_grad_ set_extra_state set_submodule share_memory state_dict to to_empty train
    training type xpu zero_grad
    """.split()  # noqa: SIM905 - nobody could read it as a list
)


class Given(frozenset[str]):
    """Attributes that something in a file may have."""

    def lacks(self, name: str) -> bool:
        """Whether nothing there has an attribute of this name."""
        return name not in self and not (name.startswith("__") and name.endswith("__"))


def given_attributes(code: Code, whole: Parsed) -> Given | None:
    """All attributes that any object of a file is given, None where they cannot be told by their names."""
    return None if code.matches(_GIVES_BY_NAME) or code.confusing else Given((*_OF_MODULES, *_named(whole)))


def is_whole(code: Code, number: int) -> bool:
    """Whether a class and all that it inherits from is seen, and it is made to be used itself."""
    thing = Thing("class", code.classes[number].name, code, number)
    family = list(lineage(thing))
    return (
        all(home is code and not _FOR_HEIRS.search(cls.name) for home, cls in family)
        and all(name in _KNOWN for name in bases(thing))
        and len({cls.at for _, cls in family}) == len(family)
    )


def _named(whole: Parsed) -> Iterator[str]:
    """What is assigned to any attribute, bound in any class, or said in any text."""
    for node in whole.nodes:
        match node:
            case ast.Attribute(ctx=ast.Store()):
                yield node.attr
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.name
            case ast.ClassDef():
                yield node.name
                plain = (one for one in node.body if not isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
                yield from (one.id for each in plain for one in ast.walk(each) if isinstance(one, ast.Name))
            case ast.Constant(value=str(text)) if text.isidentifier():
                yield text
