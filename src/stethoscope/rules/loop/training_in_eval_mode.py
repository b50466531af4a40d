"""Training steps that run with the model in eval mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import TrainMode
from stethoscope.facts.by_hand import sets_mode_by_hand
from stethoscope.facts.code import Code, Site
from stethoscope.facts.events import Event, events_of, is_in_loop
from stethoscope.facts.first_rounds import is_only_round
from stethoscope.facts.layers import has_modes
from stethoscope.facts.loops import loops_of
from stethoscope.facts.surely_unswitched import may_be_switched
from stethoscope.facts.switches import is_made_anew, is_made_in_eval_mode, switched_for_good
from stethoscope.facts.training import History, Model
from stethoscope.facts.unswitched import has_two_modes
from stethoscope.rules.lines import fitting, place_in, way_to, where_event
from stethoscope.rules.mode_words import in_eval_mode, round_of, times_of
from stethoscope.rules.sites import at, code, place_at, receiver


def _run(steps: int = 200, **facts: Any) -> History:
    usual: dict[str, Any] = {
        "has_dropout": True,
        "optimized_share": 1.0,
        "training_forwards": 40,
        "training_forwards_in_eval": 30,
        "training_forwards_since_eval": 30,
        "first_step_in_eval": 20,
    }
    return History(steps=steps, models=(Model("Net", **(usual | facts)),))


class TrainingInEvalMode(Rule):
    """Training steps run with the model in eval mode.

    ## What it sees
    Forward passes on which a backward pass followed, with the model in eval mode, from some step to the
    end, in a model with dropout or batch normalization.
    ## Why it hurts
    In eval mode dropout does nothing, so its regularization is gone. Batch normalization uses its running
    statistics instead of the batch's: those of an untrained or a past network, never updated, so that
    nothing is normalized.
    ## How to fix it
    Call `model.train()` where each epoch begins, since a validation pass before it has called
    `model.eval()`.
    ## When it is not a fault
    Fine-tuning with all statistics frozen. Gradients for the input (saliency, adversarial samples) are not
    reported as long as training passes are made in train mode too. Code is possible at most where all rounds are in
    eval mode, nothing steps, or nothing shows that the model runs a layer with two modes.
    ## Sources
    PyTorch documentation, "Autograd mechanics", section "Evaluation Mode (nn.Module.eval())".
    """

    explains = (
        "collapsed-predictions",
        "dying-relu",
        "exploding-gradients",
        "learning-rate-too-high",
        "overfitting",
        "vanishing-gradients",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "loss-oscillating",
        "loss-spike",
        "too-few-epochs",
        "saturated-activations",
        "no-gain-over-baseline",
        "train-eval-mismatch",
    )
    reads = ("loop",)
    treatments = (TrainMode(),)

    fewest_forwards = Limit(8, unit="forward passes", why="a probe or two may run in eval mode on purpose")
    fewest_steps = Limit(8, unit="steps", why="gradients taken after the last step train nothing")
    share = Limit(0.9, unit="share of training forwards", why="mixed modes are a method: adversarial samples")
    optimized = Limit(0.5, unit="share of the model's elements", why="a mostly frozen model is in eval mode on purpose")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Look for a model that went into eval mode and trained on in it."""
        judged = False
        for model in seen.models:
            judged = judged or model.training_forwards > 0
            changed = model.has_dropout or model.has_batch_norm
            if not changed or model.first_step_in_eval < 0 or model.optimized_share < self.optimized:
                continue
            if model.training_forwards_in_eval < self.fewest_forwards:
                continue
            if seen.steps - model.first_step_in_eval < self.fewest_steps:
                continue
            if model.training_forwards_in_eval >= self.share * model.training_forwards_since_eval:
                yield self._report(model, seen)
        if not judged:
            yield self.cannot_tell("no forward pass of a model in training was watched")

    def _report(self, model: Model, seen: History) -> Finding:
        name = receiver(model.eval_call_site, "eval", "model")
        parts = " and ".join(
            word
            for word, there in (("dropout", model.has_dropout), ("batch normalization", model.has_batch_norm))
            if there
        )
        always = model.first_step_in_eval == 0
        since = "from the start" if always else f"from step {model.first_step_in_eval:,} on"
        effect = []
        if model.has_dropout:
            effect.append("dropout drops nothing")
        if model.has_batch_norm:
            effect.append("batch normalization uses running statistics, which no longer follow the weights")
        where = "before each training epoch, after validation" if not always else "before training"
        return self.finding(
            f"`{model.name}` trains in eval mode {since}"[:72],
            severity=Severity.ERROR if model.has_batch_norm else Severity.WARNING,
            sureness=Sureness.CERTAIN,
            place=place_at(model.eval_call_site or model.call_site, steps=(model.first_step_in_eval, seen.steps - 1)),
            evidence=[
                Evidence(
                    f"watched training forwards in eval mode, {since}",
                    f"{model.training_forwards_in_eval} of {model.training_forwards_since_eval}",
                    "0",
                ),
                Evidence(f"`{name}.eval()` last called", at(model.eval_call_site), f"followed by {name}.train()"),
            ],
            cause=f"The model holds {parts}; in eval mode " + ", and ".join(effect) + ".",
            fixes=[f"Go back to train mode {where}:\n" + code(f"{name}.train()")],
            unless="statistics and dropout are meant to be frozen while the weights are tuned.",
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for epochs that end in eval mode, and begin in it from the second on."""
        if not file.calls_of(".eval", ".train") or not loops_of(file):
            return
        for index in range(len(file.functions)):
            events = events_of(file, index)
            for loop in {n for e in events if e.kind == "eval" for n in file.numbers_around(e.outer_context)}:
                is_loop = file.contexts[loop].kind in ("for", "while") and file.function_at(loop) == index
                if not is_loop or is_only_round(file, loop):
                    continue
                inside = [event for event in events if is_in_loop(file, event, loop)]
                found = switched_for_good(file, inside, loop)
                if found is None or has_modes(found.thing) is False or is_made_in_eval_mode(found):
                    continue
                if not is_made_anew(file, found, loop):
                    before = [event for event in events if event.kind == "train"]
                    names = {found.name, found.outer_name} - {""}
                    is_ours = (
                        _is_evaluated_behind(file, found, loop)
                        and not may_be_switched(file, names, loop)
                        and not sets_mode_by_hand(file, names)
                    )
                    yield self._read(file, found, before, inside, is_ours, loop)

    def _read(
        self, file: Code, switched: Event, before: list[Event], inside: list[Event], is_ours: bool, loop: int
    ) -> Finding:
        name, each = switched.name or "model", round_of(file, loop, inside)
        times = times_of(file, loop, each, before)
        backward = next(event for event in inside if event.kind == "backward")
        outside = f"1, on {where_event(switched.code, before[0])}" if before else "0"
        is_first = not switched.in_branch and inside.index(switched) < inside.index(backward)
        # The first round trains in one mode and the others in another, and a layer acts differently: nobody means that.
        is_seen = not is_first and any(one.kind == "step" for one in inside) and has_two_modes(switched.code, switched)
        is_seen = is_seen and is_ours  # what is not seen may switch back
        since = f"from the first {each} on" if is_first else f"from the second {each}{times} on"
        meant = "it" if is_first else f"only the first {each}{times}"
        return self.finding(
            fitting(f"`{name}` trains in eval mode {since}", "training goes on in eval mode"),
            severity=Severity.ERROR,
            sureness=Sureness.POSSIBLE if not is_seen else Sureness.LIKELY if not before else Sureness.CERTAIN,
            place=place_in(switched.code, switched.at),
            evidence=[
                Evidence("calls of `train()` in the loop that calls `eval()`", 0, f"1 before each {each} of training"),
                Evidence("calls of `train()` before that loop", outside, "0, or one in the loop as well"),
            ],
            cause=f"The mode stays until it is switched back: {in_eval_mode(switched.thing)}",
            fixes=[f"Switch back before each {each} of training:\n" + code(f"{name}.train()")],
            unless=f"{meant} is meant to train in {'eval' if is_first else 'train'} mode.",
            chain=[
                *way_to(file, switched, "is switched here"),
                *way_to(file, backward, "trains in it" if is_first else f"trains in the next {each}"),
            ],
        )

    bad = Examples(
        lambda: {
            "eval mode after the first validation": _run(
                has_batch_norm=True,
                eval_call_site=Site("train.py", 30, "validate", "net.eval()"),
            ),
            "from the start": _run(
                first_step_in_eval=0,
                training_forwards=9,
                training_forwards_in_eval=9,
                training_forwards_since_eval=9,
            ),
            "nearly all": _run(training_forwards_in_eval=27),
            "as few forwards as can tell": _run(training_forwards_in_eval=8, training_forwards_since_eval=8),
            "as few steps as can tell": _run(steps=28),
            "half of the model trained": _run(optimized_share=0.5),
        }
    )
    good = Examples(
        lambda: {
            "train mode": _run(training_forwards_in_eval=0, training_forwards_since_eval=0, first_step_in_eval=-1),
            "nothing that has a mode": _run(has_dropout=False),
            "adversarial samples made in eval mode": _run(
                training_forwards_in_eval=20, training_forwards_since_eval=40
            ),
            "one mode short of nearly all": _run(training_forwards_in_eval=26),
            "saliency after training": _run(steps=27),
            "a few probes": _run(training_forwards_in_eval=7, training_forwards_since_eval=7),
            "a backbone mostly frozen": _run(optimized_share=0.49),
        }
    )
    bad_code = {
        "train() once, eval() in each epoch": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.drop = nn.Dropout(0.5)
                    self.out = nn.Linear(3, 2)

                def forward(self, x):
                    return self.out(self.drop(x))

            model = Net()
            optimizer = torch.optim.Adam(model.parameters())
            data = torch.load("data")
            model.train()
            for epoch in range(5):
                for x, y in data:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                model.eval()  # bad
                with torch.no_grad():
                    print(model(data[0][0]))
            """,
        "every hundred steps": """
            def fit(model, data, test, optimizer):
                model.train()
                for step, (x, y) in enumerate(data):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                    if step % 100 == 99:
                        model.eval()  # bad
                        with torch.no_grad():
                            print([model(x).argmax(1) for x, _ in test])
            """,
        "phases, one of which switches": """
            def fit(model, loaders, optimizer):
                for epoch in range(5):
                    for phase in ["train", "test"]:
                        if phase == "test":
                            model.eval()  # bad
                        for x, y in loaders[phase]:
                            optimizer.zero_grad()
                            loss = F.cross_entropy(model(x), y)
                            if phase == "train":
                                loss.backward()
                                optimizer.step()
            """,
        "evaluation first": """
            def evaluate(model, data):
                model.eval()  # bad
                with torch.no_grad():
                    return [model(x) for x, _ in data]

            def train(model, data, optimizer):
                for x, y in data:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()

            def fit(model, data):
                optimizer = torch.optim.Adam(model.parameters())
                for epoch in range(5):
                    print(evaluate(model, data))
                    train(model, data, optimizer)
            """,
        "a model that comes back": """
            def evaluate(model, data):
                model.eval()  # bad
                with torch.no_grad():
                    return [model(x) for x, _ in data]

            def train(model, data, optimizer):
                for x, y in data:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                return model

            model = torch.load("model")
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(5):
                model = train(model, torch.load("data"), optimizer)
                evaluate(model, torch.load("test"))
            """,
        "in a function that evaluates": """
            def evaluate(model, data):
                model.eval()  # bad
                with torch.no_grad():
                    return [model(x) for x, _ in data]

            def fit(model, data, optimizer):
                model.train()
                for epoch in range(5):
                    for x, y in data:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
                    evaluate(model, data)
            """,
    }
    good_code = {
        "a last look, every so often, that ends the training": """
            def fit(model, data, optimizer):
                for step, (x, y) in enumerate(data):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                    if step % 100 == 99 and converged(model):
                        model.eval()
                        break
            """,
        "phases with both modes": """
            def fit(model, loaders, optimizer):
                for epoch in range(5):
                    for phase in ["train", "test"]:
                        if phase == "train":
                            model.train()
                        else:
                            model.eval()
                        for x, y in loaders[phase]:
                            optimizer.zero_grad()
                            loss = F.cross_entropy(model(x), y)
                            if phase == "train":
                                loss.backward()
                                optimizer.step()
            """,
        "a new model in each call": """
            def fit(data):
                model = make()
                optimizer = torch.optim.Adam(model.parameters())
                for epoch in range(5):
                    for x, y in data:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
                model.eval()
                return model(data[0][0])

            for fold in torch.load("folds"):
                print(fit(fold))
            """,
        "train() in each epoch": """
            def fit(model, data, optimizer):
                for epoch in range(5):
                    model.train()
                    for x, y in data:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
                    model.eval()
            """,
        "switched back by who evaluates": """
            def evaluate(model, data):
                model.eval()
                found = [model(x) for x, _ in data]
                model.train()
                return found

            def fit(model, data, optimizer):
                model.train()
                for epoch in range(5):
                    for x, y in data:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
                    evaluate(model, data)
            """,
        "an average of the weights, looked at every so often": """
            def fit(model, average, data, optimizer, mix):
                for step, (x, y) in enumerate(data):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                    mix(average, model)
                    if step % 100 == 0:
                        with torch.no_grad():
                            average.eval()
                            print(average(x).argmax(1))
            """,
        "gradients that rank what is pruned, of a network in eval mode since it was made": """
            def accuracy(model, data):
                model.eval()
                with torch.no_grad():
                    return sum((model(x).argmax(1) == y).sum().item() for x, y in data)

            model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.Linear(3, 2)).eval().cuda()
            for part in range(5):
                for x, y in torch.load("data"):
                    F.cross_entropy(model(x), y).backward()
                prune(model, part)
                print(accuracy(model, torch.load("test")))
            """,
        "another model": """
            def fit(student, teacher, data, optimizer):
                student.train()
                for x in data:
                    teacher.eval()
                    optimizer.zero_grad()
                    F.mse_loss(student(x), teacher(x)).backward()
                    optimizer.step()
            """,
        "nothing that has a mode": """
            model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
            optimizer = torch.optim.Adam(model.parameters())
            model.train()
            for x, y in torch.load("data"):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                model.eval()
            """,
        "a new model for each fold": """
            def folds(make, data):
                for fold in data:
                    model = make()
                    optimizer = torch.optim.Adam(model.parameters())
                    for x, y in fold:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
                    model.eval()
                    print(model(fold[0][0]))
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
        layers = []
        for _ in range(8):
            layers += [nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()]
        model = nn.Sequential(*layers, nn.Linear(64, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

        def accuracy(rows):
            model.eval()
            with torch.no_grad():
                return (model(images[rows]).argmax(dim=1) == labels[rows]).float().mean().item()

        print(f"before training: {accuracy(test):.3f}")
        for epoch in range(6):
            # add: model.train()
            for rows in train[torch.randperm(len(train))].split(64):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
                loss.backward()
                optimizer.step()
            print(f"epoch {epoch}: loss {loss.item():.3f}, accuracy {accuracy(test):.3f}")
        """)


def _is_evaluated_behind(file: Code, switched: Event, loop: int) -> bool:
    """Whether anything is called in a round behind the switch to eval mode: else it can only be meant for the next."""
    if switched.via or switched.call is None:
        return True
    return any(call.number > switched.call.number for call in file.calls if loop in file.numbers_around(call.context))
