"""Raw scores or probabilities in a loss that expects log-probabilities."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import ExchangeLoss
from stethoscope.facts.code import Code
from stethoscope.facts.loss_calls import losses_of
from stethoscope.facts.training import History, LossCall
from stethoscope.rules.examples import falling
from stethoscope.rules.heads import FOLLOWS, heard, maker_evidence, span, trained
from stethoscope.rules.lines import place_in
from stethoscope.rules.pairing import instead, links, maker, once
from stethoscope.rules.sites import at, code, place_at

FUNCTIONS = ("nll_loss", "kl_div")


_scores = {"output_shape": (32, 10), "target_shape": (32,), "target_is_integer": True}


class NllWithoutLogSoftmax(Rule):
    """Raw scores or probabilities go into a loss that expects log-probabilities.

    ## What it sees
    The exponentials of what goes into `nll_loss`: those of log-probabilities sum to 1 in each row. For `kl_div`
    only what can be no logarithm of a probability: values above 0.
    ## Why it hurts
    `nll_loss` is the mean of minus the true class's value, and no more. Raised without end for the true class,
    raw scores bring it to minus infinity; the other classes cost nothing and are never pushed down. With
    probabilities it ends at -1, and gradients vanish wherever the model is badly wrong.
    ## How to fix it
    Apply `log_softmax` to the scores, or use `cross_entropy`, which does.
    ## When it is not a fault
    Densities that are no class probabilities belong into `gaussian_nll_loss` and its kind, which are not looked at.
    ## Sources
    PyTorch documentation, `torch.nn.NLLLoss` ("input given through a forward call is expected to contain
    log-probabilities of each class") and `torch.nn.KLDivLoss`.
    """

    on_trial = True
    treatments = (ExchangeLoss("cross_entropy"),)
    explains = (*FOLLOWS, "output-activation-limits-range")
    reads = ("losses",)

    summing = Limit(0.5, unit="share of rows whose exponentials sum to 1", why="log-probabilities do so in every row")
    fewest_calls = Limit(3, unit="watched calls", why="one batch of an untrained model may be odd")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge each loss on log-probabilities that training goes through."""
        calls = [loss for loss in trained(seen) if loss.function in FUNCTIONS]
        if not calls:
            yield self.cannot_tell("no training loss expects log-probabilities")
        for loss in calls:
            # A log-softmax over another axis is a matter of its own.
            if not loss.logs_sum_to_one < self.summing or loss.produced_by == "log_softmax":
                continue
            if loss.watched < self.fewest_calls:
                continue
            if loss.rows_sum_to_one >= self.summing or loss.output_max > 1e-3:
                yield self._report(loss, seen, Sureness.CERTAIN)
            elif loss.function == "nll_loss":
                yield self._report(loss, seen, Sureness.LIKELY)

    def _report(self, loss: LossCall, seen: History, sureness: Sureness) -> Finding:
        probabilities = loss.rows_sum_to_one >= self.summing
        made_by = "sigmoids" if loss.produced_by == "sigmoid" else "raw scores"
        given = "probabilities" if probabilities else made_by
        evidence = [
            Evidence("rows whose exponentials sum to 1", f"{loss.logs_sum_to_one:.0%}", "100%", "probabilities do"),
            Evidence("values that went into the loss", span(loss.output_min, loss.output_max), "all below 0"),
        ]
        if loss.produced_by:
            evidence.append(maker_evidence(loss, "`log_softmax`"))
        if loss.function == "kl_div":
            repair = ["loss = F.kl_div(scores.log_softmax(dim=1), targets, reduction='batchmean')"]
            why = "It takes the logarithm of its targets only."
        else:
            repair = ["loss = F.cross_entropy(scores, labels)  # log_softmax and nll_loss in one"]
            end = "-1" if probabilities or loss.output_max <= 1 else "minus infinity"
            why = f"It computes no softmax and no logarithm, so that it can fall to {end} while answers stay wrong."
        return self.finding(
            f"`{loss.function}` is given {given}, not log-probabilities",
            sureness=sureness,
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=evidence,
            cause=f"`{loss.function}` at {at(loss.site)} expects log-probabilities. {why}",
            fixes=["Give it the logarithm of a softmax over the classes:\n" + code(*repair)],
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Follow what each loss on log-probabilities is given back to the operation that made it."""
        for loss in once(losses_of(file)):
            kind = loss.output.kind
            wrong = ("softmax", "sigmoid", "linear", "relu") if loss.function == "nll_loss" else ("softmax", "sigmoid")
            if loss.function not in FUNCTIONS or kind not in wrong:
                continue
            what = "raw scores go" if kind in ("linear", "relu") else f"{kind} goes"
            yield self.finding(
                f"{what} into `{loss.function}`, which takes log-probabilities",
                sureness=Sureness.CERTAIN,
                place=place_in(file, loss.call.at),
                evidence=[maker(file, loss, "`log_softmax`")],
                cause=f"`{loss.function}` takes no logarithm itself: what it is given must be log-probabilities.",
                fixes=[
                    Fix(
                        "Apply log_softmax, or use the loss that does:\n"
                        + code("loss = F.cross_entropy(scores, targets)"),
                        edits=instead(file, loss, "nll_loss", "cross_entropy", "NLLLoss", "CrossEntropyLoss")
                        if kind == "linear"
                        else (),
                    )
                    if loss.function == "nll_loss"
                    else "Give it logarithms:\n"
                    + code("loss = F.kl_div(scores.log_softmax(1), p, reduction='batchmean')")
                ],
                chain=links(file, loss),
            )

    bad = Examples(lambda: {
        "raw scores": heard(
            "nll_loss", falling(0.1, -900.0), produced_by="linear", logs_sum_to_one=0.0, output_min=-40.0,
            output_max=95.0, **_scores,
        ),
        "probabilities": heard(
            "nll_loss", falling(-0.1, -0.9), produced_by="softmax", logs_sum_to_one=0.0, rows_sum_to_one=1.0,
            output_min=0.0, output_max=1.0, **_scores,
        ),
        "scores below 0 that sum to nothing in particular": heard(
            "nll_loss", produced_by="log_sigmoid", logs_sum_to_one=0.49, output_min=-9.0, output_max=-0.1, **_scores
        ),
        "three calls": heard(
            "nll_loss", watched=3, logs_sum_to_one=0.0, output_min=-4.0, output_max=5.0, **_scores
        ),
        "probabilities into kl_div": heard(
            "kl_div", produced_by="softmax", logs_sum_to_one=0.0, rows_sum_to_one=1.0, output_min=0.0, output_max=1.0,
            output_shape=(32, 10), target_shape=(32, 10),
        ),
        "half of the rows happen to sum to 1": heard(
            "nll_loss", produced_by="div", logs_sum_to_one=0.1, rows_sum_to_one=0.5, output_min=-4.0, output_max=0.0,
            **_scores,
        ),
    })  # fmt: skip
    good = Examples(lambda: {
        "log-probabilities": heard(
            "nll_loss", produced_by="log_softmax", logs_sum_to_one=1.0, output_min=-9.0, output_max=-0.01, **_scores
        ),
        "some rows do not": heard("nll_loss", logs_sum_to_one=0.51, output_min=-9.0, output_max=-0.01, **_scores),
        "two calls": heard("nll_loss", watched=2, logs_sum_to_one=0.0, output_min=-4.0, output_max=5.0, **_scores),
        "log-softmax over another axis": heard(
            "nll_loss", produced_by="log_softmax", logs_sum_to_one=0.0, output_min=-9.0, output_max=-0.1, **_scores
        ),
        "logarithms of yes-or-no probabilities into kl_div": heard(
            "kl_div", produced_by="log_sigmoid", logs_sum_to_one=0.0, rows_sum_to_one=0.0, output_min=-9.0,
            output_max=-0.1, output_shape=(32, 10), target_shape=(32, 10),
        ),
        "cross-entropy of raw scores": heard("cross_entropy", produced_by="linear", **_scores),
    })  # fmt: skip
    bad_code = {
        "probabilities": """
            model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))
            criterion = nn.NLLLoss()
            for x, y in torch.load("data"):
                criterion(model(x), y).backward()  # bad
            """,
        "raw scores": """
            model = nn.Linear(4, 3)
            for x, y in torch.load("data"):
                F.nll_loss(model(x), y).backward()  # bad
            """,
        "a divergence of probabilities": """
            def distil(student, teacher, x):
                return F.kl_div(F.softmax(student(x), dim=1), F.softmax(teacher(x), dim=1))  # bad
            """,
    }
    good_code = {
        "log-probabilities": """
            model = nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(dim=1))
            for x, y in torch.load("data"):
                F.nll_loss(model(x), y).backward()
            """,
        "an attribute that is called softmax": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.out = nn.Linear(4, 3)
                    self.softmax = nn.LogSoftmax(dim=1)

                def forward(self, x):
                    return self.softmax(self.out(x))

            model = Net()
            for x, y in torch.load("data"):
                F.nll_loss(model(x), y).backward()
            """,
        "a logarithm of one's own": """
            def loss(model, x, y):
                return F.nll_loss(torch.log(F.softmax(model(x), dim=1)), y)
            """,
    }
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32)
        images = (images - images.mean()) / images.std()
        labels = torch.tensor(data.target)
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images, labels), batch_size=64, shuffle=True
        )
        model = nn.Sequential(
            nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10),
            nn.Softmax(dim=1),  # fix: nn.LogSoftmax(dim=1),
        )
        criterion = nn.NLLLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        for epoch in range(8):
            for x, y in loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
        print(f"accuracy {(model(images).argmax(dim=1) == labels).float().mean().item():.4f}")
        """)
