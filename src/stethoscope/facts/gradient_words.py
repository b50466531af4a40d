"""Lines of source code that have to do with gradients themselves, and not only with how they look in a plot."""

from __future__ import annotations

import os
import re

from stethoscope.facts.code import At, Attribute, Binding, Call, Code, Constant, Group, Item, Operation

_PLOTTED = re.compile(r"\s*(?:[\w.\[\]]+\.)?(?:add_(?:histogram|scalar)s?|hist\w*_summary|scalar_summary)\(")

_GRADIENT = re.compile(r"(?<!autograd)\.grad\b")
_CLEARED = re.compile(r"\.grad(?:\.data)?\.(?:zero_|detach_)\(|\.grad is (?:not )?None|\.grad\s*=\s*None")
_CHECKED = re.compile(r"\bis_?(?:finite|nan|inf)\((?:[\w.]|\[\w+\])*\.grad(?:\.data)?\)")
_TEXT = re.compile(r"""(["'])[^"']*\1""")


def says_gradients(
    code: Code, pattern: re.Pattern[str], at: At, *, without: re.Pattern[str] | None = None,
    besides: frozenset[int] = frozenset(),
) -> bool:  # fmt: skip
    """Whether a stretch has words of a pattern, beside those of another, in lines that do more than plot a gradient;
    `besides` are lines that are left out.
    """
    plotted = {
        number
        for call in code.calls_of(".add_histogram", ".add_scalar", ".add_scalars")
        for number in range(call.at.line + 1, call.at.end_line + 1)
    }
    values = _values(code)
    return any(
        pattern.search(_beside(without, _beside(values, _TEXT.sub("", text))))
        and not _PLOTTED.match(text)
        and number not in plotted
        and number not in besides
        and number not in _told(code)
        for number, text in enumerate(
            (line.partition("#")[0] for line in code.lines[at.line - 1 : at.end_line]), start=at.line
        )
    )


_STRING = re.compile(r"#.*|(\"{3}[\s\S]*?\"{3}|'{3}[\s\S]*?'{3})|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'")


def _told(code: Code) -> frozenset[int]:
    """The lines of long texts, as of descriptions of functions: what stands there is not done."""
    known: dict[str, frozenset[int]] = code.memo.setdefault("lines of long texts", {})
    if not known:
        text, lines, number, last = "\n".join(code.lines), set(), 1, 0
        for one in _STRING.finditer(text) if '"""' in text or "'''" in text else ():
            if one[1] is not None:
                number, last = number + text.count("\n", last, one.start()), one.start()
                lines |= set(range(number, number + one[1].count("\n") + 1))
        known["all"] = frozenset(lines)
    return known["all"]


def _values(code: Code) -> re.Pattern[str] | None:
    """The variables of a file that are called after a backward pass, or a way, and are values, and never called:
    `backward_time = time() - start`, `flow_backward = net(x)`.
    """
    known: dict[str, re.Pattern[str] | None] = code.memo.setdefault("values called after a backward pass", {})
    if not known:
        called_so = [one for one in code.bindings if "backward" in one.name.lower() and one.name.isidentifier()]
        names = {one.name for one in called_so} - {one.name for one in called_so if not _is_value(code, one)}
        told = "|".join(sorted(name for name in names if not re.search(rf"\b{name}\s*\(", code.uncommented())))
        known["all"] = re.compile(rf"(?<![\w.])(?:{told})\b") if told else None
    return known["all"]


def _is_value(code: Code, binding: Binding) -> bool:
    """Whether a variable is given what is computed, and no function or switch."""
    if binding.how in ("for", "merge", "augment"):
        return True
    if isinstance(binding.value, Call) and binding.value.name in ("builtins.getattr", "functools.partial"):
        return False
    return binding.how == "assign" and (
        isinstance(binding.value, Call | Operation | Group | Item)
        or (isinstance(binding.value, Attribute) and "backward" not in binding.value.name)
        or (isinstance(binding.value, Constant) and not isinstance(binding.value.value, bool))
    )


def _beside(without: re.Pattern[str] | None, text: str) -> str:
    return without.sub("", text) if without is not None else text


def may_differentiate(code: Code) -> bool:
    """Whether a file, or one that it imports, takes derivatives of answers, as for a penalty."""
    return code.matches(_DERIVATIVES) or code.linked.match(_DERIVATIVES)


_DERIVATIVES = re.compile(
    r"autograd\.(?:grad|functional)\b|\bcreate_graph\b|torch\.func\b|functorch|deepxde|neurodiffeq"
    r"|^\s*(?:from|import)\b.*\b(?:grad|jacobian|hessian|jacrev|vjp|jvp)\b",
    re.M,
)


def is_hooked_elsewhere(code: Code) -> bool:
    """Whether the `forward` of a network puts hooks on tensors that this file, or one that names it, takes from another
    file of the project: under `no_grad` it fails, "cannot register a hook on a tensor that doesn't require gradient".
    It takes long.
    """
    hooked = {one[1] for one in _HOOKED.finditer(code.linked.anywhere(".register_hook(") or "")}
    if not hooked:
        return False
    name = os.path.splitext(os.path.basename(code.file))[0]
    told = "\n".join((code.uncommented(), code.linked.anywhere(f"import {name}", f"{name} import") or ""))
    return any(re.search(rf"\b{one}\b", told) for one in hooked)


_HOOKED = re.compile(
    r"^class (\w+)(?:(?!^class ).*\n)*?[ \t]+def (?:forward|__call__)\((?:(?!^[ \t]*(?:def|class) ).*\n)*?"
    r"(?!^[ \t]*(?:def|class) ).*\.register_hook\(",
    re.M,
)
"""A class, by its name, with such a line in its `forward`."""


def reads_gradients(code: Code, at: At) -> bool:
    """Whether a stretch names the gradient of anything, and be it for a plot."""
    return code.matches(_GRADIENT, at)


def are_gradients_wanted(code: Code, home: At, *, are_checks_left_out: bool = False) -> bool:
    """Whether the gradients themselves are read there, and not only cleared, or changed for an optimizer; whether they
    are numbers may be asked for a step as well.
    """
    if code.matches(_ASKED_FOR, home):
        return True
    checks = _CHECKED if are_checks_left_out else None
    if not any(
        _GRADIENT.search(_beside(checks, _CLEARED.sub("", line.partition("#")[0])))
        for line in code.lines[home.line - 1 : home.end_line]
    ):
        return False
    is_changed = code.matches(_CHANGED, home) and not code.matches(_BY_HAND, home)
    if is_changed or not says_gradients(code, _GRADIENT, home, without=checks):
        return False
    inside = [
        one
        for one in code.bindings
        if one.name.endswith(".grad")
        and home.line <= one.at.line <= home.end_line
        and not (isinstance(one.value, Constant) and one.value.value is None)
    ]
    if any(isinstance(one.value, Call) and "zero" not in code.text(one.value.at) for one in inside):
        return False  # they are computed by hand, which only an optimizer has a use for
    return not inside or code.matches(_BY_HAND, home)


def are_applied_by_hand(code: Code, home: At) -> bool:
    """Whether weights are changed there by their gradients, for all that the words tell."""
    return code.matches(_BY_HAND, home)


_ASKED_FOR = re.compile(
    r"\.(?:get|collect|flat|gather|save|store|read|extract|accumulate|copy|all)\w*_grads?(?:ients?)?\b\w*\(|fisher\w*\s*\+="
)
"""Methods that give the gradients of a whole network: `fisher += net.get_grads() ** 2`."""
_CHANGED = re.compile(
    r"\.grad(?:\.data)?(?:\.(?:mul|div|clamp|copy|normal)\w*_\(|\s*[*/]=|\[.*\]\s*[*/]?=(?!=)|\s*=(?!=).*\.grad\b)"
)
_BY_HAND = re.compile(r"\.data\s*[-+]=|[-+]=.*\.grad\b|\.grad\b.*\blr\b|\.(?:add|sub|addcdiv)_\(")
