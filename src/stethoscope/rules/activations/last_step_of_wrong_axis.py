"""The last sample of the batch, taken for the last step of the sequence."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Code, Constant, Group, Item, Operation
from stethoscope.facts.expressions import values_of
from stethoscope.facts.recurrent import ONE_SAMPLE, Recurrent, recurrent_of, text_before
from stethoscope.rules.lines import fitting, line_of, place_in, quoted
from stethoscope.rules.sites import code


class LastStepOfWrongAxis(Rule):
    """From a recurrent layer's outputs the last sample is taken where the last step was meant.

    ## What it sees
    `out[-1]` of an `nn.LSTM`, `nn.GRU` or `nn.RNN` made with `batch_first=True`, or `out[:, -1]` of one without it.
    ## Why it hurts
    With `batch_first=True` the outputs are (sample, step, feature), else (step, sample, feature). The wrong index picks
    all steps of one sample, and the head predicts every label from a single sample's steps.
    ## How to fix it
    `out[:, -1]` with `batch_first=True`, `out[-1]` without it.
    ## When it is not a fault
    One sequence at a time, without a batch axis or with a batch of one, as far as the function shows that.
    ## Sources
    PyTorch documentation, `torch.nn.LSTM`, "Outputs". `batch-leakage` sees in a model that one sample's output depends
    on the others.
    """

    on_trial = True
    explains = ("batch-leakage", "underfitting", "no-gain-over-baseline", "cannot-overfit-batch")

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at indices into what recurrent layers give."""
        if not file.calls_of("torch.nn.LSTM", "torch.nn.GRU", "torch.nn.RNN"):
            return
        seen = set()
        for value in values_of(file):
            if not isinstance(value, Item) or value.at in seen:
                continue
            axis = _last_on(value)
            found = recurrent_of(file, value.value) if axis is not None else None
            if found is None or found.part != (0,) or found.batch_first is None or axis != found.batch_first:
                continue
            seen.add(value.at)
            if not ONE_SAMPLE.search(text_before(file, value.at, found.called.context)):
                yield self._report(file, value, found)

    def _report(self, file: Code, value: Item, found: Recurrent) -> Finding:
        first, right = ("sample", "[:, -1]") if found.batch_first else ("step", "[-1]")
        source = quoted(file, value.value, "out").strip("`")
        written = quoted(file, value, "this index")
        how = "with `batch_first=True`" if found.batch_first else "without `batch_first`"
        line = f" on {line_of(found.made_in, found.made.at)}" if found.made_in is file else ""
        return self.finding(
            fitting(f"{written} is the last sample, not the last step", "the last sample is taken for the last step"),
            sureness=Sureness.LIKELY,
            place=place_in(file, value.at),
            evidence=[
                Evidence(f"first axis of what the {found.kind} made{line} {how} gives", f"{first}, axis 0",
                         f"`{source}{right}` is the last step")
            ],
            cause=f"The {found.kind} was made {how}, so that {written} is one sample of the batch at all its steps.",
            fixes=["Take the last step:\n" + code(f"{source}{right}")],
            unless="it is given one sequence at a time.",
        )  # fmt: skip

    bad_code = {
        "batch first": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.rnn = nn.LSTM(8, 16, batch_first=True)
                    self.fc = nn.Linear(16, 2)

                def forward(self, x):
                    out, (h, c) = self.rnn(x)
                    return self.fc(out[-1])  # bad
            """,
        "time first": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.rnn = nn.GRU(8, 16, 2)
                    self.fc = nn.Linear(16, 2)

                def forward(self, x):
                    out, _ = self.rnn(x)
                    last = out[:, -1, :]  # bad
                    return self.fc(last)
            """,
    }
    good_code = {
        "right ones": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.first = nn.LSTM(8, 16, batch_first=True)
                    self.second = nn.GRU(16, 16)

                def forward(self, x):
                    out, (h, c) = self.first(x)
                    last = out[:, -1, :] + h[-1]
                    steps = out.transpose(0, 1)
                    again, h = self.second(steps)
                    return last + again[-1] + steps[-1]
            """,
        "a batch of one": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.rnn = nn.LSTM(8, 16)

                def forward(self, x):
                    out, _ = self.rnn(x.view(len(x), 1, -1))
                    return out[:, -1]
            """,
        "not known": """
            class Net(nn.Module):
                def __init__(self, batch_first):
                    super().__init__()
                    self.rnn = nn.LSTM(8, 16, batch_first=batch_first)

                def forward(self, x):
                    out, _ = self.rnn(x)
                    return out[-1]
            """,
    }


def _last_on(value: Item) -> int | None:
    """Which layers an index is wrong for: 1, as `batch_first=True`, when it takes the last of axis 0; 0 of axis 1."""
    keys = value.key.items if isinstance(value.key, Group) else (value.key,)
    if isinstance(keys[0], Constant) and keys[0].value == -1:
        return 1 if len(keys) == 1 or _is_all(keys[1]) else None
    if len(keys) > 1 and _is_all(keys[0]) and isinstance(keys[1], Constant) and keys[1].value == -1:
        return 0
    return None


def _is_all(key: object) -> bool:
    if isinstance(key, Constant):
        return key.value is Ellipsis
    if not isinstance(key, Operation) or key.operator != ":":
        return False
    return all(isinstance(one, Constant) and one.value is None for one in key.operands)
