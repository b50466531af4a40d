"""A view whose size is the batch size of the loader, which its last batch does not have."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Binding, Call, Code, Group, Name, Value
from stethoscope.facts.origins import thing_of
from stethoscope.facts.things import literal
from stethoscope.rules.lines import fitting, line_of, place_in, quoted
from stethoscope.rules.sites import code


class FixedBatchInView(Rule):
    """A tensor is viewed with the loader's batch size, though the last batch may be shorter.

    ## What it sees
    `x.view(batch_size, -1)` or `x.reshape(batch_size, ...)`, where `batch_size` is the variable that a `DataLoader` was
    given, and that loader keeps a short last batch (`drop_last` is not set).
    ## Why it hurts
    Where the data set is no multiple of the batch size, the last batch has fewer samples. The view fails at the end of
    the epoch; or, where its sizes happen to divide, it spreads each sample over several rows.
    ## How to fix it
    Take the size from the tensor: `x.view(x.size(0), -1)`, or `x.flatten(1)`.
    ## When it is not a fault
    A data set whose size is a multiple of the batch size.
    ## Sources
    PyTorch documentation, `torch.utils.data.DataLoader` (`drop_last`). A run ends there with `shape ... is invalid for
    input of size ...`, or shows it as `batch-leakage`.
    """

    severity = Severity.WARNING
    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at views by the variables that loaders were given."""
        sizes = _sizes(file)
        for call in file.calls_of(".view", ".reshape") if sizes else ():
            first = call.argument(0, "shape")
            if isinstance(first, Group) and first.items:
                first = first.items[0]
            source = _source(file, first)
            loader = next((made for binding, made in sizes if source is binding), None)
            if loader is not None and _is_repeated(file, call) and not _is_made_by_size(file, call, source):
                yield self._report(file, call, first, loader)

    def _report(self, file: Code, call: Call, first: Value | None, loader: Call) -> Finding:
        size = quoted(file, first, "the batch size")
        owner = quoted(file, call.receiver, "x").strip("`")
        return self.finding(
            fitting(f"the view needs {size} samples, and the last batch may be shorter",
                    "a view needs a whole batch, and the last one may be shorter"),
            sureness=Sureness.LIKELY,
            place=place_in(file, call.at),
            evidence=[
                Evidence(f"samples that the view on {line_of(file, call.at)} expects", f"{size}, always",
                         "as many as there are", "the last batch has the remainder, 1 at least")
            ],
            cause=f"The loader on {line_of(file, loader.at)} gives a short last batch: `drop_last` is not set.",
            fixes=["Take the size from the tensor:\n" + code(f"{owner}.view({owner}.size(0), -1)")],
            unless="the size of the data set is a multiple of it.",
            chain=(Link(place_in(file, loader.at), "the loader is made with that size"),),
        )  # fmt: skip

    bad_code = {
        "in the loop": """
            batch_size = 32
            loader = DataLoader(torch.load("data"), batch_size=batch_size, shuffle=True)
            model = nn.Linear(784, 10)
            for images, labels in loader:
                loss = F.cross_entropy(model(images.view(batch_size, -1)), labels)  # bad
            """,
        "in the model": """
            SIZE = 64

            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc = nn.Linear(784, 10)

                def forward(self, x):
                    x = x.reshape((SIZE, 784))  # bad
                    return self.fc(x)

            loader = DataLoader(torch.load("data"), SIZE)
            """,
    }
    good_code = {
        "from the tensor": """
            batch_size = 32
            loader = DataLoader(torch.load("data"), batch_size=batch_size)
            for images, labels in loader:
                images = images.view(images.size(0), -1)
                noise = torch.randn(batch_size * 3).view(batch_size, 3)
            """,
        "whole batches only": """
            batch_size = 32
            loader = DataLoader(torch.load("data"), batch_size=batch_size, drop_last=True)
            for images, labels in loader:
                images = images.view(batch_size, -1)
            """,
        "of the first batch": """
            batch_size = 32
            loader = DataLoader(torch.load("data"), batch_size=batch_size)
            first = next(iter(loader))[0].view(batch_size, -1)
            """,
        "another number": """
            batch_size, width = 32, 784

            def flat(x, batch_size):
                return x.view(batch_size, -1), x.view(width, -1)

            loader = DataLoader(torch.load("data"), batch_size=batch_size)
            """,
    }


def _sizes(file: Code) -> list[tuple[Binding, Call]]:
    """The variables that loaders take their batch size from; none that a loader without remainder shares."""
    found = []
    for call in file.calls_of("torch.utils.data.DataLoader"):
        source = _source(file, call.argument(1, "batch_size"))
        if source is None:
            continue
        if call.is_open or literal(file, call.keyword("drop_last")) not in (None, False):
            return []
        found.append((source, call))
    return found


def _source(file: Code, value: Value | None) -> Binding | None:
    """The variable of the module that a size is, with a number in it."""
    if not isinstance(value, Name) or value.binding < 0:
        return None
    binding = file.bindings[value.binding]
    is_number = binding.how == "assign" and type(literal(file, binding.value)) is int and not binding.item
    return binding if is_number and file.function_at(binding.context) == 0 else None


def _is_repeated(file: Code, call: Call) -> bool:
    """Whether a view is made of every batch: in a loop, or in a model's forward pass."""
    is_forward = file.functions[file.function_at(call.context)].name == "forward"
    return is_forward or any(here.kind in ("for", "while") for here in file.around(call.context))


def _is_made_by_size(file: Code, call: Call, source: Binding | None) -> bool:
    """Whether what is viewed was made with that size, and not read from the loader."""
    value = call.receiver
    for _ in range(8):
        if isinstance(value, Name) and value.binding >= 0 and file.bindings[value.binding].how == "assign":
            value = file.bindings[value.binding].value
        elif isinstance(value, Call) and value.receiver is not None and value.name.startswith("."):
            value = value.receiver
        else:
            break
    return (
        isinstance(value, Call)
        and value.name.startswith(("torch.", "numpy."))
        and thing_of(file, value).kind != "module"
    )
