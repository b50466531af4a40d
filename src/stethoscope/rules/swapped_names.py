"""What names alone tell of a loss that is given the target first and the prediction second."""

from __future__ import annotations

import re

from stethoscope.facts.answers import KEEPING, is_answer
from stethoscope.facts.class_numbers import is_flat, is_whole
from stethoscope.facts.code import NOWHERE, Attribute, Call, Code, Each, Group, Item, Name, Operation, Value
from stethoscope.facts.events import name_of
from stethoscope.facts.loss_calls import LossUse
from stethoscope.facts.model_values import comes_of_model
from stethoscope.facts.origins import called
from stethoscope.facts.things import binding_of, literal

DEEPEST = 20


def is_named_swapped(file: Code, loss: LossUse) -> bool:
    """Whether both arguments are named as the other should be, where nothing known of them speaks against it."""
    given, target = loss.given, loss.target
    if comes_of_model(file, given) or _is_made_by_call(file, given):
        return False
    if is_answer(file, given) and not is_parameter(file, _sliced(file, given)):
        return False  # what another model gives may be the target of this one, where it is handed on as that
    if is_whole(file, target) or is_scored(file, given):
        return False
    first, second = last_name(file, given), last_name(file, target)
    if _is_said_of(second, first):
        return True
    if loss.function != "cross_entropy":
        return False  # of one score per answer, what is wanted may be a score as well
    names = (second, _whole_name(file, target))
    says_scores = any(_SCORE_NAME.fullmatch(one) for one in names) or is_scored(file, target)
    if _TARGET_NAME.fullmatch(first):
        of_model = is_answer(file, target) and is_parameter(file, given)
        return says_scores or of_model or _stands_before(file, target, given)
    if first.lower() in ("y", "ys"):
        return says_scores and not is_flat(file, target)
    if _NUMBER_NAME.fullmatch(first):
        return says_scores
    if _is_field_of_batch(file, given):
        return bool(_SCORE_NAME.fullmatch(second)) and not _says_scores(first)
    is_plain = is_parameter(file, _sliced(file, given)) and not _FEATURE_NAME.search(first) and not _says_scores(first)
    return is_plain and bool(_LOGITS.fullmatch(second)) and is_scored(file, target)


_TARGET_NAME = re.compile(
    r"(?:\w+_)?(?:labels?|lbls?|targets?|gts?|golds?|ground_truths?|y_true)|gt_(?!\w*(?:pred|logit|score|prob|out))\w+"
    r"|target_(?:seq|ids?|class(?:es)?|ys?)"
)
_SCORE_NAME = re.compile(
    r"(?:\w+_)?(?:logits?|scores?|preds?|predictions?|outputs?|outs?)|logits_\w+|y_(?:pred|\w*hat)", re.I
)
_NUMBER_NAME = re.compile(r"(?:\w+_)?(?:index|indices|idx|positions?)")
"""What cross-entropy takes as class numbers, and nothing computes as scores."""
_FEATURE_NAME = re.compile(
    r"^(?:x|z|h|q|k|sims?|input\w*|hidden\w*)$|feat|emb|sim|dist|energ|student|attn|weight", re.I
)
_LOGITS = re.compile(r"(?!\w*(?:teacher|target|soft|old|ref|ema|label))(?:\w+_)?logits", re.I)
_MAPPING = re.compile(r"(?:\w+_)?(?:batch|data|samples?)")
_INPUT_NAME = re.compile(r"inputs?|preds?|predictions?|outputs?|results?|x", re.I)
_ASKED = re.compile(r"(?:\w+_)?(?:net|network|model|module|head|classifier|decoder)", re.I)
_NO_SCORES = re.compile(r"label|target|token|sampl|augment|transform|mask|index|get_|make_|mix|one_hot|loss|crit", re.I)
"""In the name of something called: it gives no scores."""
_COMPARING = ("torch.mm", "torch.matmul", "torch.bmm", "torch.einsum", "torch.nn.functional.linear",
              "torch.nn.functional.cosine_similarity")  # fmt: skip
"""What compares vectors with each other, or with weights: scores are made so, and class numbers are not."""
_STEP = re.compile(r"\.forward(?:_\w+)?")
"""A part of a model that is asked for one step: `self.decoder.forward_step(x)`."""
_JOINING = ("torch.cat", "torch.concat", "torch.stack")


def _says_scores(name: str) -> bool:
    return bool(re.search(r"pred|logit|score|prob|outp|(?:^|_)outs?(?:_|$)|_hat$", name, re.I))


def is_scored(file: Code, value: Value | None, depth: int = 0) -> bool:
    """Whether something that is called like a model gave a value: `self.head(x)`, where nothing more is known of it."""
    if value is None or depth > DEEPEST:
        return False
    if isinstance(value, Name):
        if value.binding == NOWHERE:
            return False
        binding = file.bindings[value.binding]
        if binding.how == "merge":
            every = [Name(value.name, one, value.at) for one in binding.options if one != value.binding]
            return depth < 6 and bool(every) and all(is_scored(file, one, depth + 3) for one in every)
        return binding.how == "assign" and is_scored(file, binding.value, depth + 1)
    if isinstance(value, Item):
        return is_scored(file, value.value, depth + 1)
    if isinstance(value, Attribute):
        return value.name == "logits" and is_scored(file, value.value, depth + 1)
    if isinstance(value, Each):
        return value.kind == "list" and is_scored(file, value.element, depth + 1)
    if isinstance(value, Group):
        return bool(value.items) and all(is_scored(file, one, depth + 1) for one in value.items)
    if isinstance(value, Operation):
        return any(is_scored(file, one, depth + 1) for one in value.operands)
    return isinstance(value, Call) and _gives_scores(file, value, depth)


def _gives_scores(file: Code, call: Call, depth: int) -> bool:
    if call.name in KEEPING or call.name in (".pow", ".sum", ".mean"):
        return is_scored(file, call.receiver, depth + 1)
    if call.name in _JOINING:
        return is_scored(file, call.argument(0, "tensors"), depth + 1)
    if call.name in _COMPARING or _STEP.fullmatch(call.name):
        return True
    if not isinstance(call.receiver, Name) or _NO_SCORES.search(call.name):
        return False
    if call.name == "()" and call.receiver.name.startswith("self."):
        return not _NO_SCORES.search(call.receiver.name)
    if call.name == "()":
        return call.receiver.name == "self" or (
            is_parameter(file, call.receiver) and bool(_ASKED.fullmatch(call.receiver.name))
        )
    if call.receiver.name != "self":
        return False
    kind = called(file, call).kind
    passed_on = any(_SCORE_NAME.fullmatch(last_name(file, one)) for one in call.arguments)
    return kind in ("module", "unknown") or (kind == "function" and passed_on)


def _is_field_of_batch(file: Code, value: Value | None) -> bool:
    """Whether a value is `batch["..."]`, of a parameter."""
    value = _moved(value)
    if not isinstance(value, Item) or not isinstance(literal(file, value.key), str):
        return False
    whole = value.value
    return isinstance(whole, Name) and bool(_MAPPING.fullmatch(whole.name)) and is_parameter(file, whole)


def _stands_before(file: Code, target: Value | None, given: Value | None) -> bool:
    """Whether both are parameters of one function, the prediction first: `forward(self, inputs, targets)`."""
    given = _sliced(file, given)
    if not isinstance(target, Name) or not isinstance(given, Name) or not _INPUT_NAME.fullmatch(target.name):
        return False
    first, second = binding_of(file, target), binding_of(file, given)
    if first is None or second is None or first.how != "argument" or second.how != "argument":
        return False
    return first.context == second.context and target.binding < given.binding


def is_parameter(file: Code, value: Value | None) -> bool:
    """Whether a variable is an argument of its function, as it is."""
    bound = binding_of(file, value)
    return bound is not None and bound.how == "argument"


def _sliced(file: Code, value: Value | None) -> Value | None:
    """The variable that a value is a part of: `y[:, ::2]`, also where a name was given to that."""
    for _ in range(6):
        value = _moved(value)
        bound = binding_of(file, value)
        if isinstance(value, Item) and not isinstance(literal(file, value.key), str):
            value = value.value
        elif bound is not None and bound.how == "assign" and not bound.item and isinstance(bound.value, Item | Call):
            value = bound.value
        else:
            break
    return value


def _moved(value: Value | None) -> Value | None:
    while isinstance(value, Call) and value.name in KEEPING:
        value = value.receiver
    return value


def last_name(file: Code, value: Value | None) -> str:
    """The last name of a variable, or of the first one in a product, through calls that move, cast or reshape it."""
    if isinstance(value, Item):
        key = literal(file, value.key)
        return key if isinstance(key, str) else last_name(file, value.value)
    if isinstance(value, Call):
        if value.name in _REPEATING:
            return last_name(file, value.argument(0, "input"))
        return last_name(file, value.receiver) if value.name in KEEPING else ""
    if isinstance(value, Operation):
        return next(filter(None, (last_name(file, one) for one in value.operands)), "")
    return name_of(file, value).rpartition(".")[2] if isinstance(value, Name | Attribute) else ""


def _whole_name(file: Code, value: Value | None) -> str:
    """The name of what a variable was unpacked of: of `outputs` for `main, aux = outputs`, on any way it was made."""
    value = _moved(value)
    bound = binding_of(file, value)
    if bound is None or not isinstance(value, Name):
        return ""
    if bound.how == "merge":
        every = (Name(value.name, one, value.at) for one in bound.options if one != value.binding)
        return next(filter(None, (_whole_name(file, one) for one in every)), "")
    return last_name(file, bound.value) if bound.how == "assign" and bound.item else ""


def _is_said_of(second: str, first: str) -> bool:
    """Whether one name is that of what a model makes of the other: `recon_x` of `x`, `image_hat` of `image`."""
    marked = _MADE_OF.fullmatch(second)
    return marked is not None and bool(first) and first == (marked["before"] or marked["behind"])


_MADE_OF = re.compile(
    r"(?:recon|recons|reconstructed|rec|pred|predicted)_(?P<behind>\w+)"
    r"|(?P<before>\w+)_(?:recon|recons|reconstructed|reconstruction|rec|hat|pred|out)"
)


def _is_made_by_call(file: Code, value: Value | None) -> bool:
    """Whether a variable is what some call gives that does more than move, cast or reshape."""
    value = _moved(value)
    bound = binding_of(file, value)
    made = bound.value if bound is not None and bound.how == "assign" and not bound.item else None
    if isinstance(made, Call) and made.name in _SCORING:
        return True
    if not isinstance(made, Call) or made.name.startswith(("torch.", "numpy.", "builtins.")):
        return False
    if made.name in KEEPING:
        return _is_made_by_call(file, made)
    called_as = made.receiver.name if made.name == "()" and isinstance(made.receiver, Name) else made.name
    if _MAKES_TARGET.search(called_as.rpartition(".")[2]) and _TARGET_NAME.fullmatch(last_name(file, value)):
        return False
    return "." + called_as.rpartition(".")[2] not in KEEPING  # `reshape(y, (-1,))` of the project


_MAKES_TARGET = re.compile(r"(?:target|label)s?$", re.I)
"""At the end of a function's name: `batch_target(targets)`, where its answer is named as the target as well."""
_REPEATING = ("torch.repeat_interleave",)
_SCORING = ("torch.log", "torch.logit", "torch.softmax", "torch.log_softmax", "torch.matmul", "torch.mm", "torch.bmm",
            "torch.einsum", "torch.nn.functional.log_softmax", "torch.nn.functional.softmax",
            "torch.nn.functional.linear", "torch.nn.functional.normalize")  # fmt: skip
"""What gives scores, or their logarithms, and no class numbers."""
