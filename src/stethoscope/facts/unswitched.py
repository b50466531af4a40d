"""Models that a file trains and evaluates, and never switches to eval mode."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.facts.code import NOWHERE, Attribute, Binding, Call, Choice, Code, Item, Name, Value
from stethoscope.facts.evaluations import Evaluation, called_models, evaluations_of, trained_models
from stethoscope.facts.events import NO_GRAD, Event, events_of, is_in_loop, is_under, name_of
from stethoscope.facts.layers import has_modes
from stethoscope.facts.libraries import SAME, SAME_METHODS
from stethoscope.facts.loops import loops_of
from stethoscope.facts.module_classes import modules_in
from stethoscope.facts.origins import call_sites, called, given_to, lineage, thing_of
from stethoscope.facts.other_data import goes_over_another
from stethoscope.facts.things import Thing, binding_of, followed

MOST_FORMS = 9
"""Calls that a sample of noise passes on its way to a model, at most: `.to(device)`, `Variable(...)`."""
_SWITCHING = re.compile(
    r"\.eval\(|\.training\s*=(?!=)|model\.eval\b|train_mode\b|[Mm]onte|mc_dropout|_to_eval\b|_train_eval\b"
)


def evaluated_unswitched(file: Code) -> Iterator[Evaluation]:
    """The evaluations, one for each name, of models that act differently in train mode and are left in it."""
    if not loops_of(file) or _switches_modes(file):
        return
    told = set()
    for found in evaluations_of(file):
        name = found.forward.name
        if (
            name not in told
            and not found.is_hidden
            and not _draws_samples(file, found)
            and not _is_of_the_step(file, found)
            and not found.is_once
            and not _is_asked_again(file, found)
            and not any(one.value is found.forward.call for one in file.bare)  # it settles statistics
            and _is_trained_with_modes(file, found)
            and _is_looked_at(file, found)
        ):
            told.add(name)
            yield found


_COMMENTED_OUT = re.compile(r"#.*\.eval\(\)")
_WANTED = re.compile(r"#.*(?:transductive|\bbatch statistic|test[- _]time adapt)|\bada_?bn\b", re.I)
"""Words of who wants the statistics of the batch that is evaluated."""


def is_left_on_purpose(file: Code, found: Evaluation) -> bool:
    """Whether somebody thought of the mode: a call of `eval()` is commented out, the function that evaluates, and does
    not train, or its round, switches to train mode itself, or each round asks before it trains, as for guessed labels,
    or trains a copy for its task, or the same is asked many times, as for how the answers vary; or only asks where
    nothing was found before.
    """
    if not found.is_loop and any(
        here.kind == "if" and here.value is not None and _NOTHING_YET.search(file.text(here.value.at))
        for here in file.around(found.forward.context)
    ):
        return True
    events = events_of(file, found.function)
    switched = [event for event in found.before if event.kind == "train" and not event.via]
    backwards = [event for event in events if event.kind == "backward"]
    if any(_COMMENTED_OUT.search(line) or _WANTED.search(line) for line in file.lines) or (
        found.function and switched and not backwards
    ):
        return True
    if (found.is_loop and _switches_inside(file, found)) or _is_adapted(file, found) or _is_called_again(file, found):
        return True
    rounds = [n for n in file.numbers_around(found.context) if file.contexts[n].kind in ("for", "while")][
        found.is_loop :
    ]
    inside = [event for event in backwards if rounds and is_in_loop(file, event, rounds[-1])]
    return bool(inside) and events.index(inside[0]) > events.index(found.forward)


_NOTHING_YET = re.compile(r"^\w*best\w*\s+is\s+None$")


def _switches_inside(file: Code, found: Evaluation) -> bool:
    """Whether each round of an evaluation, in which nothing trains, switches to train mode itself: statistics of the
    batch are wanted.
    """
    inside = [one for one in events_of(file, found.function) if is_in_loop(file, one, found.context)]
    return {"train", "backward"} & {one.kind for one in inside} == {"train"}


_ADAPTS = re.compile(r"\.adapt\(")


def _is_adapted(file: Code, found: Evaluation) -> bool:
    """Whether each round of an evaluation trains what it asks, as in learning to learn: `fast = adapted(net, x, y)`."""
    around = file.numbers_around(found.forward.context)
    loop = next((one for one in around if file.contexts[one].kind in ("for", "while", "function")), NOWHERE)
    if loop == NOWHERE or file.contexts[loop].kind == "function":
        return False
    if file.matches(_ADAPTS, file.contexts[loop].at):
        return True
    binding = binding_of(file, found.forward.subject)
    made = binding.value if binding is not None else None
    if binding is None or not isinstance(made, Call) or loop not in file.numbers_around(binding.context):
        return False
    callee = called(file, made)
    return callee.function is not None and callee.code is not None and any(
        event.kind == "backward" for event in events_of(callee.code, callee.number)
    )  # fmt: skip


def _is_called_again(file: Code, found: Evaluation) -> bool:
    """Whether a function that evaluates is called a number of times in a row, with no training between."""
    return any(_is_repeated(file, call) for call in call_sites(file, found.function) if found.function)


def _is_repeated(file: Code, call: Call) -> bool:
    for number in file.numbers_around(call.context):
        here = file.contexts[number]
        if here.kind in ("for", "comprehension"):
            counts = isinstance(here.value, Call) and here.value.name in ("builtins.range", "tqdm.trange")
            around = events_of(file, file.function_at(call.context))
            return counts and not any(
                one.kind in ("backward", "step", "unknown step") and is_in_loop(file, one, number) for one in around
            )
        if here.kind in ("while", "function"):
            return False
    return False


_NOISE = frozenset({"torch.randn", "torch.rand", "torch.normal", "torch.randn_like", "torch.rand_like",
                    "numpy.random.normal", "numpy.random.randn", ".normal_", ".uniform_"})  # fmt: skip
_WRAPPING = frozenset({"torch.autograd.Variable", "torch.Tensor", "torch.FloatTensor", "torch.tensor",
                       "torch.from_numpy", "torch.cuda.FloatTensor"})  # fmt: skip
_FORMING = frozenset({".to", ".cuda", ".float", ".type", ".view", ".reshape", ".unsqueeze", ".repeat"})


def _draws_samples(file: Code, found: Evaluation) -> bool:
    """Whether a generator is given noise, to look at what it makes; lessons draw in train mode on purpose."""
    call = found.forward.call
    if call is None or not call.arguments:
        return False
    return _is_noise(file, call.arguments[0])


def _is_of_the_step(file: Code, found: Evaluation) -> bool:
    """Whether a model is asked once more, within a training step, for what it was trained on there."""
    asked = found.forward.call
    batch = asked.argument(0) if asked is not None else None
    loop = next((n for n in file.numbers_around(found.context) if file.contexts[n].kind in ("for", "while")), NOWHERE)
    if found.is_loop or loop == NOWHERE or not isinstance(batch, Name) or batch.binding == NOWHERE:
        return False
    inside = [event for event in events_of(file, found.function) if is_in_loop(file, event, loop)]
    given = [event.call.argument(0) for event in inside if event.kind == "forward" and event.call not in (None, asked)
             and event.call is not None and not event.via and not is_under(file, event.context, *NO_GRAD)]  # fmt: skip
    is_same = any(isinstance(one, Name) and one.binding == batch.binding for one in given)
    return is_same and any(event.kind == "backward" for event in inside)


def _is_asked_again(file: Code, found: Evaluation) -> bool:
    """Whether a model is asked the same many times, as for how its answers vary: `[model(x) for _ in range(30)]`."""
    call = found.forward.call
    for number in file.numbers_around(found.forward.context) if call is not None and call.arguments else ():
        here = file.contexts[number]
        if here.kind in ("for", "while", "comprehension", "function"):
            if not isinstance(here.value, Call) or here.value.name != "builtins.range" or call is None:
                return False
            asked = [one.name for one in call.arguments if isinstance(one, Name) and one.binding != NOWHERE]
            inside = [one for one in file.bindings if number in file.numbers_around(one.context)]
            return len(asked) == len(call.arguments) and not any(one.name in asked for one in inside)
        if number == found.context:
            return False
    return False


def has_two_modes(file: Code, event: Event) -> bool:
    """Whether a model is seen to run a layer with two modes, or torchvision or transformers make it by name, or a part
    of it; of what a function gives on several ways, each of these.
    """
    return (
        has_modes(event.thing) is True
        or _is_made_by_name(file, event.subject)
        or _holds_pretrained(event.thing)
        or _has_modes_on_each_way(file, event.subject)
        or _is_given_modes(event.thing)
    )


_TWO_MODES = re.compile(r"torch\.nn\.(?:Lazy)?(?:BatchNorm|Dropout|AlphaDropout|SyncBatchNorm)\w*")


def _is_given_modes(thing: Thing) -> bool:
    """Whether a layer with two modes is added to a sequence that starts empty: `net.add_module("a", nn.Dropout())`."""
    code, made = thing.made_in, thing.made
    if code is None or made is None or made.name != "torch.nn.Sequential" or made.arguments:
        return False
    added = (call for call in code.calls_of(".add_module", ".append") if thing_of(code, call.receiver).made is made)
    layers = [call.arguments[-1] for call in added if call.arguments and not _is_in_branch(code, call)]
    return any(isinstance(one, Call) and _TWO_MODES.fullmatch(one.name) is not None for one in layers)


def _is_in_branch(code: Code, call: Call) -> bool:
    return any(here.kind in ("if", "else", "try", "except") for here in code.around(call.context))


_PRETRAINED = re.compile(
    r"transformers\.(?:\w+\.)*(?:Auto|Bert|Roberta|XLMRoberta|Electra|Albert|DistilBert|GPT2|Bart|Deberta|DebertaV2|XLNet)"
    r"(?:Model|For)\w*\.from_pretrained"
)
"""Networks of transformers that drop by default."""


def _holds_pretrained(thing: Thing) -> bool:
    """Whether a class of the project keeps a network of transformers that drops."""
    return any(
        isinstance(value := home.bindings[number].value, Call) and _PRETRAINED.fullmatch(value.name) is not None
        for home, cls in lineage(thing)
        for numbers in cls.attributes.values()
        for number in numbers
        if not home.matches(_NO_DROPOUT)
    )


_NO_DROPOUT = re.compile(r"dropout(?:_prob|_rate|_p)?[\"']?\s*[=:]\s*0(?:\.0*)?\b")


def _has_modes_on_each_way(code: Code, value: Value | None, depth: int = 0) -> bool:
    """Whether a model has two modes whichever way it was made: as by a function that asks for a name."""
    if value is None or depth > MOST_FORMS:
        return False
    if isinstance(value, Call):
        if value.name in SAME_METHODS or value.name in SAME:
            inner = value.receiver if value.name in SAME_METHODS else value.argument(0)
            return _has_modes_on_each_way(code, inner, depth + 1)
        callee = called(code, value)
        if callee.function is None or callee.code is None or not callee.function.returns:
            return has_modes(thing_of(code, value)) is True
        return all(_has_modes_on_each_way(callee.code, one.value, depth + 1) for one in callee.function.returns)
    if isinstance(value, Choice):
        return all(_has_modes_on_each_way(code, one, depth + 1) for one in value.options)
    binding = code.bindings[value.binding] if isinstance(value, Name) and value.binding != NOWHERE else None
    if not isinstance(value, Name) or binding is None:
        return False
    if binding.how == "argument":
        index = code.function_at(binding.context)
        place = next((i for i, one in enumerate(code.functions[index].parameters)
                      if code.bindings[one.binding] is binding), NOWHERE)  # fmt: skip
        given = list(given_to(code, index, place)) if place != NOWHERE else []
        return bool(given) and all(_has_modes_on_each_way(home, one, depth + 1) for home, one in given)
    ways = list(binding.options) if binding.how == "merge" else []
    if binding.how == "assign" and _is_loaded(binding):
        # What is loaded was saved: it is as what the same name was given elsewhere.
        home = code.functions[code.function_at(binding.context)]
        ways = [
            n for n in range(*home.bindings) if code.bindings[n].name == value.name and code.bindings[n].how != "merge"
        ]
    if ways:
        made = [one for one in ways if not _is_loaded(code.bindings[one])]
        return bool(made) and all(
            _has_modes_on_each_way(code, Name(value.name, one, value.at), depth + 1) for one in made
        )
    is_plain = binding.how == "assign" and not binding.item
    return is_plain and _has_modes_on_each_way(code, binding.value, depth + 1)


def _is_loaded(binding: Binding) -> bool:
    """Whether a variable gets a whole model from a file."""
    return isinstance(binding.value, Call) and binding.value.name == "torch.load" and not binding.item


def _is_made_by_name(code: Code, value: Value | None, depth: int = 0) -> bool:
    """Whether a value is what `models.__dict__[name]()` or `model_class.from_pretrained(name)` give, here or where
    it is handed over or kept: nearly all of these normalize over batches or drop.
    """
    if value is None or depth > MOST_FORMS:
        return False
    if isinstance(value, Call):
        if value.name in SAME_METHODS or value.name in SAME:
            inner = value.receiver if value.name in SAME_METHODS else value.argument(0)
            return _is_made_by_name(code, inner, depth + 1)
        is_loaded = value.name == ".from_pretrained" or re.fullmatch(r"transformers\..*\.from_pretrained", value.name)
        if _DROPS_NOTHING.match(value.name):
            return False
        if is_loaded and any(name.startswith("transformers") for name, _, _ in code.imports):
            return True
        return isinstance(value.receiver, Item) and _BY_NAME.match(code.text(value.receiver.at)) is not None
    if isinstance(value, Attribute):
        return any(_is_made_by_name(code, one, depth + 1) for one in _kept_as(code, value))
    binding = code.bindings[value.binding] if isinstance(value, Name) and value.binding != NOWHERE else None
    if binding is None:
        return False
    if binding.how == "argument":
        index = code.function_at(binding.context)
        parameters = code.functions[index].parameters
        places = [i for i, one in enumerate(parameters) if code.bindings[one.binding] is binding]
        given = given_to(code, index, places[0]) if places else []
        return any(_is_made_by_name(home, one, depth + 1) for home, one in given)
    options = [code.bindings[one].value for one in binding.options] if binding.how == "merge" else [binding.value]
    return any(_is_made_by_name(code, one, depth + 1) for one in options)


def _kept_as(code: Code, value: Attribute) -> list[Value | None]:
    """What an attribute of `self` was given anywhere in its class."""
    owner = thing_of(code, value.value)
    numbers = owner.cls.attributes.get(value.name, ()) if owner.cls is not None and owner.code is code else ()
    return [code.bindings[one].value for one in numbers]


_DROPS_NOTHING = re.compile(
    r"transformers\.(?:\w+\.)*(?:Llama|Mistral|Mixtral|Qwen|Gemma|Phi|CLIP|Siglip|ViT|DeiT|Dinov2|Sam)(?=[A-Z\d])"
)
"""Networks of transformers without batch normalization that drop nothing unless they are told to."""
_BY_NAME = re.compile(r"(?:torchvision\.)?(?:\w+_)?models\.__dict__\[")


def _is_noise(file: Code, value: Value | None) -> bool:
    """Whether a value is drawn at random there, in whatever form."""
    for _ in range(MOST_FORMS):
        value, _ = followed(file, value)
        if not isinstance(value, Call):
            return False
        if value.name in _NOISE:
            return True
        value = value.receiver if value.name in _FORMING else value.argument(0) if value.name in _WRAPPING else None
    return False


def _is_trained_with_modes(file: Code, found: Evaluation) -> bool:
    """Whether a model that is evaluated is trained in this file, and has modes, so far as can be told."""
    made, names = trained_models(file)
    ways = called_models(found)
    called_as = {found.forward.name, *(name_of(file, way) for way in ways)}
    if not called_as & names and not any(thing_of(file, way).made in made for way in (found.forward.subject, *ways)):
        return False
    # Who calls `train()` on a model that is not seen here thinks that it has modes.
    has = has_modes(found.forward.thing)
    is_switched = found.is_loop and bool(called_as & _switched_to_train(file))
    is_foreign = found.forward.thing.kind == "module" and found.forward.thing.cls is None
    return has is True or (has is None and is_switched and (is_foreign or not _is_all_modeless(file)))


def _is_looked_at(file: Code, found: Evaluation) -> bool:
    """Whether a model is asked for its answers and not trained: without a graph, or apart from what trains it."""
    if found.without_graph and (found.is_read or found.is_loop):
        return True
    trains = any(loop.function == found.function for loop in loops_of(file))
    if found.is_fed and (found.is_read or _sums_up(file, found)) and not trains:
        return True
    model = found.forward.thing
    is_trained_here = model.made in trained_models(file)[0] and has_modes(model) is True
    return is_trained_here and goes_over_another(file, found)


def _switches_modes(file: Code) -> bool:
    """Whether a file, or a function of another one that it calls, may switch a model to eval mode."""
    if file.matches(_SWITCHING) or any(_sets_mode(file, one) for one in file.calls_of(".train")):
        return True
    if not file.calls_of(".eval", ".train") and not file.linked.say(".eval", ".train"):
        return False
    return any(event.kind == "eval" for index in range(len(file.functions)) for event in events_of(file, index))


def _sums_up(file: Code, found: Evaluation) -> bool:
    """Whether numbers are added up there without their graph: `total += loss.data`."""
    return any(
        one.how == "augment" and one.value is not None and found.context in file.numbers_around(one.context)
        and ".data" in file.text(one.value.at)
        for one in file.bindings[slice(*file.functions[found.function].bindings)]
    )  # fmt: skip


def _sets_mode(file: Code, call: Call) -> bool:
    """Whether a `.train(...)` is given the mode: not where it is a method of the project's, which trains."""
    if (not call.arguments and not call.keywords) or called(file, call).kind == "function":
        return False
    return len(call.arguments) + len(call.keywords) == 1 and all(name in ("mode", "") for name, _ in call.keywords)


def _is_all_modeless(file: Code) -> bool:
    """Whether a file has models of its own, and none of them has modes: what it evaluates is one of them."""
    own = [has_modes(thing._replace(kind="module")) for thing in modules_in(file)]
    return bool(own) and all(one is False for one in own)


def _switched_to_train(file: Code) -> set[str]:
    """Names of the models that a file switches to train mode."""
    return {name_of(file, call.receiver) for call in file.calls_of(".train") if not call.arguments}
