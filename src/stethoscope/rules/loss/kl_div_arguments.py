"""A KL divergence that is given what it does not expect."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Call, Code
from stethoscope.facts.layers import output_of
from stethoscope.facts.loss_calls import LossUse, losses_of
from stethoscope.facts.things import literal
from stethoscope.rules.changing import Edits, renamed, with_argument
from stethoscope.rules.lines import line_of, place_in
from stethoscope.rules.pairing import links
from stethoscope.rules.sites import code


class KlDivArguments(Rule):
    """A KL divergence gets probabilities where it expects their logarithms, or the reverse.

    ## What it sees
    `F.kl_div` or `nn.KLDivLoss` whose first argument is made by softmax, or whose second is made by log-softmax without
    `log_target=True`; both where the two are swapped.
    ## Why it hurts
    The function computes `target * (log(target) - input)`. With probabilities as input two equal distributions do not
    give 0 but less, and the gradient does not lead to equality; with logarithms as target the result is NaN or 0.
    ## How to fix it
    `F.kl_div(F.log_softmax(student, dim=1), F.softmax(teacher, dim=1), reduction="batchmean")`.
    ## When it is not a fault
    Another function of the same name, of a project's own. That is not reported.
    ## Sources
    PyTorch documentation, `torch.nn.KLDivLoss`: "this loss expects the argument input in the log-space".
    """

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Follow both arguments back to what made them."""
        for loss in losses_of(file):
            if loss.function != "kl_div":
                continue
            target = output_of(file, loss.target).kind
            in_logs = literal(file, loss.option("log_target")) if loss.option("log_target") is not None else False
            first = loss.output.kind in ("softmax", "sigmoid")
            is_known = loss.made is not None or loss.call.name.startswith("torch.")  # else made in several ways
            second = target == "log_softmax" and in_logs is False and is_known
            if not first and not second:
                continue
            title = "the arguments of `kl_div` are swapped" if first and second else (
                "`kl_div` gets probabilities where it expects logarithms" if first else
                "`kl_div` gets logarithms as target, and expects probabilities"
            )  # fmt: skip
            yield self.finding(
                title,
                sureness=Sureness.CERTAIN,
                place=place_in(file, loss.call.at),
                evidence=[
                    Evidence(
                        f"arguments 1 and 2 of `kl_div` on {line_of(file, loss.call.at)}",
                        f"`{loss.output.kind}` and `{target}`", "`log_softmax` and `softmax`",
                        "followed through the code",
                    )
                ],
                cause="It computes `target * (log(target) - input)`: the input has to be logarithms of probabilities, "
                "the target probabilities.",
                fixes=[
                    Fix(
                        "Logarithms first, probabilities second:\n"
                        + code(
                            "log_p, q = F.log_softmax(student, dim=1), F.softmax(teacher, dim=1)",
                            'loss = F.kl_div(log_p, q, reduction="batchmean")',
                        ),
                        edits=_changed(file, loss, first, second),
                    )
                ],
                chain=links(file, loss),
            )  # fmt: skip

    on_trial = True
    bad_code = {
        "probabilities": """
            def distill(student, teacher):
                p = F.softmax(student, dim=1)
                q = F.softmax(teacher, dim=1)
                return F.kl_div(p, q, reduction="batchmean")  # bad
            """,
        "swapped": """
            criterion = nn.KLDivLoss(reduction="batchmean")

            def distill(student, teacher):
                return criterion(F.softmax(teacher, dim=1), F.log_softmax(student, dim=1))  # bad
            """,
        "logarithms as target": """
            def distill(student, teacher):
                q = F.log_softmax(teacher, dim=1)
                return F.kl_div(F.log_softmax(student, dim=1), q, reduction="batchmean")  # bad
            """,
    }
    good_code = {
        "told so, where the version can": """
            class Consistency(nn.Module):
                def __init__(self, new):
                    super().__init__()
                    if new:
                        self.div = nn.KLDivLoss(log_target=True)
                    else:
                        self.div = nn.KLDivLoss()

                def forward(self, a, b):
                    return self.div(F.log_softmax(a, dim=1), F.log_softmax(b, dim=1))
            """,
        "as expected": """
            def distill(student, teacher):
                return F.kl_div(F.log_softmax(student, dim=1), F.softmax(teacher, dim=1), reduction="batchmean")
            """,
        "a target in logarithms, and told so": """
            def distill(student, teacher):
                p, q = F.log_softmax(student, dim=1), F.log_softmax(teacher, dim=1)
                return F.kl_div(p, q, reduction="batchmean", log_target=True)
            """,
        "a logarithm of probabilities": """
            def distill(student, teacher):
                return F.kl_div(F.softmax(student, dim=1).log(), F.softmax(teacher, dim=1), reduction="batchmean")
            """,
    }


def _changed(file: Code, loss: LossUse, first: bool, second: bool) -> Edits:
    """A softmax that stands in the call, with its logarithm; or the word that the target is in logarithms."""
    if first and not second and isinstance(loss.given, Call) and loss.output.kind == "softmax":
        return renamed(file, loss.given, "softmax", "log_softmax")
    if second and not first and loss.code is file and loss.option("log_target") is None:
        made = loss.made or loss.call
        return with_argument(file, made, "log_target=True") if loss.made_in in (None, file) else ()
    return ()
