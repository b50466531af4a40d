"""Healthy code of shapes that rules took for faults: they are silent there, and speak as soon as it is a fault."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.core.rule import Rule
from stethoscope.rules.activations.double_activation import DoubleActivation
from stethoscope.rules.data.distributed_sampler_epoch import DistributedSamplerEpoch
from stethoscope.rules.generalization.monitored_metric_missing import MonitoredMetricMissing
from stethoscope.rules.loop.call_forgotten import CallForgotten
from stethoscope.rules.loop.gradients_cleared_before_step import GradientsClearedBeforeStep
from stethoscope.rules.loop.graph_kept_alive import GraphKeptAlive
from stethoscope.rules.loop.missing_backward import MissingBackward
from stethoscope.rules.loop.missing_optimizer_step import MissingOptimizerStep
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad
from stethoscope.rules.loop.result_dropped import ResultDropped
from stethoscope.rules.loop.training_in_eval_mode import TrainingInEvalMode
from stethoscope.rules.loop.validation_builds_graph import ValidationBuildsGraph
from stethoscope.rules.loop.validation_in_train_mode import ValidationInTrainMode
from stethoscope.rules.parameters.attribute_without_effect import AttributeWithoutEffect
from stethoscope.rules.parameters.dropout_always_on import DropoutAlwaysOn
from stethoscope.rules.parameters.shared_submodule_unintended import SharedSubmoduleUnintended
from stethoscope.rules.parameters.super_init_missing import SuperInitMissing
from stethoscope.rules.parameters.unregistered_modules import UnregisteredModules

SHAPES: dict[str, tuple[type[Rule], str, str, str]] = {
    "the constructor of `Module` in the line of the first layer": (
        SuperInitMissing,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__(); self.first = nn.Linear(3, 2)

            def forward(self, x):
                return self.first(x)
        """,
        "super().__init__(); ",
        "",
    ),
    "an object of the project that is no model": (
        AttributeWithoutEffect,
        """
        class Options(object):
            pass

        def main():
            options = Options()
            options.require_grad = False
        """,
        "(object):\n    pass",
        "(nn.Module):\n    pass",
    ),
    "an option that its writer reads": (
        AttributeWithoutEffect,
        """
        def slow(model):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            optimizer.lr = 0.01
            for group in optimizer.param_groups:
                group["lr"] = optimizer.lr
        """,
        '"lr"] = optimizer.lr',
        '"momentum"] = 0',
    ),
    "no gradients in the whole script": (
        ValidationBuildsGraph,
        """
        torch.set_grad_enabled(False)

        def features(model, loader):
            model.eval()
            found = []
            for x in loader:
                found.append(model(x).detach().cpu().numpy())
            return found
        """,
        "torch.set_grad_enabled(False)",
        "torch.manual_seed(0)",
    ),
    "frozen by a helper just before": (
        ValidationBuildsGraph,
        """
        def freeze(network):
            for parameter in network.parameters():
                parameter.requires_grad = False

        def features(model, loader):
            freeze(model)
            model.eval()
            found = []
            for x in loader:
                found.append(model(x).detach().cpu().numpy())
            return found
        """,
        "freeze(model)",
        "print(model)",
    ),
    "a network that runs without graphs": (
        ValidationBuildsGraph,
        """
        class Features(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Linear(3, 3)

            def forward(self, x):
                with torch.no_grad():
                    return self.body(x)

        def features(loader):
            model = Features()
            model.eval()
            found = []
            for x in loader:
                found.append(model(x).detach().cpu().numpy())
            return found

        print(features(torch.load("data")))
        """,
        "with torch.no_grad():",
        "if True:",
    ),
    "a network that switches its named parameters off": (
        ValidationBuildsGraph,
        """
        class Features(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Linear(3, 3)
                for name, parameter in self.named_parameters():
                    parameter.requires_grad = False

            def forward(self, x):
                return self.body(x)

        def features(loader):
            model = Features()
            model.eval()
            found = []
            for x in loader:
                found.append(model(x).detach().cpu().numpy())
            return found
        """,
        "parameter.requires_grad = False",
        "parameter.fill_(1)",
    ),
    "a network that is frozen and put into eval mode by what makes it": (
        ValidationBuildsGraph,
        """
        def freeze(network):
            for parameter in network.parameters():
                parameter.requires_grad_(False)

        def made():
            network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
            freeze(network)
            return network.eval()

        def features(loader):
            model = made()
            model.eval()
            found = []
            for x in loader:
                found.append(model(x).detach().cpu().numpy())
            return found
        """,
        "    freeze(network)\n",
        "    print(network)\n",
    ),
    "a network whose file gives its name to an object, to try it out": (
        ResultDropped,
        """
        # file: net.py
        import torch
        from torch import nn

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.out = nn.Linear(3, 2)

            def forward(self, x):
                return self.out(x)

        if __name__ == "__main__":
            Net = Net()
            print(Net(torch.ones(1, 3)))
        # file: infer.py
        from net import Net

        model = Net()
        model.to("cuda")
        """,
        'if __name__ == "__main__":',
        "with torch.enable_grad():",
    ),
    "gradients that rank what is cut off": (
        DistributedSamplerEpoch,
        """
        import torch
        import torch.nn.functional as F
        from torch.utils.data import DataLoader
        from torch.utils.data.distributed import DistributedSampler

        def rank(model, loader):
            for x, y in loader:
                F.cross_entropy(model(x), y).backward()
                print(model.mask.grad)

        def main(model, data, rounds):
            loader = DataLoader(data, sampler=DistributedSampler(data))
            for number in range(rounds):
                rank(model, loader)
        """,
        "print(model.mask.grad)",
        "model.optimizer.step()",
    ),
    "two softmaxes in a row, of which only the largest share is taken": (
        DoubleActivation,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(8, 4)

            def forward(self, x):
                return F.softmax(self.fc(x), dim=1)

        def answers(net: Net, x, y):
            shown = torch.argmax(torch.sigmoid(torch.sigmoid(x)), dim=1)
            return shown, torch.softmax(net(x), dim=1).argmax(dim=1) == y
        """,
        "dim=1).argmax(dim=1) == y",
        "dim=1)",
    ),
    "two softmaxes in a row, and the place of the largest": (
        DoubleActivation,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(8, 4)

            def forward(self, x):
                return F.softmax(self.fc(x), dim=1)

        def answers(net: Net, x, y):
            first = torch.max(torch.softmax(net(x), dim=1), 1)[1]
            second = torch.softmax(net(x), dim=1).max(1).indices
            return first, second, torch.softmax(net(x), dim=1).topk(3)[1] == y
        """,
        "dim=1).topk(3)[1] == y",
        "dim=1).topk(3)[0]",
    ),
    "two softmaxes in a row, of which the answer is unpacked": (
        DoubleActivation,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(8, 4)

            def forward(self, x):
                return F.softmax(self.fc(x), dim=1)

        def answers(net: Net, x, y):
            shares = F.softmax(net(x), dim=1)
            _, answer = torch.max(shares, dim=1)
            best, five = F.softmax(net(x), dim=1).topk(5)
            return answer, five, shares.argmax(1) == y
        """,
        "return answer, five, shares.argmax(1) == y",
        "return answer, best, shares.argmax(1) == y",
    ),
    "shares that are kept, of which only the largest is taken": (
        DoubleActivation,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(8, 4)

            def forward(self, x):
                return F.softmax(self.fc(x), dim=1)

        def answers(net: Net, x, y):
            shares = F.softmax(net(x), dim=1)
            _, answer = torch.max(shares, dim=1)
            return answer, shares.argmax(1) == y
        """,
        "return answer, shares",
        "return shares, shares",
    ),
    "two optimizers, each of whose models is cleared": (
        MissingZeroGrad,
        """
        def make():
            return nn.Linear(3, 3)

        made, judge = make(), nn.Linear(3, 1)
        first = torch.optim.Adam(made.parameters())
        second = torch.optim.Adam(list(judge.parameters()))
        for x, y in DataLoader(torch.load("data")):
            judge.zero_grad()
            F.binary_cross_entropy_with_logits(judge(made(x).detach()), y).backward()
            second.step()
            first.zero_grad()
            judge(made(x)).mean().backward()
            first.step()
        """,
        "first.zero_grad()",
        "pass",
    ),
    "two optimizers, whose models are cleared together": (
        MissingZeroGrad,
        """
        class Both(nn.Module):
            def __init__(self, one, other):
                super().__init__()
                self.one, self.other = one, other

        one, other = nn.Linear(3, 3), nn.Linear(3, 1)
        both = Both(one, other)
        first = torch.optim.Adam(one.parameters())
        second = torch.optim.Adam(other.parameters())
        for x, y in DataLoader(torch.load("data")):
            both.zero_grad()
            both.other(both.one(x)).mean().backward()
            first.step()
            second.step()
        """,
        "both.zero_grad()",
        "one.zero_grad()",
    ),
    "two optimizers, all of whose models a third one clears": (
        MissingZeroGrad,
        """
        one, other, third = nn.Linear(3, 3), nn.Linear(3, 1), nn.Linear(3, 1)
        first = torch.optim.Adam(one.parameters())
        second = torch.optim.Adam(other.parameters())
        every = torch.optim.SGD(list(one.parameters()) + list(other.parameters()), lr=0.1)
        for x, y in DataLoader(torch.load("data")):
            every.zero_grad()
            third.zero_grad()
            other(one(x)).mean().backward()
            first.step()
            second.step()
        """,
        "every.zero_grad()",
        "pass",
    ),
    "an optimizer that is cleared around the loop, and one in it": (
        MissingZeroGrad,
        """
        one, other = nn.Linear(3, 3), nn.Linear(3, 1)
        first = torch.optim.Adam(one.parameters())
        second = torch.optim.Adam(other.parameters())
        for epoch in range(3):
            second.zero_grad()
            for x, y in DataLoader(torch.load("data")):
                first.zero_grad()
                other(one(x)).mean().backward()
                first.step()
                second.step()
        """,
        "second.zero_grad()",
        "pass",
    ),
    "layers in a list that a function finds, and does not make": (
        UnregisteredModules,
        """
        @functools.cache
        def shared(width):
            return nn.Linear(width, width)

        def fresh(width):
            return nn.Sequential(nn.Linear(width, width), nn.ReLU())

        class Net(nn.Module):
            def __init__(self, widths):
                super().__init__()
                self.every = nn.ModuleList([fresh(width) for width in widths])
                self.some = [self.one(number) for number in range(2)]
                self.others = [shared(width) for width in widths]
                self.rest = nn.ModuleList()
                for width in widths:
                    self.rest.append(fresh(width))

            def one(self, number):
                return self.every[number]

            def forward(self, x):
                for one, other, last in zip(self.some, self.others, self.rest):
                    x = last(one(other(x)))
                return x
        """,
        "self.rest = nn.ModuleList()",
        "self.rest = []",
    ),
    "a parameter that is moved, and whose gradient the class uses": (
        UnregisteredModules,
        """
        class Net(nn.Module):
            def __init__(self, device):
                super().__init__()
                self.scale = nn.Parameter(torch.tensor([10.0])).to(device)

            def slow(self):
                self.scale.grad *= 0.01

            def forward(self, x):
                return x * self.scale
        """,
        "self.scale.grad *= 0.01",
        "pass",
    ),
    "a table that the layers are chosen from": (
        UnregisteredModules,
        """
        class Net(nn.Module):
            def __init__(self, kind):
                super().__init__()
                self.kinds = {"relu": nn.ReLU(), "prelu": nn.PReLU()}
                layers = [nn.Linear(3, 3)]
                layers.append(self.kinds[kind])
                self.layers = nn.Sequential(*layers)

            def forward(self, x):
                return self.layers(x)
        """,
        "self.layers(x)",
        'self.kinds["prelu"](x)',
    ),
    "a game that the answers play": (
        ValidationBuildsGraph,
        """
        def play(model, game):
            model.eval()
            state, moves = game.start(), []
            while not game.over:
                move = model(torch.tensor(state)).argmax().item()
                moves.append(move)
                state = game.after(move)
            return moves
        """,
        "while not game.over:",
        "for state in game.test_data:",
    ),
    "gradients that were kept, and are put back": (
        GradientsClearedBeforeStep,
        """
        def train(model, loader, optimizer):
            for x, y in loader:
                F.cross_entropy(model(x), y).backward()
                kept = [one.grad.clone() for one in model.parameters()]
                optimizer.zero_grad()
                for one, gradient in zip(model.parameters(), kept):
                    one.grad = gradient
                optimizer.step()
        """,
        "one.grad = gradient",
        "print(gradient)",
    ),
    "a property": (
        CallForgotten,
        """
        class Counter:
            @property
            def step(self):
                return 1

        def main(counter):
            counter.step
        """,
        "def step(",
        "def steps(",
    ),
    "a mode that is put back": (
        TrainingInEvalMode,
        """
        from contextlib import contextmanager

        @contextmanager
        def evaluating(net):
            was = net.training
            net.eval()
            yield
            net.train(was)

        def fit(model, loader, test, optimizer):
            model.train()
            for epoch in range(3):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                with evaluating(model), torch.no_grad():
                    print(sum(F.cross_entropy(model(x), y).item() for x, y in test))
        """,
        "net.train(was)",
        "print(was)",
    ),
    "modes that a helper sets": (
        TrainingInEvalMode,
        """
        def set_modes(nets, training):
            for net in nets:
                net.train(training)

        def fit(model, loader, test, optimizer):
            for epoch in range(3):
                set_modes([model], True)
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                model.eval()
                with torch.no_grad():
                    print(sum(F.cross_entropy(model(x), y).item() for x, y in test))
        """,
        "net.train(training)",
        "print(training)",
    ),
    "the accuracy of the batch of each step": (
        ValidationInTrainMode,
        """
        def fit(loader, others):
            model = nn.Sequential(nn.Linear(3, 9), nn.Dropout(0.5), nn.Linear(9, 2))
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                with torch.no_grad():
                    print((model(x).argmax(1) == y).float().mean().item())
        """,
        "model(x).argmax(1)",
        "model(others).argmax(1)",
    ),
    "dropout that is off unless someone asks": (
        ValidationInTrainMode,
        """
        class Net(nn.Module):
            def __init__(self, share=0.0):
                super().__init__()
                self.first = nn.Linear(3, 3)
                self.drop = nn.Dropout(share)

            def forward(self, x):
                return self.drop(self.first(x))

        def fit(loader, test):
            model = Net()
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(3):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.mse_loss(model(x), y).backward()
                    optimizer.step()
                with torch.no_grad():
                    for x, y in test:
                        print(F.mse_loss(model(x), y).item())
        """,
        "model = Net()",
        "model = Net(0.5)",
    ),
    "dropout that is made and never run": (
        ValidationInTrainMode,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.first = nn.Linear(3, 3)
                self.drop = nn.Dropout()  # to be put in where it helps

            def forward(self, x):
                return self.first(x)

        def fit(loader, test):
            model = Net()
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in loader:
                optimizer.zero_grad()
                F.mse_loss(model(x), y).backward()
                optimizer.step()
            with torch.no_grad():
                for x, y in test:
                    print(F.mse_loss(model(x), y).item())
        """,
        "return self.first(x)",
        "return self.first(self.drop(x))",
    ),
    "a mode that somebody thought of": (
        ValidationInTrainMode,
        """
        def fit(loader, test):
            model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in loader:
                optimizer.zero_grad()
                F.mse_loss(model(x), y).backward()
                optimizer.step()
            # model.eval()
            with torch.no_grad():
                for x, y in test:
                    print(F.mse_loss(model(x), y).item())
        """,
        "# model.eval()",
        "print(model)",
    ),
    "train mode where it is evaluated, by a call": (
        ValidationInTrainMode,
        """
        class Trainer:
            def __init__(self):
                self.model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
                self.optimizer = torch.optim.Adam(self.model.parameters())

            def train(self, loader):
                self.model.train()
                for x, y in loader:
                    self.optimizer.zero_grad()
                    F.mse_loss(self.model(x), y).backward()
                    self.optimizer.step()

            def test(self, loader):
                self.model.train()
                with torch.no_grad():
                    for x, y in loader:
                        print(F.mse_loss(self.model(x), y).item())
        """,
        "def test(self, loader):\n        self.model.train()",
        "def test(self, loader):\n        print(self.model)",
    ),
    "a model of which nothing is known": (
        ValidationInTrainMode,
        """
        def train(model, loader, optimizer):
            model.train()
            for x, y in loader:
                optimizer.zero_grad()
                F.mse_loss(model(x), y).backward()
                optimizer.step()

        def test(model, loader):
            with torch.no_grad():
                for x, y in loader:
                    print(F.mse_loss(model(x), y).item())

        def main(make, loader):
            model = make(nn.Linear(3, 3))
            train(model, loader, torch.optim.Adam(model.parameters()))
            test(model, loader)
        """,
        "make(nn.Linear(3, 3))",
        "nn.Sequential(nn.Linear(3, 3), nn.Dropout())",
    ),
    "one round": (
        GraphKeptAlive,
        """
        model = nn.Linear(3, 2)
        optimizer = torch.optim.Adam(model.parameters())
        for epoch in range(9):
            total = 0.0
            for x, y in torch.load("data"):
                optimizer.zero_grad()
                loss = F.mse_loss(model(x), y)
                break
                total += loss
                loss.backward()
                optimizer.step()
            print(total)
        """,
        "        break\n",
        "        print(loss)\n",
    ),
    "a few pictures": (
        ValidationBuildsGraph,
        """
        def shown(model, batches):
            model.eval()
            found = []
            for x in (batches[0], batches[9]):
                found.append(model(x).argmax().item())
            return found
        """,
        "(batches[0], batches[9])",
        "batches",
    ),
    "one picture of many": (
        ValidationBuildsGraph,
        """
        def shown(model, loader, wanted):
            model.eval()
            for i, (x, y) in enumerate(loader):
                if i == wanted:
                    print(model(x).argmax(1).cpu().numpy())
                    break
        """,
        "            break\n",
        "",
    ),
    "statistics that are settled": (
        ValidationInTrainMode,
        """
        def fit(loader):
            model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in loader:
                optimizer.zero_grad()
                F.mse_loss(model(x), y).backward()
                optimizer.step()
            return model

        def main(loader):
            model = fit(loader)
            with torch.no_grad():
                for x, y in loader:
                    model(x)
        """,
        "            model(x)\n",
        "            print(model(x).argmax(1))\n",
    ),
    "the same asked again and again": (
        ValidationInTrainMode,
        """
        def fit(loader):
            model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in loader:
                optimizer.zero_grad()
                F.mse_loss(model(x), y).backward()
                optimizer.step()
            return model

        def main(loader, pool):
            model = fit(loader)
            with torch.no_grad():
                for x in pool:
                    found = []
                    for i in range(30):
                        found.append(model(x).detach().cpu().numpy())
                    print(np.var(found))
        """,
        "for i in range(30)",
        "for x in x",
    ),
    "labels that are guessed before each round": (
        ValidationInTrainMode,
        """
        def fit(loader, unknown):
            model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(9):
                guesses = []
                with torch.no_grad():
                    for x in unknown:
                        guesses.append(model(x).argmax(1))
                for x, y in zip(unknown, guesses):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
        """,
        "    for epoch in range(9):\n",
        "    for x, y in loader:\n        F.mse_loss(model(x), y).backward()\n        optimizer.step()\n    if True:\n",
    ),
    "a callback that may report by itself": (
        MonitoredMetricMissing,
        """
        from tensorflow.keras.callbacks import Callback, EarlyStopping

        class Scores(Callback):
            def on_epoch_end(self, epoch, logs=None):
                logs["val_loss"] = 1 / (1 + epoch)

        def fit(model, x, y):
            model.fit(x, y, callbacks=[Scores(), EarlyStopping(patience=2)])
        """,
        "[Scores(), ",
        "[",
    ),
    "a loss that goes backward by itself": (
        MissingBackward,
        """
        class Loss(nn.Module):
            def forward(self, scores, y):
                loss = F.cross_entropy(scores, y)
                loss.backward()
                return loss.item()

        def train(model, loader):
            loss_of = Loss()
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in loader:
                optimizer.zero_grad()
                loss = loss_of(model(x), y)
                optimizer.step()
        """,
        "loss.backward()",
        "print(loss)",
    ),
    "a pipeline over several devices, whose schedule goes backward": (
        MissingBackward,
        """
        import torch
        import torch.nn.functional as F
        from torch.distributed.pipelining import PipelineStage, ScheduleGPipe

        def train(stage, model, loader, is_first):
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in loader:
                optimizer.zero_grad()
                sched = ScheduleGPipe(stage, 4, loss_fn=F.cross_entropy)
                if is_first:
                    sched.step(x)
                else:
                    print(F.cross_entropy(sched.step(target=y), y).item())
                optimizer.step()
        """,
        "from torch.distributed.pipelining import PipelineStage, ScheduleGPipe",
        "from torch.optim.lr_scheduler import StepLR as ScheduleGPipe",
    ),
    "another library, which writes gradients anew": (
        MissingZeroGrad,
        """
        from mxnet import autograd, gluon

        def train(model, loader, optimizer, fabric=None):
            for x, y in loader:
                with autograd.record():
                    loss = model(x, y)
                loss.backward()
                optimizer.step()
        """,
        "from mxnet import autograd, gluon",
        "from torch import autograd",
    ),
    "a hook at each step": (
        MissingZeroGrad,
        """
        def train(model, loader):
            optimizer = torch.optim.Adam(model.parameters())
            optimizer.register_step_post_hook(lambda one, given, named: one.zero_grad())
            for x, y in loader:
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        "optimizer.register_step_post_hook(lambda one, given, named: one.zero_grad())",
        "print(optimizer)",
    ),
    "a callback that is called by its name": (
        MissingZeroGrad,
        """
        class Clears:
            def before_batch(self, trainer):
                trainer.optimizer.zero_grad()

        class Trainer:
            def __init__(self, model, callbacks):
                self.model, self.callbacks = model, callbacks
                self.optimizer = torch.optim.Adam(model.parameters())

            def say(self, name):
                for one in self.callbacks:
                    getattr(one, name)(self)

            def fit(self, loader):
                for x, y in loader:
                    self.say("before_batch")
                    F.cross_entropy(self.model(x), y).backward()
                    self.optimizer.step()
        """,
        "trainer.optimizer.zero_grad()",
        "trainer.count += 1",
    ),
    "rows and columns that are matched": (
        DoubleActivation,
        """
        def matched(x):
            rows = (x @ x.T).softmax(dim=0)
            return rows.softmax(dim=1)
        """,
        "dim=1",
        "dim=0",
    ),
    "a device that is woken": (
        ResultDropped,
        """
        def wake(x):
            torch.zeros(1).cuda()
        """,
        "torch.zeros(1).cuda()",
        "x = torch.zeros(1)\n    x.cuda()",
    ),
    "layers that are shared by name": (
        SharedSubmoduleUnintended,
        """
        class Net(nn.Module):
            def __init__(self, depth):
                super().__init__()
                self.shared = nn.ModuleList([nn.Linear(3, 3)] * depth)
        """,
        "self.shared",
        "self.layers",
    ),
    "answers whose derivatives an object asks for": (
        ValidationBuildsGraph,
        """
        from torch.autograd import grad

        class Physics:
            def residual(self, u, x):
                return grad(u.sum(), x, retain_graph=True)[0] + u

        def error(model, loader, physics):
            model.eval()
            errors = []
            for x, y in loader:
                u = model(x)
                errors.append((physics.residual(u, x) ** 2).mean().item())
            return errors
        """,
        "from torch.autograd import grad",
        "from torch import roll",
    ),
    "a network of whole numbers": (
        ValidationBuildsGraph,
        """
        def accuracy(model, loader):
            model.eval()
            model = torch.quantization.convert(model)
            right = 0
            for x, y in loader:
                right += (model(x).argmax(1) == y).sum().item()
            return right
        """,
        "model = torch.quantization.convert(model)",
        "print(torch.quantization.convert(model))",
    ),
    "gradients that a variable switches": (
        ValidationBuildsGraph,
        """
        def forecast(model, loader, is_spline):
            model.eval()
            context = torch.enable_grad if is_spline else torch.no_grad
            with context():
                for x, _ in loader:
                    print(model(x).argmax(1).tolist())
        """,
        "with context():",
        "if context:",
    ),
    "a sample that is turned": (
        ValidationBuildsGraph,
        """
        def predict(model, x, test_loader):
            model.eval()
            right = 0
            for turn in range(4):
                for flip in (False, True):
                    turned = torch.rot90(x.flip(3) if flip else x, turn, dims=[2, 3])
                    right += model(turned).argmax(1).item()
            return right / 8
        """,
        "turn in range(4)",
        "x, turn in test_loader",
    ),
    "pictures of one batch": (
        ValidationBuildsGraph,
        """
        def draw(generator, loader):
            generator.eval()
            batches, found = next(iter(loader)), []
            for first, second in zip(batches["a"], batches["b"]):
                found.append((first, second, generator(first.unsqueeze(0)).tolist()))
            return found
        """,
        "next(iter(loader)), []",
        "loader, []",
    ),
    "answers for a caller that is not seen": (
        ValidationBuildsGraph,
        """
        def predict(model, loader):
            model.eval()
            found = []
            for x, _ in loader:
                found.append(model(x))
            return torch.cat(found)
        """,
        "model(x))",
        "model(x).argmax(1).tolist())",
    ),
    "dropout in a network that judges": (
        DropoutAlwaysOn,
        """
        class Discriminator(nn.Module):
            def __init__(self):
                super().__init__()
                self.last = nn.Linear(3, 1)

            def forward(self, x):
                return self.last(F.dropout(x, 0.3))
        """,
        "class Discriminator",
        "class Classifier",
    ),
    "dropout that is the noise of a generator": (
        DropoutAlwaysOn,
        """
        class UNetGenerator(nn.Module):
            def __init__(self):
                super().__init__()
                self.last = nn.Linear(3, 3)

            def forward(self, x):
                return F.dropout(self.last(x), 0.5).tanh()
        """,
        "class UNetGenerator",
        "class UNet",
    ),
    "gradients of an attack, which the caller's step takes with those of its batch": (
        MissingOptimizerStep,
        """
        class Trainer:
            def __init__(self, model):
                self.model = model
                self.optimizer = torch.optim.Adam(model.parameters())

            def attack(self, adversary, x, y):
                for time in range(3):
                    adversary.attack(is_first=time == 0)
                    if time < 2:
                        self.optimizer.zero_grad()
                    else:
                        adversary.restore_gradients()
                    F.cross_entropy(self.model(x), y).backward()
                adversary.restore()

            def train_step(self, adversary, x, y):
                F.cross_entropy(self.model(x), y).backward()
                self.attack(adversary, x, y)

            def update(self):
                self.optimizer.step()
                self.optimizer.zero_grad()

            def train(self, loader, adversary):
                for x, y in loader:
                    self.train_step(adversary, x, y)
                    self.update()
        """,
        "            self.update()",
        "            pass",
    ),
    "a model of another library, whose gradients a tape takes": (
        ValidationBuildsGraph,
        """
        import tensorflow as tf
        import torch
        from torch.nn import functional as F

        def measure(model, loader, loss_of):
            total = 0.0
            for x, y in loader:
                with tf.GradientTape() as tape:
                    scores = model(x, training=True)
                    loss = loss_of(y, scores)
                gradients = tape.gradient(loss, model.trainable_variables)
                print(len(gradients))
                total += loss.numpy().item()
            return total

        def train(model, loader, optimizer):
            model.train()
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        "with tf.GradientTape() as tape:",
        "if loader:",
    ),
    "a network that runs without a graph inside, beside arithmetic of its own": (
        ValidationBuildsGraph,
        """
        class Auditor(nn.Module):
            def __init__(self, model):
                super().__init__()
                self.model = model

            def forward(self, x):
                with torch.no_grad():
                    scores = self.model(x)
                return self.spread(scores)

            def spread(self, scores):
                return scores.std(dim=0)

        def audit(model, loader):
            auditor = Auditor(model)
            auditor.eval()
            total = 0.0
            for x in loader:
                total += auditor(x).mean().item()
            return total
        """,
        "return scores.std(dim=0)",
        "return self.model(scores).std(dim=0)",
    ),
    "layers that are set by their names in one line": (
        UnregisteredModules,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = [nn.Linear(3, 3)]
                for i, layer in enumerate(self.layers): setattr(self, f"layer{i}", layer)
        """,
        'setattr(self, f"layer{i}", layer)',
        "print(i, layer)",
    ),
}


def test_a_network_that_torchvision_makes_by_its_name_has_two_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
        import torch
        import torch.nn.functional as F
        import torchvision.models as models
        from torch import nn

        def validate(model, loader):
            with torch.no_grad():
                for x, y in loader:
                    print(F.cross_entropy(model(x), y).item())

        def main(loader, name):
            model = models.__dict__[name](num_classes=2)
            model = nn.DataParallel(model).cuda()
            model.train()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            validate(model, loader)
    """
    text = textwrap.dedent(text)
    monkeypatch.setattr(ValidationInTrainMode, "on_trial", False)
    other = text.replace("models.__dict__[name]", "made[name]")
    assert how_sure(ValidationInTrainMode, other) < SHOWN <= how_sure(ValidationInTrainMode, text)


TRAINS = """
    def train(model, generator, train_loader, optimizer):
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(generator(x)), y).backward()
            optimizer.step()
"""


@pytest.mark.parametrize("name", SHAPES)
def test_a_healthy_shape_is_not_shown_and_of_its_faulty_twin_more_is_said(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule, text, healthy, faulty = SHAPES[name]
    text = textwrap.dedent(text)
    if rule is ValidationBuildsGraph:
        text += textwrap.dedent(TRAINS)  # of a model that comes from elsewhere no graph is certain
    assert healthy in text
    monkeypatch.setattr(rule, "on_trial", False)  # a rule on trial has to know what is healthy before it leaves it
    assert how_sure(rule, text) < min(SHOWN, how_sure(rule, text.replace(healthy, faulty)))


def test_a_training_without_a_step_is_found_before_another_of_the_same_optimizer() -> None:
    text = """
    def warm(model, loader, optimizer):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()

    def fit(model, loader, optimizer):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

    def main(model, loader, rounds):
        optimizer = torch.optim.Adam(model.parameters())
        for epoch in range(rounds):
            warm(model, loader, optimizer)
            fit(model, loader, optimizer)
    """
    assert how_sure(MissingOptimizerStep, textwrap.dedent(text)) >= SHOWN
