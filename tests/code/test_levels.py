"""How sure rules are of code: what others were seen to do without a fault is possible at most, or not told."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import code_of
from stethoscope.core.finding import Finding, Severity
from stethoscope.core.review import Level
from stethoscope.core.rule import Rule
from stethoscope.diagnosing.review import review
from stethoscope.facts.old_torch import knows_newer_torch
from stethoscope.rules.activations.double_activation import DoubleActivation
from stethoscope.rules.generalization.monitored_metric_missing import MonitoredMetricMissing
from stethoscope.rules.loop.context_not_entered import ContextNotEntered
from stethoscope.rules.loop.forward_called_directly import ForwardCalledDirectly
from stethoscope.rules.loop.gradients_cleared_before_step import GradientsClearedBeforeStep
from stethoscope.rules.loop.missing_backward import MissingBackward
from stethoscope.rules.loop.missing_optimizer_step import MissingOptimizerStep
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad
from stethoscope.rules.loop.training_in_eval_mode import TrainingInEvalMode
from stethoscope.rules.loop.validation_builds_graph import ValidationBuildsGraph
from stethoscope.rules.loop.validation_in_train_mode import ValidationInTrainMode
from stethoscope.rules.loss.sigmoid_before_bce_with_logits import SigmoidBeforeBceWithLogits
from stethoscope.rules.loss.softmax_before_cross_entropy import SoftmaxBeforeCrossEntropy
from stethoscope.rules.optimization.scheduler_before_optimizer import SchedulerBeforeOptimizer
from stethoscope.rules.parameters.attribute_without_effect import AttributeWithoutEffect
from stethoscope.rules.parameters.shared_submodule_unintended import SharedSubmoduleUnintended


def test_a_method_forward_that_is_called_is_on_trial() -> None:
    text = ForwardCalledDirectly.bad_code["a model"]
    (found,) = _told(ForwardCalledDirectly, text)
    assert found.severity is Severity.WARNING
    assert not Level().shows(found)


def test_the_name_of_an_accuracy_is_sure_where_the_version_of_keras_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MonitoredMetricMissing, "on_trial", False)
    text = """
        import tensorflow as tf
        from tensorflow.keras.callbacks import EarlyStopping

        def train(model, x, y):
            tf.random.set_seed(0)
            model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
            model.fit(x, y, validation_split=0.2, callbacks=[EarlyStopping(monitor="val_acc")])
    """
    (found,) = _told(MonitoredMetricMissing, text)
    assert Level().shows(found)
    for untold in (text.replace("tf.random.set_seed", "print"), text.replace("tf.random.set_seed", "tf.print")):
        (found,) = _told(MonitoredMetricMissing, untold)  # in TensorFlow 1 its Keras reported `acc`, too
        assert not Level().shows(found)
        assert Level(possible=True).shows(found)
    assert not _told(MonitoredMetricMissing, text.replace("fit(x, y,", "fit(x, y, nb_epoch=9,"))
    told = text.replace("tensorflow.keras", "keras").replace('"accuracy"', '"acc"').replace("val_acc", "val_accuracy")
    (found,) = _told(MonitoredMetricMissing, told)
    assert Level().shows(found), "no version reports it so"


@pytest.mark.parametrize(
    "used", ["torch.matmul(weights.view(1, -1, 4), x)", "weights @ x", "(weights.unsqueeze(2) * x).sum(1)"]
)
def test_a_softmax_of_a_softmax_that_weighs_a_sum_is_possible_at_most(
    used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DoubleActivation, "on_trial", False)
    text = f"""
        class Hops(nn.Module):
            def __init__(self):
                super().__init__()
                self.score = nn.Linear(8, 4)
                self.out = nn.Linear(8, 2)

            def forward(self, x):
                weights = F.softmax(F.softmax(self.score(x), dim=1), dim=1)
                x = {used}
                return self.out(x)
    """
    (found,) = _told(DoubleActivation, text)
    assert Level(possible=True).shows(found)
    assert not Level().shows(found)
    text = text.replace(used, "weights.view(-1, 8)")
    (found,) = _told(DoubleActivation, text)
    assert Level().shows(found)
    (found,) = _told(DoubleActivation, text.replace("F.softmax(self.score(x), dim=1)", "torch.sigmoid(self.score(x))"))
    assert not Level().shows(found), "one after another: a range may be meant"


@pytest.mark.parametrize("rule", [SoftmaxBeforeCrossEntropy, SigmoidBeforeBceWithLogits])
def test_a_loss_of_keras_takes_the_scores_behind_an_activation_on_tensorflow(rule: type[Rule]) -> None:
    text = rule.bad_code["Keras, `from_logits=True`"]
    (found,) = _told(rule, text)
    assert Level().shows(found)
    for other in (
        text.replace('"jax"', '"tensorflow"'),
        text.replace("import keras\n", "from tensorflow import keras\n").replace('os.environ["KERAS_BACKEND"]', "name"),
    ):
        (found,) = _told(rule, other)
        assert Level(possible=True).shows(found)
        assert not Level().shows(found)
    set_by_call = 'import keras; keras.config.set_backend("torch")'
    (found,) = _told(rule, text.replace('os.environ["KERAS_BACKEND"] = "jax"', set_by_call))
    assert Level().shows(found)


def test_a_schedule_that_steps_first_is_possible_at_most_and_may_be_of_old_code() -> None:
    text = SchedulerBeforeOptimizer.bad_code["at the top of an epoch"]
    assert _may_be_old(text), "nothing tells that it is newer than torch 1.1"
    text = text.replace("optim.SGD(", "optim.AdamW(")
    assert not _may_be_old(text)
    told = text.replace("scheduler.step()", "scheduler.step(); print(scheduler.get_lr())")
    assert _may_be_old(told)
    assert not _may_be_old(told.replace("scheduler.get_lr", "warmup.get_lr")), "another schedule's"
    for module, is_old in (("tensorboardX", True), ("torch.utils.tensorboard", False)):
        imported = f"import torch; from torch import nn; import torch.nn.functional as F; import {module}; model ="
        assert _may_be_old(text.replace("model =", imported, 1)) is is_old, module


def _may_be_old(text: str) -> bool:
    (found,) = _told(SchedulerBeforeOptimizer, text)
    assert Level(possible=True).shows(found)
    assert not Level().shows(found)
    return bool(found.unless)


@pytest.mark.parametrize(
    ("line", "is_newer"),
    [
        ("torch.load(path, weights_only=True)", True),
        ("restore(weights_only)", False),
        ("torch.inference_mode()", True),
        ("net.set(inference_mode=False)", False),
    ],
)
def test_words_of_newer_torch_count_where_they_are_torchs(line: str, is_newer: bool) -> None:
    assert knows_newer_torch(code_of(f"def main(net, path, weights_only, restore):\n    {line}\n")) is is_newer


def test_a_misspelled_switch_of_a_tensor_that_asks_for_no_gradient_is_possible_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(AttributeWithoutEffect, "on_trial", False)
    text = """
        table = torch.zeros(100, 64)
        table.require_grad = False
    """
    (found,) = _told(AttributeWithoutEffect, text)
    assert not Level().shows(found)
    for other in (
        text.replace("= False", "= True"),
        text.replace("torch.zeros(100, 64)", "nn.Parameter(torch.zeros(100, 64))"),
        text.replace("torch.zeros(100, 64)", "nn.Linear(100, 64).weight"),
    ):
        (found,) = _told(AttributeWithoutEffect, other)
        assert Level().shows(found), other


def test_a_profiler_that_is_not_entered_is_possible_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ContextNotEntered, "on_trial", False)
    (found,) = _told(ContextNotEntered, "torch.autograd.profiler.profile()\n")
    assert not Level().shows(found)
    (found,) = _told(ContextNotEntered, "torch.no_grad()\n")
    assert Level().shows(found)


def test_a_branch_that_nobody_gets_to_is_possible_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ContextNotEntered, "on_trial", False)
    text = """
        def loss_of_kind(kind):
            if kind == "own":
                class Own(nn.Module):
                    def __init__(self, q=1.5):
                        super(Own, self).__init__()
                        self.q = q

                    def forward(self, scores, y):
                        if self.q == 1.0:
                            torch.no_grad()
                        return -(y * scores.sigmoid() ** (1 - self.q)).mean()

                return Own()
            return nn.BCEWithLogitsLoss()
    """
    (found,) = _told(ContextNotEntered, text)
    assert not Level().shows(found)
    for other in (
        text.replace("Own()", "Own(1.0)"),
        text.replace("return Own()", "return Own"),
        text.replace("self.q == 1.0", "self.q != 1.0"),
        text.replace("self.q == 1.0", "self.q"),
        text.replace("return Own()", "own = Own(); own.q = kind; return own"),
    ):
        (found,) = _told(ContextNotEntered, other)
        assert Level().shows(found), other


def test_steps_of_a_decoder_are_not_called_batches() -> None:
    text = """
        def decode(model, start, steps):
            model.eval()
            found = []
            for _ in range(steps):
                scores, start = model(start)
                found.append(scores.argmax(1).item())
            return found
    """
    (found,) = _told(ValidationBuildsGraph, text)
    assert found.title == "`model` is evaluated with a graph in each round"
    (found,) = _told(ValidationBuildsGraph, text.replace("_ in range(steps)", "start in steps"))
    assert found.title == "`model` is evaluated with a graph for each batch"


def test_samples_of_a_generator_are_no_validation() -> None:
    text = """
        class Generator(nn.Module):
            def __init__(self):
                super().__init__()
                self.main = nn.Sequential(nn.Linear(9, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 4), nn.Tanh())

            def forward(self, z):
                return self.main(z)

        generator, judge = Generator(), nn.Sequential(nn.Linear(4, 1), nn.Sigmoid())
        first, second = torch.optim.Adam(generator.parameters()), torch.optim.Adam(judge.parameters())
        fixed = torch.randn(16, 9).to("cpu")
        for epoch in range(50):
            for x in torch.load("data"):
                second.zero_grad()
                made = generator(torch.randn(len(x), 9))
                loss = F.binary_cross_entropy(judge(x), torch.ones(len(x), 1))
                loss = loss + F.binary_cross_entropy(judge(made.detach()), torch.zeros(len(x), 1))
                loss.backward()
                second.step()
                first.zero_grad()
                F.binary_cross_entropy(judge(made), torch.ones(len(x), 1)).backward()
                first.step()
            if epoch % 5 == 4:
                with torch.no_grad():
                    pictures = generator(fixed).cpu().numpy()
                print(pictures[0])
    """
    assert not _told(ValidationInTrainMode, text)
    assert _told(ValidationInTrainMode, text.replace("torch.randn(16, 9)", 'torch.load("test")'))


def test_a_model_that_clears_as_it_is_called_is_found_among_several_imports_by_star() -> None:
    text = """
        # file: parts.py
        def tell(x):
            print(x)
        # file: network.py
        import torch
        from torch import nn

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.last = nn.Linear(3, 1)

            def forward(self, x, y):
                self.zero_grad()
                return (self.last(x) - y).square().mean()
        # file: train.py
        import torch
        from network import *
        from parts import *

        model = Net()
        optimizer = torch.optim.Adam(model.parameters())
        for x, y in torch.load("data"):
            loss = model(x, y)
            loss.backward()
            optimizer.step()
            tell(loss.item())
    """
    assert not _told(MissingZeroGrad, text)
    assert _told(MissingZeroGrad, text.replace("self.zero_grad()", "pass"))


def _told(rule: type[Rule], text: str) -> tuple[Finding, ...]:
    return review(code_of(text), rules=[rule]).findings


def test_a_loader_that_stands_in_a_list_has_many_rounds() -> None:
    text = """
        def accuracy(model, loader, other):
            loaders = [loader, other]
            model.eval()
            right = 0
            for x, y in loaders[1]:
                right += (model(x).argmax(1) == y).sum().item()
            return right

        def train(model, loader, optimizer):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
    """
    (found,) = _told(ValidationBuildsGraph, text)
    assert Level().shows(found)


MADE = "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)"
LOOPS: dict[str, tuple[type[Rule], str]] = {
    "never cleared": (
        MissingZeroGrad,
        """
        def fit(model, loader):
            MADE
            for x, y in loader:
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        """,
    ),
    "cleared too early": (
        GradientsClearedBeforeStep,
        """
        def fit(model, loader):
            MADE
            for x, y in loader:
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.zero_grad()
                optimizer.step()
        """,
    ),
    "nothing goes backward": (
        MissingBackward,
        """
        def fit(model, loader):
            MADE
            for x, y in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                optimizer.step()
        """,
    ),
    "nothing goes backward, cleared right before": (
        MissingBackward,
        """
        def fit(model, loader):
            MADE
            for x, y in loader:
                loss = F.cross_entropy(model(x), y)
                optimizer.zero_grad()
                optimizer.step()
        """,
    ),
    "no step": (
        MissingOptimizerStep,
        """
        def fit(model, loader):
            MADE
            for x, y in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
        """,
    ),
}


HANDED = {
    name: text.replace("MADE", "pass").replace("loader):", "loader, optimizer):") for name, (_, text) in LOOPS.items()
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_is_shown_where_its_optimizer_is_made_in_the_file_or_handed_over_to_it(name: str) -> None:
    rule, text = LOOPS[name]
    for shown in (
        text.replace("MADE", MADE),
        HANDED[name],
        HANDED[name].replace("loader, optimizer)", "loader, optimizer: torch.optim.Optimizer)"),
        text.replace("loader)", "loader, settings)", 1).replace(
            "MADE", "optimizer = settings.optimizer(model.parameters(), lr=0.1)"
        ),
        HANDED[name].replace("x, y in loader", "_ in range(9)").replace("loss = ", "x, y = next(loader); loss = "),
        _in_class(HANDED[name]),
    ):
        (found,) = _told(rule, shown)
        assert Level().shows(found), shown


WRAPPED = {
    "horovod": "import horovod.torch as hvd\n@optimizer = hvd.DistributedOptimizer(optimizer)",
    "apex": "from apex import amp\n@model, optimizer = amp.initialize(model, optimizer)",
}
IMPORTS = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("library", WRAPPED)
def test_a_loop_is_shown_where_its_optimizer_is_wrapped_for_several_devices(name: str, library: str) -> None:
    rule, text = LOOPS[name]
    imported, _, wrapped = WRAPPED[library].partition("@")
    (found,) = _told(rule, IMPORTS + imported + textwrap.dedent(text.replace("MADE", f"{MADE}; {wrapped}")))
    assert Level().shows(found)


@pytest.mark.parametrize("name", ["never cleared", "cleared too early", "no step"])
def test_a_loss_that_apex_scales_changes_nothing_about_its_loop(name: str) -> None:
    rule, text = LOOPS[name]
    scaled = "with amp.scale_loss(loss, optimizer) as scaled: scaled.backward()"
    program = text.replace("MADE", f"{MADE}; model, optimizer = amp.initialize(model, optimizer)")
    (found,) = _told(
        rule, f"from apex import amp\n{IMPORTS}{textwrap.dedent(program.replace('loss.backward()', scaled))}"
    )
    assert Level().shows(found)


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize(("base", "is_shown"), [("", True), ("(abc.ABC)", True), ("(library.Trainer)", False)])
def test_an_optimizer_that_a_base_of_the_project_was_handed_is_known(name: str, base: str, is_shown: bool) -> None:
    rule, _ = LOOPS[name]
    made, _, fit = textwrap.dedent(_in_class(HANDED[name])).partition("    def fit")
    text = made.replace("class Trainer:", f"class Base{base}:") + "class Trainer(Base):\n    def fit" + fit
    (found,) = _told(rule, f"import abc\nimport library\n{IMPORTS}{text}")
    assert Level().shows(found) is is_shown


def test_gradients_that_another_training_clears_are_none_of_a_loop() -> None:
    text = LOOPS["never cleared"][1].replace("MADE", MADE).rstrip()
    other = """
            for x, y in loader:
                optimizer.zero_grad()
                model(x).sum().backward()
    """
    (found,) = _told(MissingZeroGrad, text + other)
    assert Level().shows(found)
    (found,) = _told(
        MissingZeroGrad, text.replace("            for x", "            optimizer.zero_grad()\n            for x")
    )
    assert not Level().shows(found)


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_is_possible_at_most_where_what_is_handed_over_may_be_no_optimizer_of_torch(name: str) -> None:
    rule, text = LOOPS[name]
    wrapper = """
        class Scheduled:
            def step(self):
                self.inner.step()
                self.inner.zero_grad()
        """
    for unsure in (
        "import deepspeed\nimport torch\nfrom torch import nn\nimport torch.nn.functional as F\n"
        + textwrap.dedent(HANDED[name]),
        wrapper + HANDED[name],
        text.replace("loader)", "loader, settings)", 1).replace("MADE", "optimizer = settings.make()"),
        _in_class(HANDED[name]).replace("class Trainer:", "class Trainer(Base):"),
    ):
        (found,) = _told(rule, unsure)
        assert not Level().shows(found), unsure
        assert Level(possible=True).shows(found)


@pytest.mark.parametrize("name", [name for name in LOOPS if name != "cleared too early"])
def test_a_loop_that_times_its_steps_or_calls_hooks_is_possible_at_most(name: str) -> None:
    rule, _ = LOOPS[name]
    for unsure in (
        HANDED[name].replace("x, y in loader", "_ in range(50)").replace("loader, optimizer", "x, y, optimizer"),
        HANDED[name].rstrip() + "\n                settings.callbacks.after_batch()\n",
        HANDED[name].rstrip() + "\n                settings.show(model[0].weight.grad)\n",
    ):
        assert not any(map(Level().shows, _told(rule, unsure))), unsure


def test_steps_without_clearing_are_possible_at_most_where_a_function_only_clears() -> None:
    text = HANDED["never cleared"]
    (found,) = _told(
        MissingZeroGrad, text.rstrip() + "\n\n        def before(optimizer):\n            optimizer.zero_grad()\n"
    )
    assert not Level().shows(found)


def test_a_step_without_a_backward_pass_is_shown_where_the_loss_is_surely_one() -> None:
    text = HANDED["nothing goes backward"]
    own = """
        class FocalLoss(nn.Module):
            def forward(self, scores, y):
                return ((1 - scores.softmax(1)) ** 2).mean()

        focal_loss = FocalLoss()

        def margin_loss(scores, y):
            return (scores - y).clamp(0).mean()
        """
    chosen = "\n            if loss_fn is None:\n                loss_fn = F.mse_loss\n            for"
    for loss, around, is_shown in (
        ("criterion", text, True),
        ("loss_fn", text, True),
        (
            "loss_fn",
            text.replace("optimizer):", "optimizer, loss_fn=None):").replace("\n            for", chosen),
            True,
        ),
        ("focal_loss", own + text, True),
        ("margin_loss", own + text, True),
        ("measure", text, False),
        ("settings.measure", text, False),
    ):
        changed = around.replace("F.cross_entropy(", f"{loss}(")
        is_argument = around is text and loss.isidentifier()
        found = _told(MissingBackward, changed.replace("loader,", f"loader, {loss},") if is_argument else changed)
        assert any(map(Level().shows, found)) is is_shown, loss


@pytest.mark.parametrize(
    ("many", "fewer"), [("depth", "(depth - 1)"), ("depth", "(int(depth) - 2)"), ("3", "(depth - 1)")]
)
def test_a_layer_that_may_stand_in_its_list_once_is_possible_at_most(
    many: str, fewer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SharedSubmoduleUnintended, "on_trial", False)
    text = """
        class Net(nn.Module):
            def __init__(self, depth, d):
                super().__init__()
                self.layers = nn.Sequential(nn.Linear(8, 3), *([nn.Linear(3, 3)] * MANY), nn.Linear(3, 1))
                self.others = Other([nn.Linear(3, 3)] * MANY)

        class Other(nn.Module):
            def __init__(self, parts):
                super().__init__()
                self.parts = nn.ModuleList(parts)
    """
    found = _told(SharedSubmoduleUnintended, text.replace("MANY", many))
    assert found
    assert all(map(Level().shows, found))
    found = _told(SharedSubmoduleUnintended, text.replace("MANY", fewer))
    assert found
    assert not any(map(Level().shows, found))


def test_eval_mode_in_training_is_shown_where_a_function_makes_the_layers() -> None:
    text = """
        def make_layers(widths, normed):
            layers = []
            for before, after in widths:
                if before == after:
                    layers.append(nn.ReLU())
                else:
                    layers += [nn.Linear(before, after), nn.BatchNorm1d(after)]
            return nn.Sequential(*layers)

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = make_layers([(3, 9), (9, 9), (9, 2)], True)

            def forward(self, x):
                return self.layers(x)

        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loader, test = torch.load("data")
        for epoch in range(9):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                print(sum(F.cross_entropy(model(x), y).item() for x, y in test))
    """
    (found,) = _told(TrainingInEvalMode, text)
    assert Level().shows(found)
    asked = text.replace("else:", "elif normed:")
    (found,) = _told(TrainingInEvalMode, asked)
    assert not Level().shows(found), "whoever calls it may want none"


@pytest.mark.parametrize(
    "made", ["kind.from_pretrained(name)", "kinds[name][1].from_pretrained(name)", "BertModel.from_pretrained(name)"]
)
def test_a_validation_in_train_mode_is_shown_of_a_pretrained_model_of_transformers(made: str) -> None:
    text = f"""
        import torch
        import torch.nn.functional as F
        from transformers import BertModel

        class Trainer:
            def __init__(self, kind, kinds, name):
                self.model = {made}
                self.optimizer = torch.optim.AdamW(self.model.parameters())

            def train(self, loader):
                self.model.train()
                for x, y in loader:
                    self.optimizer.zero_grad()
                    F.cross_entropy(self.model(x)[0], y).backward()
                    self.optimizer.step()

            def evaluate(self, loader):
                right = 0
                for x, y in loader:
                    with torch.no_grad():
                        right += (self.model(x)[0].argmax(1) == y).sum().item()
                return right
    """
    (found,) = _told(ValidationInTrainMode, text)
    assert Level().shows(found)
    (found,) = _told(ValidationInTrainMode, text.replace("from_pretrained", "made"))
    assert not Level().shows(found)


def test_a_step_beside_a_loss_without_gradients_is_possible_at_most() -> None:
    text = """
        def search(optimizer, loader, model):
            for x, y in loader:
                with torch.no_grad():
                    loss = F.mse_loss(model(x), y)
                optimizer.tell(loss.item())
                optimizer.step()
    """
    assert not any(map(Level().shows, _told(MissingBackward, text)))


def _in_class(text: str) -> str:
    """The loop of a function as a method of an object that was handed model and optimizer."""
    body = text.replace("def fit(model, loader, optimizer)", "def fit(self, loader)").replace("model(", "self.model(")
    made = "def __init__(self, model, optimizer):\n    self.model, self.optimizer = model, optimizer\n"
    inside = made + textwrap.dedent(body).replace("optimizer.", "self.optimizer.")
    return "class Trainer:\n" + textwrap.indent(inside, "    ")


def test_a_step_behind_a_clearing_is_possible_at_most_where_no_loss_is_computed() -> None:
    rule, text = LOOPS["nothing goes backward, cleared right before"]
    text = text.replace("MADE", MADE).replace("loss = F.cross_entropy(model(x), y)", "answer = model(x)")
    (found,) = _told(rule, text)
    assert not Level().shows(found)


def test_eval_mode_in_training_is_shown_where_the_first_round_trains_in_another_and_it_matters() -> None:
    text = """
        model = nn.Sequential(nn.Linear(3, 9), nn.Dropout(0.5), nn.Linear(9, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loader, test = torch.load("data")
        for epoch in range(9):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                print(sum(F.cross_entropy(model(x), y).item() for x, y in test))
    """
    (found,) = _told(TrainingInEvalMode, text)
    assert Level().shows(found)
    unseen = text.replace("nn.Sequential(nn.Linear(3, 9), nn.Dropout(0.5), nn.Linear(9, 2))", 'torch.load("model")')
    for other in (unseen, text.replace("optimizer.step()", "print(model[0].weight.grad)")):
        (found,) = _told(TrainingInEvalMode, other)
        assert not Level().shows(found), other
        assert Level(possible=True).shows(found)


TIMED = """
model = nn.Linear(3, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in DataLoader(torch.load("data")):
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
"""


@pytest.mark.parametrize(
    ("file", "is_shown"),
    [
        ("tools/training-benchmark.py", False),
        ("bench_step.py", False),
        ("scripts/profile.py", False),
        ("benchmarks/step.py", False),
        ("profiles.py", True),
        ("train.py", True),
    ],
)
def test_what_only_takes_the_time_of_steps_is_possible_at_most(file: str, is_shown: bool) -> None:
    text = TIMED
    found = review(code_of(text, file), rules=[MissingZeroGrad]).findings
    assert [Level().shows(one) for one in found] == ([True] if is_shown else [False])
