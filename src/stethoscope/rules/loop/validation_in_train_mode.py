"""Validation or inference that runs with dropout and batch statistics on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.code import Code, Site
from stethoscope.facts.evaluations import Evaluation
from stethoscope.facts.surely_unswitched import is_surely_unswitched
from stethoscope.facts.training import History, Model, ValidationPass
from stethoscope.facts.unread import is_never_read
from stethoscope.facts.unswitched import evaluated_unswitched, has_two_modes, is_left_on_purpose
from stethoscope.rules.lines import fitting, place_in
from stethoscope.rules.mode_words import in_train_mode
from stethoscope.rules.sites import code, place_at, receiver

MOST_INPUTS_TOLD_APART = 64
"""Of a longer pass, so many inputs are compared: see `ValidationPass.distinct_inputs`."""


def _run(*passes: tuple[int, int, int], loss_calls: int = 2, **facts: Any) -> History:
    """Passes as (step, forwards, distinct inputs) in train mode; `eval_passes` adds as many in eval mode."""
    evaluated = facts.pop("eval_passes", 0)
    usual: dict[str, Any] = {"has_dropout": True, "optimized_share": 1.0, "num_trainable": 10}
    return History(
        steps=200,
        models=(Model("Net", **(usual | facts)),),
        validation=(
            *(
                ValidationPass(step, forwards, forwards, 0, None, distinct, loss_calls, 32 * forwards)
                for step, forwards, distinct in passes
            ),
            *(ValidationPass(50 * i, 4, 0, distinct_inputs=4, loss_calls=4) for i in range(evaluated)),
        ),
    )


class ValidationInTrainMode(Rule):
    """Validation or inference runs with dropout and batch statistics on.

    ## What it sees
    Runs of forward passes on different inputs, without gradients and without a step between them, with the
    model in train mode, in a model with dropout or batch normalization.
    ## Why it hurts
    Dropout keeps removing units, so every validation number is worse than the model is, and noisy. Batch
    normalization answers each sample by the company that it keeps in its batch, and takes the validation
    data into its running statistics, so that validation changes the model.
    ## How to fix it
    Call `model.eval()` before validation and `model.train()` after it.
    ## When it is not a fault
    Monte-Carlo dropout, which asks the same input many times; a pass that settles the statistics of batch
    normalization; single forwards of a teacher or a generator inside a training step; samples that a generator makes of
    noise to be looked at; a dropout of less than 0.001. None is reported. In code it is possible at most where nothing
    shows that the model runs a layer with two modes (networks of transformers drop by default, but for Llama, ViT, CLIP
    and their like), where an `eval()` is commented out, where the evaluation calls `train()` itself, where nothing is
    measured, as where pictures are translated, or what is collected is never read, where nobody in the file gets there
    from a training, or where a function that is not seen is handed the model and may switch it.
    ## Sources
    PyTorch documentation, "Autograd mechanics", section "Evaluation Mode (nn.Module.eval())".
    """

    explains = ("train-eval-mismatch",)
    reads = ("validation",)

    long_pass = Limit(8, unit="forward passes", why="one long pass is enough, short ones must come back")
    gap = Limit(3, unit="steps", why="passes at nearly every step belong to the method, as in MixMatch")
    train_share = Limit(0.9, unit="share of forwards", why="a pass may begin with a probe in the other mode")
    distinct_share = Limit(0.5, unit="share of forwards", why="the same input again and again is Monte-Carlo dropout")
    optimized = Limit(
        0.5, unit="share of the model's elements", why="a teacher or target network is not trained itself"
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the passes of each model that has a mode."""
        if not seen.validation:
            yield self.cannot_tell("no validation data passed through the model")
        for number, model in enumerate(seen.models):
            if not (model.has_dropout or model.has_batch_norm) or model.optimized_share < self.optimized:
                continue
            passes = [p for p in seen.validation if p.model == number]
            in_train_mode = [p for p in passes if self._runs_in_train_mode(p)]
            proper = any(p.in_train_mode == 0 for p in passes)
            if proper and not any(p.loss_calls for p in in_train_mode):
                continue  # validated in eval mode: the other passes settle statistics, or collect something
            if self._come_back(in_train_mode):
                yield self._report(model, in_train_mode, passes)

    def _runs_in_train_mode(self, each: ValidationPass) -> bool:
        compared = min(each.forwards, MOST_INPUTS_TOLD_APART)
        return (
            each.forwards >= 2
            and each.in_train_mode >= self.train_share * each.forwards
            and each.distinct_inputs >= max(2, self.distinct_share * compared)
        )

    def _come_back(self, passes: Sequence[ValidationPass]) -> bool:
        """Whether one of them is long, or short ones come back with training between them."""
        if any(p.forwards >= self.long_pass for p in passes):
            return True
        gaps = [later.step - former.step for former, later in pairwise(passes)]
        return bool(gaps) and min(gaps) >= self.gap

    def _report(
        self, model: Model, in_train_mode: Sequence[ValidationPass], passes: Sequence[ValidationPass]
    ) -> Finding:
        forwards = sum(p.forwards for p in in_train_mode)
        site = next((p.site for p in in_train_mode if p.site), None)
        name = receiver(model.eval_call_site, "eval", "model")
        effects = []
        if model.has_dropout:
            effects.append("dropout removes units from every answer")
        if model.has_batch_norm:
            effects.append("batch normalization takes these samples into its running statistics")
        return self.finding(
            f"`{model.name}` is validated in train mode: {forwards:,} forward passes"[:72],
            severity=Severity.ERROR,
            place=place_at(site, steps=(in_train_mode[0].step, in_train_mode[-1].step)),
            evidence=[
                Evidence(
                    "passes without gradients that ran in train mode",
                    f"{len(in_train_mode)} of {len(passes)}",
                    "0",
                    f"{forwards:,} forward passes on different inputs, no step between them",
                ),
            ],
            cause="Forward passes without gradients are validation or inference; in train mode "
            + ", and ".join(effects)
            + ".",
            fixes=[
                "Validate in eval mode, and go back to train mode after it:\n"
                + code(f"{name}.eval()", "with torch.no_grad():", "    ...", f"{name}.train()")
            ],
            unless="answers are meant to vary, as in Monte-Carlo dropout.",
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for a model with dropout or batch normalization that a file trains, evaluates, and never switches."""
        for found in evaluated_unswitched(file):
            holds = has_two_modes(file, found.forward)
            is_shown = holds and not is_left_on_purpose(file, found) and is_surely_unswitched(file, found)
            is_shown = is_shown and not is_never_read(found)
            yield self._read(file, found, holds, Sureness.LIKELY if is_shown else Sureness.POSSIBLE)

    def _read(self, file: Code, found: Evaluation, is_known: bool, sureness: Sureness) -> Finding:
        name = found.forward.name or "model"
        return self.finding(
            fitting(f"`{name}` is evaluated in train mode", "a model is evaluated in train mode"),
            severity=Severity.ERROR,
            sureness=sureness,
            place=place_in(file, found.forward.at),
            evidence=[Evidence("calls of `eval()` in this file", 0, "1 before each evaluation")],
            cause=in_train_mode(name, found.forward.thing, is_known=is_known),
            fixes=[
                "Evaluate in eval mode, and go back to train mode after it:\n"
                + code(f"{name}.eval()", "with torch.no_grad():", "    ...", f"{name}.train()")
            ],
            unless="answers are meant to vary, as in Monte-Carlo dropout.",
        )

    bad = Examples(
        lambda: {
            "three passes, an epoch apart": _run((50, 6, 6), (100, 6, 6), (150, 6, 6)),
            "one long pass": _run((200, 8, 8)),
            "a pass every third step": _run((3, 2, 2), (6, 2, 2), (9, 2, 2)),
            "half of the inputs come twice": _run((200, 40, 20)),
            "no loss computed, no other pass": _run((200, 12, 12), loss_calls=0, has_batch_norm=True),
            "loss computed beside proper passes": _run((200, 12, 12), eval_passes=3),
            "one forward of ten in eval mode": History(
                steps=90,
                models=(Model("Net", has_batch_norm=True, optimized_share=1.0),),
                validation=(
                    ValidationPass(40, 10, 9, 0, Site("train.py", 30, "validate", "out = net(x)"), 10, 10, 320),
                ),
            ),
            "half of the model trained": _run((200, 12, 12), optimized_share=0.5),
        }
    )
    good = Examples(
        lambda: {
            "eval mode": _run(eval_passes=3),
            "one short pass": _run((200, 7, 7)),
            "guesses for unlabelled samples, every step": _run(*((step, 2, 2) for step in range(40))),
            "every second step": _run((2, 2, 2), (4, 2, 2), (6, 2, 2)),
            "samples of a generator, every step": _run(*((step, 1, 1) for step in range(40)), loss_calls=0),
            "Monte-Carlo dropout": _run((200, 40, 4)),
            "under half of the inputs differ": _run((200, 40, 19)),
            "settling statistics": _run((200, 40, 40), eval_passes=3, loss_calls=0, has_batch_norm=True),
            "a teacher": _run((200, 40, 40), optimized_share=0.0),
            "a mostly frozen model": _run((200, 40, 40), optimized_share=0.49),
            "nothing that has a mode": _run((200, 40, 40), has_dropout=False),
            "mostly in eval mode": History(
                steps=90,
                models=(Model("Net", has_batch_norm=True, optimized_share=1.0),),
                validation=(ValidationPass(40, 50, 44, 0, None, 50, 50, 320),),
            ),
        }
    )
    bad_code = {
        "accuracy when all training is done": """
            model = nn.Sequential(nn.Linear(3, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 2))
            optimizer = torch.optim.Adam(model.parameters())
            data = torch.load("data")
            model.train()
            for epoch in range(5):
                for x, y in data:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            right = 0
            for x, y in data:
                right += (model(x).argmax(1) == y).sum().item()  # bad
            """,
        "in a class that has a train of its own": """
            class Trainer:
                def train(self, data, optimizer):
                    self.model.train()
                    for x, y in data:
                        optimizer.zero_grad()
                        F.cross_entropy(self.model(x), y).backward()
                        optimizer.step()

                def evaluate(self, data):
                    with torch.no_grad():
                        for x, _ in data:
                            print(self.model(x).argmax(1).tolist())  # bad

                def run(self, data):
                    self.train(data, torch.optim.Adam(self.model.parameters()))
                    return self.evaluate(data)
            """,
        "in the function that trains, over other data": """
            def fit(train_data, test_data):
                model = nn.Sequential(nn.Linear(3, 9), nn.ReLU(), nn.Dropout(0.5), nn.Linear(9, 2))
                optimizer = torch.optim.Adam(model.parameters())
                for epoch in range(5):
                    for x, y in train_data:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
                    right = 0
                    for x, y in test_data:
                        right += (model(x).argmax(1) == y).sum().item()  # bad
                    print(right)
            """,
        "dropout, and no eval()": """
            model = nn.Sequential(nn.Linear(3, 9), nn.ReLU(), nn.Dropout(0.5), nn.Linear(9, 2))
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(5):
                for x, y in torch.load("data"):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                with torch.no_grad():
                    for x, y in torch.load("test"):
                        print(F.cross_entropy(model(x), y).item())  # bad
            """,
        "batch normalization in a class": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.block = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))

                def forward(self, x):
                    return self.block(x)

            def fit(model, data):
                optimizer = torch.optim.Adam(model.parameters())
                for x, y in data:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()

            @torch.no_grad()
            def accuracy(model, data):
                return sum((model(x).argmax(1) == y).float().mean().item() for x, y in data)  # bad

            net = Net()
            fit(net, torch.load("data"))
            print(accuracy(net, torch.load("test")))
            """,
        "a batch that is moved in a branch": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.layers = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))

                def forward(self, x):
                    return self.layers(x)

            model = Net()
            optimizer = torch.optim.Adam(model.parameters())

            def train(loader, on_gpu):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()

            def test(loader, on_gpu):
                right = 0
                for x, y in loader:
                    if on_gpu:
                        x, y = x.cuda(), y.cuda()
                    right += model(x).argmax(1).eq(y).sum().item()  # bad
                return right
            """,
        "the model that a wrapper holds, by another name": """
            class Trainer:
                def __init__(self, model, args):
                    self.model, self.args = model, args
                    self.optimizer = torch.optim.Adam(model.parameters())

                def train(self, loader):
                    self.model.train()
                    for x, y in loader:
                        self.optimizer.zero_grad()
                        F.cross_entropy(self.model(x), y).backward()
                        self.optimizer.step()

                def validate(self, loader):
                    if self.args.distributed:
                        net = self.model.module
                    else:
                        net = self.model
                    for x, y in loader:
                        with torch.no_grad():
                            print(F.cross_entropy(net(x), y).item())  # bad
            """,
    }
    good_code = {
        "another model by the same name": """
            def fit(model, teacher, loader, optimizer):
                model.train()
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                asked = teacher
                with torch.no_grad():
                    for x, y in loader:
                        print(F.cross_entropy(asked(x), y).item())
            """,
        "one recurrent layer, which drops nothing": """
            class Net(nn.Module):
                def __init__(self, width=1, layers=1):
                    super().__init__()
                    self.rnn = nn.RNN(1, width, dropout=(0 if layers == 1 else 0.05), num_layers=layers)
                    self.head = nn.Linear(width, 1)

                def forward(self, x):
                    return self.head(self.rnn(x)[0][-1])

            def train(model, loader, optimizer):
                model.train()
                for x, y in loader:
                    optimizer.zero_grad()
                    F.mse_loss(model(x), y).backward()
                    optimizer.step()

            def predict(model, start, steps):
                found = []
                for step in range(steps):
                    with torch.no_grad():
                        start = model(start)
                        found.append(start.item())
                return found

            def main(device, loader):
                model = Net(width=20).float().to(device)
                train(model, loader, torch.optim.Adam(model.parameters()))
                print(predict(model, torch.zeros(3, 1, 1), 100))
            """,
        "a look at the training rows, of a model that is not seen": """
            from project import Net

            model = Net()
            model.train()
            optimizer = torch.optim.Adam(model.parameters())
            x, y = torch.load("data")
            for step in range(100):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            with torch.no_grad():
                print((model(x).argmax(1) == y).float().mean().item())
            """,
        "dropout that an argument switches on": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.first, self.second = nn.Linear(3, 9), nn.Linear(9, 2)
                    self.dropout = nn.Dropout(0.5)

                def forward(self, x, is_training=False):
                    x = self.first(x).relu()
                    if is_training:
                        x = self.dropout(x)
                    return self.second(x)

            model = Net()
            optimizer = torch.optim.Adam(model.parameters())
            train_data, test_data = torch.load("data")
            for epoch in range(5):
                for x, y in train_data:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x, is_training=True), y).backward()
                    optimizer.step()
            right = 0
            for x, y in test_data:
                right += (model(x).argmax(1) == y).sum().item()
            """,
        "the training's own accuracy": """
            def fit(train_data):
                model = nn.Sequential(nn.Linear(3, 9), nn.ReLU(), nn.Dropout(0.5), nn.Linear(9, 2))
                optimizer = torch.optim.Adam(model.parameters())
                for epoch in range(5):
                    for x, y in train_data:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
                    for x, y in train_data:
                        print((model(x).argmax(1) == y).sum().item())
            """,
        "eval()": """
            model = nn.Sequential(nn.Linear(3, 9), nn.Dropout(0.5), nn.Linear(9, 2))
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(5):
                model.train()
                for x, y in torch.load("data"):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                model.eval()
                with torch.no_grad():
                    for x, y in torch.load("test"):
                        print(F.cross_entropy(model(x), y).item())
            """,
        "nothing that has a mode": """
            model = nn.Sequential(nn.Linear(3, 9), nn.ReLU(), nn.Linear(9, 2))
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in torch.load("data"):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            with torch.no_grad():
                print(F.cross_entropy(model(torch.ones(1, 3)), torch.zeros(1).long()).item())
            """,
        "a target within the step": """
            model = nn.Sequential(nn.Linear(3, 9), nn.Dropout(0.1), nn.Linear(9, 2))
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in torch.load("data"):
                with torch.no_grad():
                    target = model(y).max(1)[0].item()
                optimizer.zero_grad()
                F.mse_loss(model(x), target).backward()
                optimizer.step()
            """,
        "a model that is only used": """
            model = nn.Sequential(nn.Linear(3, 9), nn.Dropout(0.5), nn.Linear(9, 2))
            with torch.no_grad():
                for x in torch.load("data"):
                    print(model(x).argmax(1).item())
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
        order = torch.randperm(len(images))
        train, test = order[:1400], order[1400:]
        model = nn.Sequential(
            nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.6), nn.Linear(128, 128), nn.ReLU(), nn.Dropout(0.6),
            nn.Linear(128, 10),
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        for epoch in range(10):
            model.train()
            for rows in train[torch.randperm(len(train))].split(64):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
                loss.backward()
                optimizer.step()
            # add: model.eval()
            losses = []
            with torch.no_grad():
                for rows in test.split(64):
                    losses.append(nn.functional.cross_entropy(model(images[rows]), labels[rows]).item())
            print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f}")
        """)
