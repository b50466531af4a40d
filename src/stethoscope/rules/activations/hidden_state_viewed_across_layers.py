"""The final state of a recurrent layer, reshaped as if samples came first."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Call, Code
from stethoscope.facts.recurrent import Recurrent, recurrent_of
from stethoscope.rules.lines import fitting, line_of, place_in, quoted
from stethoscope.rules.sites import code


class HiddenStateViewedAcrossLayers(Rule):
    """The final state of several layers or directions is reshaped to rows, which mixes the samples.

    ## What it sees
    `h.view(batch, -1)` or `h.reshape(batch, -1)` of the state that an `nn.LSTM`, `nn.GRU` or `nn.RNN` gives, of several
    layers or two directions.
    ## Why it hurts
    The state has the shape (layers x directions, sample, feature), also with `batch_first=True`. A view to one row a
    sample keeps the order of the values: row 0 then holds the states of samples 0 and 1 of the first layer.
    ## How to fix it
    `torch.cat((h[-2], h[-1]), dim=1)` for the last layer's two directions, or `h.transpose(0, 1).flatten(1)`.
    ## When it is not a fault
    One layer in one direction: its state has a single slice, and such a view is right. It is not reported.
    ## Sources
    PyTorch documentation, `torch.nn.LSTM`, "Outputs": `h_n`. `batch-leakage` sees in a model that one sample's output
    depends on the others.
    """

    on_trial = True
    explains = ("batch-leakage", "underfitting", "no-gain-over-baseline", "cannot-overfit-batch")

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at views of states."""
        for call in file.calls_of(".view", ".reshape"):
            if len(call.arguments) != 2 or call.keywords:
                continue
            found = recurrent_of(file, call.receiver)
            if found is None or found.part != ((1, 0) if found.kind == "LSTM" else (1,)) or found.stacked == 1:
                continue
            # All layers one under the other, feature by feature, is another thing, and right.
            if found.made.argument(1, "hidden_size") is not None and _same_text(file, call, found):
                continue
            yield self._report(file, call, found)

    def _report(self, file: Code, call: Call, found: Recurrent) -> Finding:
        state = quoted(file, call.receiver, "h").strip("`")
        written = quoted(file, call, "the view of the state")
        return self.finding(
            fitting(f"{written} mixes the samples of a batch", "a view of the final state mixes the batch"),
            sureness=Sureness.LIKELY,
            place=place_in(file, call.at),
            evidence=[
                Evidence(
                    f"slices of the {found.kind}'s state that {line_of(file, call.at)} views as rows of samples",
                    found.stacked, 1, "layers x directions",
                )
            ],
            cause="The state is (layers x directions, sample, feature): a view does not bring samples to the front.",
            fixes=[
                "Join the last layer's directions, or bring samples to the front first:\n"
                + code(f"torch.cat(({state}[-2], {state}[-1]), dim=1)", f"{state}.transpose(0, 1).flatten(1)")
            ],
        )  # fmt: skip

    bad_code = {
        "both directions": """
            class Net(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.rnn = nn.LSTM(8, width, bidirectional=True, batch_first=True)
                    self.fc = nn.Linear(2 * width, 2)

                def forward(self, x):
                    out, (h, c) = self.rnn(x)
                    return self.fc(h.view(x.size(0), -1))  # bad
            """,
        "two layers": """
            rnn = nn.GRU(8, 16, num_layers=2)
            _, state = rnn(torch.randn(5, 32, 8))
            features = state.reshape(32, 32)  # bad
            """,
    }
    good_code = {
        "one slice, or in order": """
            class Net(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.one = nn.LSTM(8, width, batch_first=True)
                    self.both = nn.LSTM(8, width, bidirectional=True, batch_first=True)

                def forward(self, x):
                    _, (h, c) = self.one(x)
                    single = h.view(x.size(0), -1)
                    _, (h, c) = self.both(x)
                    joined = torch.cat((h[-2], h[-1]), dim=1)
                    turned = h.transpose(0, 1).reshape(x.size(0), -1)
                    split = h.view(1, 2, x.size(0), -1)
                    return single, joined, turned, split
            """,
        "one row for each slice": """
            rnn = nn.GRU(8, 16, num_layers=2)
            _, state = rnn(torch.randn(5, 32, 8))
            rows = state.view(-1, 16)
            """,
    }


def _same_text(file: Code, call: Call, found: Recurrent) -> bool:
    width = found.made.argument(1, "hidden_size")
    last = call.arguments[-1]
    texts = [file.text(last.at), found.made_in.text(width.at) if width is not None else ""]
    return texts[0].replace("self.", "") == texts[1].replace("self.", "")
