"""Backward passes removed from the loops of fresh packages, of which nothing was said, each beside its healthy twin."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.rules.loop.missing_backward import MissingBackward

IMPORTS = """
        import torch
        import torch.nn.functional as F
        from torch import nn
"""

PROGRAMS: dict[str, tuple[str, str]] = {
    "what is done stands in a description": (
        """
        def fit(model, loader, optimizer, criterion):
            '''Trains.

            Each round is a forward pass, a
            backward pass, and a step that uses the grads.
            '''
            for x, y in loader:
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                print(loss.item())
        """,
        "loss.backward()",
    ),
    "the backward pass of another way of training": (
        """
        def fit(model, loader, optimizer, criterion, is_closed):
            if is_closed:
                for x, y in loader:
                    def closure():
                        optimizer.zero_grad()
                        loss = criterion(model(x), y)
                        loss.backward()
                        return loss

                    optimizer.step(closure)
            else:
                for x, y in loader:
                    optimizer.zero_grad()
                    loss = criterion(model(x), y)
                    loss.backward()  # here
                    optimizer.step()
                    print(loss.item())
        """,
        "loss.backward()  # here",
    ),
    "a context that backward passes need": (
        """
        class Worker:
            def update(self):
                self.optimizer.zero_grad()
                for number, batch in enumerate(self.batches):
                    backward_ctx = self.context_of(number)
                    actor_loss = F.cross_entropy(self.model(batch), self.wanted)
                    with backward_ctx:
                        self.scaler.scale(actor_loss).backward()
                    self.kept.append(actor_loss.item())
                self.optimizer.step()
        """,
        "self.scaler.scale(actor_loss).backward()",
    ),
    "beside a profiler of autograd": (
        """
        def fit(model, loader, optimizer):
            for x, y in loader:
                with torch.autograd.profiler.profile(enabled=False):
                    loss = F.cross_entropy(model(x), y)
                    loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        """,
        "loss.backward()",
    ),
    "gradients are cut by hand": (
        """
        def learn(policy, target, memory, optimizer):
            for state, action, goal in memory:
                loss = F.smooth_l1_loss(policy(state).gather(1, action), goal)
                optimizer.zero_grad()
                loss.backward()
                for parameter in policy.parameters():
                    parameter.grad.data.clamp_(-1, 1)
                optimizer.step()
        """,
        "loss.backward()",
    ),
    "settings that are called opt": (
        """
        def fit(model, loader, opt, evaluate, rate):
            optimizer = torch.optim.SGD(model.parameters(), rate)
            for x, y in loader:
                loss = F.cross_entropy(model(x), y) * opt.world_size
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                kept = evaluate(opt, x)
        """,
        "loss.backward()",
    ),
    "a derivative by the inputs is a part of the loss": (
        """
        model = nn.Linear(2, 1)
        optimizer = torch.optim.Adam(model.parameters())
        for X, y in torch.load("data"):
            X.requires_grad_(True)
            grads, = torch.autograd.grad(model(X).sum(), X, create_graph=True)
            loss = F.mse_loss(grads[:, 0], y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            print(loss.item())
        """,
        "loss.backward()",
    ),
    "a function that is handed its loss": (
        """
        class Agent:
            def minimize(self, model, optimizer, loss):
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
        """,
        "loss.backward()",
    ),
    "a function that is handed its loss, clears behind the step and looks at nothing": (
        """
        class Agent:
            def advance(self, number, batch, loss):
                loss.backward()
                if number % 4 == 0:
                    self.optimizer.step()
                    self.optimizer.zero_grad()
        """,
        "loss.backward()",
    ),
    "one optimizer of several": (
        """
        class Solver:
            def learn(self, player):
                for samples, wanted in self.memories[player]:
                    self._optimizer_values[player].zero_grad()
                    found = self._networks[player](samples)
                    loss_values = self._loss_values(found, wanted)
                    loss_values.backward()
                    self._optimizer_values[player].step()
                return loss_values.detach().numpy()
        """,
        "loss_values.backward()",
    ),
    "an optimizer that is a property": (
        """
        class Embedding:
            @property
            def optimizer_(self):
                return self.net_.optimizer_

            def fit(self, batches):
                for batch in batches:
                    losses = self.module_.forward(batch)
                    self.optimizer_.zero_grad()
                    loss = losses.mean()
                    loss.backward()
                    self.optimizer_.step()
        """,
        "loss.backward()",
    ),
    "an optimizer of the object, stepped by its scaler": (
        """
        class Trainer:
            def __init__(self, model, optimizer, grad_scaler=None):
                self.model, self.optimizer = model, optimizer
                self.grad_scaler = grad_scaler

            def run(self, batch):
                loss_dict = self.model(batch)
                losses = sum(loss_dict.values())
                self.optimizer.zero_grad()
                self.grad_scaler.scale(losses).backward()
                self.write(loss_dict)
                self.grad_scaler.step(self.optimizer)
                self.grad_scaler.update()
        """,
        "self.grad_scaler.scale(losses).backward()",
    ),
    "one round of a training that somebody else clears": (
        """
        class Trainer:
            def one(self, loss_model, data, optimizer, most):
                answer = loss_model(data)
                loss_value = answer["loss_value"]
                loss_value.backward()
                nn.utils.clip_grad_norm_(loss_model.parameters(), most)
                optimizer.step()
                return loss_value
        """,
        "loss_value.backward()",
    ),
    "a model computes its loss for a batch": (
        """
        def fit(model, loader, writer, rate):
            optimizer = torch.optim.SGD(model.parameters(), rate)
            for batch in loader:
                model.train()
                loss = model.training_step(batch)
                writer.add_scalar("loss", loss)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        """,
        "loss.backward()",
    ),
    "a library's losses, summed and shown": (
        """
        from pytorch3d.loss import chamfer_distance, mesh_edge_loss

        def fit(mesh, points, offsets, steps):
            optimizer = torch.optim.SGD([offsets], lr=1.0)
            for _ in steps:
                optimizer.zero_grad()
                moved = mesh.offset_verts(offsets)
                first, _ = chamfer_distance(points, moved.verts_packed())
                second = mesh_edge_loss(moved)
                loss = first + 0.1 * second
                steps.set_description("loss %.4f" % loss)
                loss.backward()
                optimizer.step()
        """,
        "loss.backward()",
    ),
    "a likelihood, several functions deep": (
        """
        class Mixture(nn.Module):
            def negative(self, x):
                return -self.logs(x).mean()

            def logs(self, x):
                return self.weights(x).log()

            def weights(self, x):
                return self.shares().sqrt() * x

            def shares(self):
                return torch.softmax(self.scores(), 0)

            def scores(self):
                return 2 * self.w

        model = Mixture()
        optimizer = torch.optim.Adam([model.w])
        for x in torch.load("data"):
            optimizer.zero_grad()
            cost = model.negative(x)
            cost.backward()
            optimizer.step()
        """,
        "cost.backward()",
    ),
    "states are reset, and the loss goes by a short name": (
        """
        import spikes

        model = nn.Linear(3, 2)
        optimizer = torch.optim.Adam(model.parameters())
        crit = nn.functional.cross_entropy
        for x, y in torch.load("data"):
            spikes.reset_states(model)
            optimizer.zero_grad()
            answer = model(x)
            loss = crit(answer.sum(1), y)
            loss.backward()
            optimizer.step()
        """,
        "loss.backward()",
    ),
    "a logger is handed the loss, and the model is unwrapped": (
        """
        class Trainer:
            def fit(self, loader):
                for batch, y in loader:
                    self.optim.zero_grad()
                    width = self.accelerator.unwrap_model(self.model).width
                    loss = judge_entropy(self.model(batch), y)
                    loss.backward()
                    self.optim.step()
                    self.logger.log_train(loss, "loss", width, loss.item())
        """,
        "loss.backward()",
    ),
    "parts of a loss are given the model": (
        """
        class Solver:
            def solve(self, model, samples):
                model.train()
                for x in samples:
                    self.optimizer.zero_grad()
                    loss = 0
                    for part in self.compute(x, model(x)):
                        one = self.loss_fn(part, x)
                        loss += one
                        print(one.item())
                    for border in self.borders:
                        loss += border.computeLoss(model, x)
                    loss.backward()
                    self.optimizer.step()
        """,
        "loss.backward()",
    ),
}
BY_DEFAULT = ("beside a profiler of autograd", "a function that is handed its loss")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_backward_pass_that_is_gone_is_missed(name: str) -> None:
    text, gone = PROGRAMS[name]
    assert gone in text
    healthy = textwrap.dedent(IMPORTS + text)
    faulty = textwrap.dedent(IMPORTS + text.replace(gone, "pass"))
    assert how_sure(MissingBackward, healthy) == -1
    assert how_sure(MissingBackward, faulty) >= (SHOWN if name in BY_DEFAULT else 0)


HEALTHY: dict[str, str] = {
    "gradients by autograd are given by hand": """
        model = nn.Linear(2, 1)
        optimizer = torch.optim.Adam(model.parameters())
        for x, y in torch.load("data"):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            found = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
            hand_over(model, found)
            optimizer.step()
            print(loss.item())
        """,
    "what is handed over goes backward": """
        class Agent:
            def advance(self, number, batch, loss):
                self.spread(loss)
                if number % 4 == 0:
                    self.optimizer.step()
                    self.optimizer.zero_grad()
        """,
    "the one who calls goes backward": """
        class Agent:
            def advance(self, loss):
                self.optimizer.step()
                self.optimizer.zero_grad()

            def run(self, batches):
                for batch in batches:
                    loss = self.model(batch)
                    loss.backward()
                    self.advance(loss)
        """,
    "a class behind goes backward": """
        from agents import Agent

        class Mine(Agent):
            def advance(self, loss):
                self.optimizer.step()
                self.optimizer.zero_grad()
        """,
    "the step comes first, and whoever is given the loss goes backward": """
        class Trainer:
            def one(self, model, data, optimizer):
                optimizer.step()
                loss = model(data)["loss"]
                print(loss.item())
                return loss
        """,
    "an optimizer called opt may be used": """
        def fit(model, loader, opt, optimizer, evaluate):
            for x, y in loader:
                loss = F.cross_entropy(model(x), y)
                evaluate(opt, x)
                optimizer.step()
                optimizer.zero_grad()
        """,
    "a training step of a trainer goes backward": """
        def fit(trainer, model, loader, rate):
            optimizer = torch.optim.SGD(model.parameters(), rate)
            for batch in loader:
                model.train()
                loss = trainer.training_step(batch)
                optimizer.step()
                optimizer.zero_grad()
        """,
}


@pytest.mark.parametrize("name", HEALTHY)
def test_what_may_be_right_is_not_told(name: str) -> None:
    assert how_sure(MissingBackward, textwrap.dedent(IMPORTS + HEALTHY[name])) == -1
