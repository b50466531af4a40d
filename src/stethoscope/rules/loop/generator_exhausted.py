"""The parameters of a model, kept as a generator and used more than once."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Link, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import At, Binding, Call, Code, Name, Value
from stethoscope.facts.libraries import kind_of_library
from stethoscope.facts.origins import thing_of
from stethoscope.rules.changing import wrapped
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

GENERATORS = frozenset({".parameters", ".named_parameters", "builtins.filter", "itertools.chain"})
TAKING = frozenset({
    "torch.nn.utils.clip_grad_norm_", "torch.nn.utils.clip_grad_value_", "builtins.list", "builtins.sum",
    "builtins.tuple", "builtins.set", "builtins.max", "builtins.sorted", "builtins.dict",
    "torch.nn.utils.parameters_to_vector", "torch.nn.utils.get_total_norm",
})  # fmt: skip


class GeneratorExhausted(Rule):
    """`model.parameters()` is kept in a variable and gone through twice: the second time it is empty.

    ## What it sees
    A variable that holds `model.parameters()`, a `filter` or a `chain` of parameters, and that two lines, or a line in
    a loop, go through.
    ## Why it hurts
    It is a generator: whoever goes through it first, most often the optimizer, empties it. Clipping then finds nothing
    and clips nothing, a penalty adds up to 0, and there is no error.
    ## How to fix it
    Keep a list: `parameters = list(model.parameters())`.
    ## When it is not a fault
    A method of that name which returns a list. A class of the project with a method of its own is not reported.
    ## Sources
    Python documentation, "Generator iterators"; PyTorch documentation, `torch.nn.Module.parameters`.
    """

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for variables that hold a generator, and count who goes through them."""
        if not file.says("parameters("):
            return
        for number, binding in enumerate(file.bindings):
            value = binding.value
            if binding.how != "assign" or binding.item or "." in binding.name or not isinstance(value, Call):
                continue
            if value.name not in GENERATORS or not _is_of_parameters(file, value):
                continue
            uses = sorted(_uses(file, number, binding))
            again = next((at for at, repeats in uses if repeats), uses[1][0] if len(uses) > 1 else None)
            if not uses or again is None or _in_branches(file, number):
                continue
            name = binding.name
            yield self.finding(
                fitting(f"`{name}` is a generator, and empty when it is used again", "a generator is used twice"),
                sureness=Sureness.CERTAIN if value.name != ".parameters" or _known(file, value) else Sureness.LIKELY,
                place=place_in(file, again),
                evidence=[
                    Evidence(
                        f"parameters that {line_of(file, again)} finds in `{name}`", 0, "all of them",
                        f"it is gone through first on {line_of(file, uses[0][0])}",
                    )
                ],
                cause=f"`{name}` can be gone through once; after that it gives nothing, without an error.",
                fixes=[
                    Fix(
                        "Keep a list:\n" + code(f"{name} = list({file.text(value.at) or 'model.parameters()'})"),
                        safe=True,
                        edits=wrapped(file, value.at, "list(", ")"),
                    )
                ],
                chain=[
                    Link(place_in(file, binding.at), "the generator is made"),
                    Link(place_in(file, uses[0][0]), "it is gone through"),
                    Link(place_in(file, again), "it is empty"),
                ],
            )  # fmt: skip

    on_trial = True
    bad_code = {
        "an optimizer, then clipping": """
            model = nn.Linear(3, 2)
            params = model.parameters()
            optimizer = torch.optim.Adam(params)
            for x, y in torch.load("data"):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                torch.nn.utils.clip_grad_norm_(params, 1.0)  # bad
                optimizer.step()
            """,
        "counted, then given away": """
            def build(model):
                trainable = filter(lambda p: p.requires_grad, model.parameters())
                print(sum(p.numel() for p in trainable))
                return torch.optim.SGD(trainable, lr=0.1)  # bad
            """,
    }
    good_code = {
        "a list": """
            model = nn.Linear(3, 2)
            params = list(model.parameters())
            optimizer = torch.optim.Adam(params)
            torch.nn.utils.clip_grad_norm_(params, 1.0)
            """,
        "one of two": """
            def build(model, fast):
                params = model.parameters()
                if fast:
                    optimizer = torch.optim.Adam(params)
                else:
                    optimizer = torch.optim.SGD(params, lr=0.1)
                return optimizer
            """,
        "a new one in each round": """
            def clip(model, loader):
                for x in loader:
                    params = model.parameters()
                    torch.nn.utils.clip_grad_norm_(params, 1.0)
            """,
    }


def _known(file: Code, made: Call) -> bool:
    return thing_of(file, made.receiver).kind == "module"


def _is_of_parameters(file: Code, made: Call) -> bool:
    """Whether a generator goes over the parameters of a module."""
    if made.name in (".parameters", ".named_parameters"):
        owner = thing_of(file, made.receiver)
        own = owner.cls is not None and made.name[1:] in owner.cls.methods
        return owner.kind in ("module", "unknown") and not own and file.says("torch")
    return any(isinstance(one, Call) and one.name in (".parameters", ".named_parameters") for one in made.arguments)


def _uses(file: Code, number: int, binding: Binding) -> Iterator[tuple[At, bool]]:
    """Where it is gone through, and whether a loop does so again and again."""
    for call in file.calls:
        takes = call.name in TAKING or kind_of_library(call.name) == "optimizer"
        if takes and call.arguments and _is_it(call.arguments[0], number):
            yield call.at, _repeats(file, call.context, binding)
    for context in file.contexts:
        if context.kind in ("for", "comprehension") and _is_it(context.value, number):
            yield context.at, _repeats(file, context.parent, binding)


def _is_it(value: Value | None, number: int) -> bool:
    return isinstance(value, Name) and value.binding == number


def _repeats(file: Code, context: int, binding: Binding) -> bool:
    """Whether a loop that the variable was not bound in stands around something."""
    around = set(file.numbers_around(binding.context))
    for number in file.numbers_around(context):
        if file.contexts[number].kind == "function":
            return False
        if file.contexts[number].kind in ("for", "while") and number not in around:
            return True
    return False


def _in_branches(file: Code, number: int) -> bool:
    """Whether some use stands in a branch that the variable was not bound in: it may not happen."""
    around = set(file.numbers_around(file.bindings[number].context))
    homes = [call.context for call in file.calls if call.arguments and _is_it(call.arguments[0], number)]
    return any(
        here not in around and file.contexts[here].kind in ("if", "else", "try", "except")
        for home in homes
        for here in file.numbers_around(home)
    )
