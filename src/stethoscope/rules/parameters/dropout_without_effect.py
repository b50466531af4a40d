"""A recurrent layer's dropout that acts between layers, of which there is one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, Call, Code
from stethoscope.facts.options import LEAST
from stethoscope.facts.recurrent import RECURRENT
from stethoscope.facts.things import literal
from stethoscope.rules.lines import line_of, place_in
from stethoscope.rules.sites import code


class DropoutWithoutEffect(Rule):
    """A recurrent layer is given dropout, and has a single layer: nothing is dropped.

    ## What it sees
    `nn.LSTM`, `nn.GRU` or `nn.RNN` with `dropout=` of 0.001 or more and `num_layers` left at 1.
    ## Why it hurts
    The dropout of these layers acts on the outputs of every layer but the last. With one layer there is no such output,
    and the model trains without the regularization that its code shows.
    ## How to fix it
    Apply `nn.Dropout` to the input or to the outputs, or use `num_layers=2`.
    ## When it is not a fault
    A number of layers, or a rate, that the code does not say: that is not reported. In a file that only loads a stored
    model and asks it nothing trains: there it is possible at most.
    ## Sources
    PyTorch documentation, `torch.nn.LSTM`: "introduces a Dropout layer on the outputs of each LSTM layer except the
    last layer". PyTorch warns of it where the layer is constructed.
    """

    severity = Severity.WARNING

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at how recurrent layers are made."""
        for call in file.calls_of(*RECURRENT):
            rate = literal(file, call.keyword("dropout"))
            if call.is_open or len(call.arguments) > 3 or not isinstance(rate, int | float) or not LEAST <= rate <= 1:
                continue
            layers = call.argument(2, "num_layers")
            if layers is None or literal(file, layers) == 1:
                yield self._report(file, call, rate)

    def _report(self, file: Code, call: Call, rate: float) -> Finding:
        kind = call.name.rpartition(".")[2]
        outputs, is_dropped = _outputs(file, call)
        where = "its outputs" if outputs else "the state that is read of it"
        return self.finding(
            f"`dropout={rate:g}` of {'a' if kind == 'GRU' else 'an'} `{kind}` with one layer drops nothing",
            sureness=Sureness.POSSIBLE if is_dropped else Sureness.CERTAIN,
            place=place_in(file, call.at),
            evidence=[
                Evidence(
                    f"layers of the `{kind}` on {line_of(file, call.at)} whose output is dropped from", 0, "1 or more"
                )
            ],
            cause="It acts on the outputs of every layer except the last, and there is only one.",
            fixes=[f"Drop from {where} by a layer of its own:\n" + code(f"self.dropout = nn.Dropout({rate:g})")],
        )

    bad_code = {
        "left at one": """
            rnn = nn.LSTM(8, 16, batch_first=True, dropout=0.3)  # bad
            other = nn.GRU(8, 16, 1, dropout=0.5)  # bad
            """,
    }
    good_code = {
        "several, none, or not known": """
            def nets(layers, rate, **options):
                return (
                    nn.LSTM(8, 16, 2, dropout=0.3), nn.GRU(8, 16, num_layers=layers, dropout=0.3), nn.RNN(8, 16),
                    nn.GRU(8, 16, dropout=rate), nn.LSTM(8, 16, dropout=0.0), nn.LSTM(8, 16, dropout=0.2, **options),
                )
            """,
    }


def _outputs(file: Code, made: Call) -> tuple[bool, bool]:
    """Whether the outputs of a recurrent layer are taken, for all that is seen, and whether something drops from them:
    `_, state = self.rnn(x)`, `outputs, _ = self.rnn(x)`.
    """
    kept = _KEPT.search(file.lines[made.at.line - 1].encode()[: made.at.column].decode(errors="replace"))
    owner = file.class_of(file.function_at(made.context))
    if kept is None or owner == NOWHERE:
        return True, False
    at = file.classes[owner].at
    answers = re.compile(rf"^\s*([\w, ()]+?)\s*=\s*{re.escape(kept[1])}\(")
    lines = file.lines[at.line - 1 : at.end_line]
    taken = [found[1].partition(",")[0].strip("( )") for line in lines if (found := answers.match(line))]
    drops = "|".join(re.escape(one) for one in taken if one != "_")
    is_dropped = bool(drops) and file.matches(re.compile(rf"\w*[dD]rop\w*\(\s*(?:{drops})\b"), at)
    return not taken or any(one != "_" for one in taken), is_dropped


_KEPT = re.compile(r"(self\.\w+)\s*=\s*$")
