"""A metric that gathers over all epochs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, Call, Code, Name
from stethoscope.facts.events import name_of
from stethoscope.facts.expressions import names_in, values_of
from stethoscope.facts.origins import call_sites, thing_of
from stethoscope.facts.things import followed, iterated, literal
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

_LIBRARIES = ("torchmetrics.", "torcheval.metrics.", "keras.metrics.")
_NO_METRICS = ("torchmetrics.functional.", "torcheval.metrics.functional.", "keras.metrics.get")
_RESETS = (".reset", ".reset_state", ".reset_states", ".reset_all")
_READS = (".compute", ".result")
_KNOWN_USES = frozenset({*_RESETS, *_READS, ".update", ".update_state", "()", ".to", ".cuda"})
_OF_THE_WHOLE = frozenset({
    "SumMetric", "MaxMetric", "MinMetric", "CatMetric", "MinMaxMetric", "MetricTracker", "Sum", "Max", "Min", "Cat",
    "Throughput",
})  # fmt: skip
"""What counts or keeps the best over all rounds, as it is made for, or looks at the last values only."""


class MetricNotReset(Rule):
    """A metric is read in each epoch and never reset, so it averages over all epochs so far.

    ## What it sees
    A metric object of torchmetrics, torcheval or Keras that is made before a loop, and updated and read inside of it,
    in a file that resets nothing.
    ## Why it hurts
    The metric keeps what it has gathered. What is printed for epoch 20 is the mean of 20 epochs: it rises late, hides
    overfitting, and picks the wrong checkpoint.
    ## How to fix it
    `metric.reset()` after it is read; in Keras `metric.reset_state()`.
    ## When it is not a fault
    A metric that is made anew in each epoch, or logged by Lightning, which resets it; a loop of one round; a sum, a
    best value, a running mean or one that the line calls "so far", which is meant to go on; one that is handed to
    something, which may reset it. None of these is reported. Where each round asks the same network again, or plays an
    episode, it is possible at most. In a run the rule `metric-wrong` counts the updates that it holds.
    ## Sources
    TorchMetrics documentation, "Overview: Metrics", `Metric.reset`; Keras guide, "Writing a training loop from
    scratch".
    """

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at the metrics that are read in a loop."""
        if file.says("LightningModule", "Trainer("):
            return
        if any(_made(file, call) is None for call in file.calls_named(lambda name: name.startswith(".reset"))):
            return  # nobody knows what is reset
        emptied = {name_of(file, call.receiver) for call in file.calls_of(*_RESETS)}
        told = set()
        for read in file.calls_of(*_READS):
            made = _made(file, read)
            if made is None or made.number in told or name_of(file, read.receiver) in emptied:
                continue
            loop = _epochs(file, read, made)
            update = next((call for call in _updates(file, read) if _is_deeper(file, call, loop)), None)
            if loop == NOWHERE or update is None or _is_over(file, name_of(file, read.receiver), loop):
                continue
            if _says_so_far(file, read) or _may_be_emptied(file, name_of(file, read.receiver)):
                continue
            told.add(made.number)
            is_meant = _is_estimate(file, loop) or _acts(file, loop)
            yield self._read(file, read, made, update, loop, Sureness.POSSIBLE if is_meant else Sureness.CERTAIN)

    def _read(self, file: Code, read: Call, made: Call, update: Call, loop: int, sureness: Sureness) -> Finding:
        name = name_of(file, read.receiver)
        reset = "reset_state" if made.name.startswith("keras.") else "reset"
        return self.finding(
            fitting(f"`{name}` is read in each round and never reset", "a metric is never reset"),
            sureness=sureness,
            place=place_in(file, read.at),
            evidence=[
                Evidence(
                    f"calls that empty `{name}` in the loop on {line_of(file, file.contexts[loop].at)}", 0, "1 a round"
                )
            ],
            cause=f"`{name}` keeps all that it was given: what is read in a round is the mean over all rounds so far.",
            fixes=["Empty it after it is read:\n" + code(f"{name}.{reset}()")],
            chain=[
                Link(place_in(file, made.at), "the metric is made, once"),
                Link(place_in(file, update.at), "it gathers"),
                Link(place_in(file, read.at), "it is read, in each round"),
            ],
        )

    bad_code = {
        "read in each epoch": """
            import torch
            import torchmetrics

            accuracy = torchmetrics.Accuracy(task="multiclass", num_classes=10)

            def main(model, loader):
                for epoch in range(10):
                    for x, y in loader:
                        accuracy.update(model(x), y)
                    print(epoch, accuracy.compute())  # bad
            """,
        "called, and moved": """
            import torch
            from torchmetrics.classification import MulticlassAccuracy

            def main(model, loader, device):
                metric = MulticlassAccuracy(num_classes=10).to(device)
                for epoch in range(10):
                    for x, y in loader:
                        metric(model(x), y)
                    print(epoch, metric.compute())  # bad
            """,
        "one of two": """
            import keras

            loss, accuracy = keras.metrics.Mean(), keras.metrics.Mean()

            def step(x):
                loss(x)
                accuracy(x)

            for epoch in range(10):
                for x in loader:
                    step(x)
                print(loss.result(), accuracy.result())  # bad
                loss.reset_state()
            """,
        "a loop of Keras": """
            import keras

            def main(model, loader):
                mean = keras.metrics.Mean()
                for epoch in range(10):
                    for x, y in loader:
                        mean.update_state(model(x))
                    print(mean.result())  # bad
            """,
    }
    good_code = {
        "emptied": """
            import torchmetrics

            def main(model, loader):
                metric = torchmetrics.Accuracy(task="binary")
                for epoch in range(10):
                    for x, y in loader:
                        metric.update(model(x), y)
                    print(metric.compute())
                    metric.reset()
            """,
        "emptied with others": """
            import torchmetrics

            def main(model, loader):
                metric = torchmetrics.Accuracy(task="binary")
                metrics = [metric]
                for epoch in range(10):
                    for x, y in loader:
                        metric.update(model(x), y)
                    print(metric.compute())
                    for one in metrics:
                        one.reset()
            """,
        "made anew": """
            import torchmetrics

            def main(model, loader):
                for epoch in range(10):
                    metric = torchmetrics.Accuracy(task="binary")
                    for x, y in loader:
                        metric.update(model(x), y)
                    print(metric.compute())
            """,
        "one pass, read as it goes on": """
            import torchmetrics

            def main(model, loader):
                metric = torchmetrics.Accuracy(task="binary")
                for x, y in loader:
                    metric.update(model(x), y)
                    print(metric.compute())
                print(metric.compute())
            """,
    }


def _made(file: Code, read: Call) -> Call | None:
    """The construction of the metric that is read."""
    made, _ = followed(file, read.receiver)
    while isinstance(made, Call) and made.name in (".to", ".cuda"):
        made, _ = followed(file, made.receiver)
    if not isinstance(made, Call) or not isinstance(read.receiver, Name):
        return None
    thing = thing_of(file, made)
    known = made.name.startswith(_LIBRARIES) and not made.name.startswith(_NO_METRICS)
    last = made.name.rpartition(".")[2]
    known = known and last not in _OF_THE_WHOLE and not last.startswith(("Running", "Windowed"))
    return made if known and thing.cls is None and last[:1].isupper() else None


_SO_FAR = re.compile(r"\bso[ _]far\b|\brunning|\bcumul|until[ _]now|\bup[ _]to\b", re.I)


def _says_so_far(file: Code, read: Call) -> bool:
    """Whether the line that reads a metric says that it is the mean so far."""
    return any(_SO_FAR.search(line) for line in file.lines[read.at.line - 1 : read.at.end_line])


def _is_over(file: Code, name: str, loop: int) -> bool:
    """Whether there is one round, or a metric is made anew in each, be it at its end, or set back by hand."""
    source, _ = iterated(file, file.contexts[loop].value)
    count = source.argument(0) if isinstance(source, Call) and source.name == "builtins.range" else None
    if isinstance(source, Call) and len(source.arguments) == 1 and literal(file, count) == 1:
        return True
    return any(
        (one.name == name or one.name.startswith(f"{name}."))
        and one.how == "assign"
        and loop in file.numbers_around(one.context)
        for one in file.bindings
    )


def _is_estimate(file: Code, loop: int) -> bool:
    """Whether each round asks the same network again, and nothing is trained or loaded: the mean over all rounds is an
    estimate that gets better, as where dropout stays on.
    """
    here = file.contexts[loop]
    source, _ = iterated(file, here.value) if here.kind == "for" else (None, ())
    is_again = isinstance(source, Call) and source.name == "builtins.range"
    turns = {number for number, one in enumerate(file.bindings) if one.how == "for" and one.context == loop}
    inside = [call for call in file.calls if loop in file.numbers_around(call.context)]
    is_again = is_again and all(_AGAIN.search(file.bindings[number].name) for number in turns)
    if not is_again or file.matches(_CHANGES, file.functions[file.function_at(loop)].at):
        return False
    given = [one for call in inside for one in (*call.arguments, *(value for _, value in call.keywords))]
    shown = [call.at for call in inside if call.name in _SHOWING]
    return not any(
        one.binding in turns and not any(at.line <= one.at.line <= at.end_line for at in shown)
        for value in given
        for one in names_in(value)
    )


_AGAIN = re.compile(r"^_+$|run|pass|repeat|^rep$|draw|trial|turn|time|^mc|sample", re.I)
"""Names of rounds that ask again; an epoch, or a letter, may train what the reader does not see."""
_CHANGES = re.compile(
    r"backward|\.step\(|\.fit\(|train_|_train\b|\btrain\((?!False)(?=\w)|load_|\.load\(|optim|GradientTape"
)
"""Words of a function in which a network is trained, or another one read from disk."""
_SHOWING = ("builtins.print", ".set_description", ".set_postfix", ".info", ".write")


def _acts(file: Code, loop: int) -> bool:
    """Whether the rounds are episodes of a game, whose mean so far is what is shown: something but an optimizer or a
    schedule takes a step with an action.
    """
    return any(
        call.arguments
        and loop in file.numbers_around(call.context)
        and thing_of(file, call.receiver).kind not in ("optimizer", "scheduler")
        and not _NO_GAME.search(file.text(call.receiver.at) if call.receiver is not None else "")
        for call in file.calls_of(".step")
    )


_NO_GAME = re.compile(r"opt|sched|scaler|lr|prof", re.I)


def _may_be_emptied(file: Code, name: str) -> bool:
    """Whether a metric is handed to something, put among others, or named for anything but to be fed and read: what
    gets it may empty it.
    """
    receivers = {call.receiver.at for call in file.calls if call.name in _KNOWN_USES and call.receiver is not None}
    return any(type(value) is Name and value.name == name and value.at not in receivers for value in values_of(file))


def _epochs(file: Code, read: Call, made: Call) -> int:
    """The innermost loop around the place where a metric is read, in which it is not made."""
    inside = set(file.numbers_around(made.context))
    for number in file.numbers_around(read.context):
        kind = file.contexts[number].kind
        if kind in ("function", "module", "class", "if", "else"):
            return NOWHERE
        if kind in ("for", "while"):
            return number if number not in inside else NOWHERE
    return NOWHERE


def _updates(file: Code, read: Call) -> Iterator[Call]:
    """The calls that give the same metric something."""
    name = name_of(file, read.receiver)
    for call in file.calls:
        if call.name in (".update", ".update_state", "()") and name_of(file, call.receiver) == name:
            yield call


def _is_deeper(file: Code, call: Call, loop: int) -> bool:
    """Whether something is in a loop inside of another: over the batches of an epoch; or in a function called there."""
    for place in (call, *call_sites(file, file.function_at(call.context))):
        inner = next((number for number in file.numbers_around(place.context)
                      if file.contexts[number].kind in ("for", "while")), NOWHERE)  # fmt: skip
        if inner != loop and loop in file.numbers_around(inner) and not _is_of_round(file, inner, loop):
            return True
    return False


def _is_of_round(file: Code, inner: int, loop: int) -> bool:
    """Whether an inner loop goes over something else in each round of the outer: over one of several files, or one
    episode. What is read there may be meant as the mean so far.
    """
    source, _ = iterated(file, file.contexts[inner].value)
    return any(
        one.binding != NOWHERE and loop in file.numbers_around(file.bindings[one.binding].context)
        for one in names_in(source)
    )
