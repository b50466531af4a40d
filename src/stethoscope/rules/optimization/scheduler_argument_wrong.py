"""A schedule that is stepped without what it asks for, or with what it does not."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, Call, Code, Constant, Name, Operation, Symbol, Value
from stethoscope.facts.origins import called, thing_of
from stethoscope.facts.things import Thing, followed, literal
from stethoscope.rules.lines import fitting, line_of, place_in, quoted
from stethoscope.rules.sites import code

PLATEAU = "torch.optim.lr_scheduler.ReduceLROnPlateau"
_WHOLE = frozenset({"torch.optim.lr_scheduler.SequentialLR", "torch.optim.lr_scheduler.ChainedScheduler"})
_SCORES = frozenset({
    "sklearn.metrics.accuracy_score", "sklearn.metrics.f1_score", "sklearn.metrics.roc_auc_score",
    "sklearn.metrics.balanced_accuracy_score", "sklearn.metrics.r2_score",
})  # fmt: skip


class SchedulerArgumentWrong(Rule):
    """A schedule is stepped without what it watches, or with what it takes for something else.

    ## What it sees
    `ReduceLROnPlateau(...).step()` without a value; another schedule's `step(loss)`; and an accuracy that is given to
    a `ReduceLROnPlateau` with its default `mode="min"`.
    ## Why it hurts
    Without a value torch raises an error. Other schedules take the argument for the number of the epoch: a loss of 0.7
    sets the schedule back to its begin. With `mode="min"` a rising accuracy counts as getting worse, and the rate is
    cut while training goes well.
    ## How to fix it
    `scheduler.step(val_loss)` for `ReduceLROnPlateau`, `scheduler.step()` for the others; `mode="max"` for scores.
    ## When it is not a fault
    `scheduler.step(epoch)`, an older way of stepping, and the branch of other schedules. These are not reported.
    ## Sources
    PyTorch documentation, `torch.optim.lr_scheduler.ReduceLROnPlateau`.
    """

    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at the arguments with which schedules step."""
        for call in file.calls_of(".step"):
            thing = thing_of(file, call.receiver)
            if thing.kind != "scheduler" or call.is_open or not thing.name.startswith("torch.optim.lr_scheduler."):
                continue
            if _is_ruled_out(file, call, thing):
                continue
            given = call.argument(0, "metrics" if thing.name == PLATEAU else "epoch")
            if thing.name == PLATEAU and given is None and not call.keywords:
                yield self._read(file, call, f"`{_short(thing)}` steps without a value to watch", "0 values", "1 value",
                                 "It compares a value with the best one so far, and without it torch raises an error.",
                                 "Give it what is to fall:", f"{_name(file, call)}.step(val_loss)")  # fmt: skip
            elif thing.name == PLATEAU and _falls(file, thing) and given is not None and _is_score(file, given):
                yield self._read(
                    file, call, f"a score is given to `{_short(thing)}`, which waits for a loss",
                    'a score, with `mode="min"`: 1 way only', '`mode="max"`',
                    "With `mode=\"min\"` a rising score counts as no progress, and the rate is cut while training goes "
                    "well.", "Say that more is better:", f'{_short(thing)}(optimizer, mode="max")',
                )  # fmt: skip
            elif thing.name not in (PLATEAU, *_WHOLE) and given is not None and _is_loss(file, given):
                yield self._read(file, call, f"`{_short(thing)}` takes a loss for the number of the epoch", "1 loss",
                                 "no argument",
                                 "The argument of this schedule's `step` is an epoch: with a loss it goes back to its "
                                 "begin.", "Step it without an argument:", f"{_name(file, call)}.step()")  # fmt: skip

    def _read(
        self, file: Code, call: Call, title: str, seen: str, healthy: str, cause: str, advice: str, line: str
    ) -> Finding:
        return self.finding(
            fitting(title, "the schedule is stepped with the wrong argument"),
            sureness=Sureness.CERTAIN,
            place=place_in(file, call.at),
            evidence=[Evidence(f"what `step` on {line_of(file, call.at)} is given", seen, healthy)],
            cause=cause,
            fixes=[f"{advice}\n" + code(line)],
        )

    bad_code = {
        "nothing to watch": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters())
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
            for x, y in torch.load("data"):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                scheduler.step()  # bad
            """,
        "a loss for an epoch": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters())
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)

            def train(loader):
                total = 0.0
                for x, y in loader:
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(x), y)
                    loss.backward()
                    optimizer.step()
                    total += loss.item()
                scheduler.step(total / len(loader))  # bad
                scheduler.step(loss)  # bad
            """,
        "a score that is to fall": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters())
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=3)

            def test(loader):
                correct = 0
                for x, y in loader:
                    correct += (model(x).argmax(1) == y).sum().item()
                accuracy = 100 * correct / len(loader.dataset)
                scheduler.step(accuracy)  # bad
            """,
    }
    good_code = {
        "each as it asks": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters())
            steps = torch.optim.lr_scheduler.StepLR(optimizer, 10)
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
            rising = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max")
            for epoch in range(10):
                correct = 0
                for x, y in torch.load("data"):
                    loss = F.cross_entropy(model(x), y)
                    loss.backward()
                    optimizer.step()
                    correct += (model(x).argmax(1) == y).sum().item()
                steps.step()
                steps.step(epoch)
                steps.step(epoch + 0.5)
                plateau.step(loss)
                plateau.step(1 - correct / 100)
                plateau.step(-correct)
                rising.step(correct)
            """,
        "not known which": """
            def train(optimizer, name, loss):
                if name == "plateau":
                    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
                else:
                    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
                scheduler.step(loss)
                scheduler.step()
            """,
        "asked which": """
            def train(optimizer, scheduler, loss):
                if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
                    scheduler.step(loss.item())
                else:
                    scheduler.step()

            def main(x, y):
                model = nn.Linear(3, 2)
                optimizer = torch.optim.Adam(model.parameters())
                scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
                train(optimizer, scheduler, F.cross_entropy(model(x), y))
            """,
    }


def _short(thing: Thing) -> str:
    return thing.name.rpartition(".")[2]


def _is_ruled_out(file: Code, call: Call, thing: Thing) -> bool:
    """Whether the branch is that of other schedules, as where `isinstance` asks for this class and it is the `else`."""
    for here in file.around(call.context):
        if here.kind in ("if", "else") and isinstance(here.value, Call) and here.value.name == "builtins.isinstance":
            asked = here.value.argument(1)
            if isinstance(asked, Symbol) and asked.name.startswith("torch.optim.lr_scheduler."):
                return (asked.name == thing.name) is (here.kind == "else")
    return False


def _name(file: Code, call: Call) -> str:
    return quoted(file, call.receiver, "`scheduler`").strip("`")


def _falls(file: Code, thing: Thing) -> bool:
    """Whether a schedule waits for something to fall."""
    if thing.made is None or thing.made_in is None or thing.made.is_open:
        return False
    mode = thing.made.argument(1, "mode")
    return mode is None or literal(thing.made_in, mode) == "min"


def _is_score(file: Code, value: Value | None, depth: int = 0) -> bool:
    """Whether a value is a share or a count of answers that are right."""
    if depth > 8:
        return False
    if isinstance(value, Name) and value.binding != NOWHERE:
        binding = file.bindings[value.binding]
        if binding.how == "augment" and isinstance(binding.value, Operation):
            return binding.value.operator == "+" and _is_score(file, binding.value.operands[1], depth + 1)
        return binding.how == "assign" and not binding.item and _is_score(file, binding.value, depth + 1)
    if isinstance(value, Call):
        if value.name in _SCORES:
            return True
        if value.name in (".item", ".float", ".sum", ".mean", ".double", ".cpu", ".type"):
            return _is_score(file, value.receiver, depth + 1)
        return value.name in ("builtins.float", "torch.sum", "torch.mean") and _is_score(
            file, value.argument(0), depth + 1
        )
    if isinstance(value, Operation):
        if value.operator == "==":
            return True
        if value.operator == "/":
            return _is_score(file, value.operands[0], depth + 1)
        if value.operator == "*":
            return any(_is_score(file, one, depth + 1) for one in value.operands) and any(
                isinstance(one, Constant) and isinstance(one.value, float | int) and one.value > 0
                for one in value.operands
            )
    return False


def _is_loss(file: Code, value: Value | None, depth: int = 0) -> bool:
    """Whether a value is certainly a loss, or a mean of losses."""
    if depth > 8:
        return False
    if isinstance(value, Name) and value.binding != NOWHERE:
        binding = file.bindings[value.binding]
        if binding.how == "augment" and isinstance(binding.value, Operation):
            return binding.value.operator == "+" and _is_loss(file, binding.value.operands[1], depth + 1)
        return binding.how == "assign" and not binding.item and _is_loss(file, binding.value, depth + 1)
    if isinstance(value, Call):
        if value.name in (".item", ".detach", ".cpu", ".mean", ".sum"):
            return _is_loss(file, value.receiver, depth + 1)
        if called(file, value).kind == "loss":
            return True
        return value.name.startswith("torch.nn.functional.") and value.name.endswith(("_loss", "cross_entropy"))
    if isinstance(value, Operation) and value.operator in ("/", "*"):
        found, _ = followed(file, value.operands[0])
        return _is_loss(file, value.operands[0], depth + 1) or _is_loss(file, found, depth + 1)
    return False
