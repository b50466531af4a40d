"""Steps without a backward pass of their own, where another pass, a word or an unknown stands beside; each as a healthy
program and, with one line taken out, as a faulty one.
"""

from __future__ import annotations

import re
import textwrap

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.rules.loop.missing_backward import MissingBackward

NOTHING = -1
"""What is said of a healthy program."""
GONE = re.compile(r"\w+\.backward\(\)  # gone")
UPDATE = """
            def update_critic(self, x, fake):
                self.critic_optimizer.zero_grad()
                critic_loss = F.mse_loss(self.critic(fake.detach()), x)
                critic_loss.backward()
                self.critic_optimizer.step()
"""
FOUND = {
    "a critic that learns behind the step, in a method": f"""
        class Trainer:
            {UPDATE.strip()}

            def train(self, x, y):
                self.optimizer.zero_grad()
                out = self.net(x)
                loss = F.cross_entropy(out, y)
                loss.backward()  # gone
                self.optimizer.step()
                self.update_critic(x, out)
        """,
    "a critic that learns before gradients are cleared, in a method": f"""
        class Trainer:
            {UPDATE.strip()}

            def train(self, x, y):
                out = self.net(x)
                self.update_critic(x, out)
                loss = F.cross_entropy(out, y)
                self.optimizer.zero_grad()
                loss.backward()  # gone
                self.optimizer.step()
        """,
    "a critic whose pass is in a method, and whose step is not": """
        class Trainer:
            def lose(self, x, y):
                loss = F.mse_loss(self.critic(x), y)
                self.critic_optimizer.zero_grad()
                loss.backward()

            def train(self, x, y):
                self.critic.train()
                self.lose(x, y)
                self.critic_optimizer.step()
                loss = -self.critic(self.actor(x)).mean()
                self.actor_optimizer.zero_grad()
                loss.backward()  # gone
                self.actor_optimizer.step()
        """,
    "two networks in turn": """
        def train(generator, critic, loader, optimizer, critic_optimizer, criterion):
            for x, y in loader:
                critic_optimizer.zero_grad()
                critic_loss = criterion(critic(x), y)
                critic_loss.backward()
                critic_optimizer.step()
                optimizer.zero_grad()
                loss = criterion(critic(generator(x)), y)
                loss.backward()  # gone
                optimizer.step()
                print(loss.item())
        """,
    "gradients that a method looks at, and that are cleared": """
        class Trainer:
            def weigh(self, loss):
                self.optimizer.zero_grad()
                loss.backward(retain_graph=True)
                return sum(one.grad.norm() for one in self.net.parameters())

            def train(self, loader):
                for x, y in loader:
                    loss = F.mse_loss(self.net(x), y)
                    self.weights.append(self.weigh(loss))
                    self.optimizer.zero_grad()
                    loss.backward()  # gone
                    self.optimizer.step()
        """,
    "a loss of something that is handed over, and that nobody reads": """
        class Agent:
            def __init__(self, critic, loss, optimizer):
                self.critic, self.lossOf, self.optimizer = critic, loss, optimizer

            def learn(self, state, action, gain):
                self.optimizer.zero_grad()
                found = self.critic(state, action)
                loss = self.lossOf.compute_loss(found, gain) + self.lossOf.compute_loss(found, action)
                loss.backward()  # gone
                self.optimizer.step()
        """,
    "a loss of one part among others": """
        class Agent:
            def __init__(self, optimizer, target):
                self.temperature_optimizer, self.target = optimizer, target

            def learn(self, chances):
                self.temperature_optimizer.zero_grad()
                alpha_loss = (self.temperature * (-chances - self.target).detach()).mean()
                alpha_loss.backward()  # gone
                self.temperature_optimizer.step()
                return {"loss": alpha_loss.detach().cpu().numpy()}
        """,
    "a loss that is returned with an answer": """
        class Task:
            def __init__(self, model):
                self.model = model
                self.optimizer = torch.optim.Adam(model.parameters())

            def train(self, batch):
                self.optimizer.zero_grad()
                out, loss = self.compute_loss(batch)
                loss.backward()  # gone
                self.optimizer.step()
                return out, loss

            def compute_loss(self, batch):
                out = self.model(batch)
                return out, first(out)

        def first(x):
            return second(x)

        def second(x):
            return third(x)

        def third(x):
            return fourth(x)

        def fourth(x):
            return fifth(x)

        def fifth(x):
            return (x - 1).pow(2).mean()
        """,
    "under gradients that are switched": """
        def train(model, loaders, criterion):
            optimizer = torch.optim.Adam(model.parameters())
            for phase in ["train", "test"]:
                for batch in loaders[phase]:
                    with torch.set_grad_enabled(phase == "train"):
                        optimizer.zero_grad()
                        batch = shaped(batch, model)
                        loss = criterion_of(batch)
                        if phase == "train":
                            loss.backward()  # gone
                            optimizer.step()
                    total = loss.item()
        """,
    "a time that is named after the pass": """
        def train(model, loader, optimizer):
            for x, y in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                backward_time = time.time()
                loss.backward()  # gone
                backward_time = time.time() - backward_time
                optimizer.step()
                print(backward_time, loss.item())
        """,
    "gradients that are looked at for numbers that are none": """
        def train(model, loader, optimizer):
            for x, y in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()  # gone
                if any(not bool(torch.isfinite(one.grad).all()) for one in model.parameters()):
                    raise FloatingPointError
                optimizer.step()
        """,
    "gradients that are scaled": """
        def train(model, loader, optimizer):
            for x, y in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()  # gone
                for one in model.parameters():
                    one.grad.data *= 0.5
                optimizer.step()
        """,
    "a function that steps in the other branch": """
        import torch.nn.functional as F
        import torch_xla.core.xla_model as xm

        def train(model, loader, optimizer, on_tpu):
            for x, y in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()  # gone
                if on_tpu:
                    xm.optimizer_step(optimizer, barrier=True)
                else:
                    optimizer.step()
        """,
    "a function of elsewhere that is given the loss behind the step": """
        def train(model, x, y, optimizer, report):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()  # gone
            optimizer.step()
            return report(x, y, loss)
        """,
}
SILENT = {
    "optimizers that take proximal steps": """
        import torch
        import torch.nn.functional as F
        from torch.optim.optimizer import Optimizer

        class Proximal(Optimizer):
            def __init__(self, params, proxs):
                super().__init__(params, {})
                self.proxs = proxs

            def step(self):
                for group in self.param_groups:
                    for one in group["params"]:
                        one.data = self.proxs(one.data)

        class Trainer:
            def __init__(self, net, soft):
                self.net = net
                self.optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
                self.sparse_optimizer = Proximal(net.parameters(), soft)

            def train(self, x, y):
                self.optimizer.zero_grad()
                loss = F.cross_entropy(self.net(x), y)
                loss.backward()
                self.optimizer.step()
                self.sparse_optimizer.zero_grad()
                self.sparse_optimizer.step()
        """,
    "optimizers of elsewhere that may take proximal steps": """
        import torch
        import torch.nn.functional as F
        from proximal import PGD

        class Trainer:
            def __init__(self, net, soft):
                self.net = net
                self.optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
                self.sparse_optimizer = PGD(net.parameters(), proxs=[soft])

            def train(self, x, y):
                self.optimizer.zero_grad()
                loss = F.cross_entropy(self.net(x), y)
                loss.backward()
                self.optimizer.step()
                self.sparse_optimizer.zero_grad()
                self.sparse_optimizer.step()
        """,
    "what is not seen goes backward between": """
        class Trainer:
            def train(self, loader, teacher):
                for x, y in loader:
                    self.critic_optimizer.zero_grad()
                    critic_loss = F.mse_loss(self.critic(x), y)
                    critic_loss.backward()
                    self.critic_optimizer.step()
                    self.optimizer.zero_grad()
                    teacher.improve(self.net)
                    self.optimizer.step()
        """,
    "a loss that goes backward for another, and a loss of what is not seen": """
        class Trainer:
            def train(self, loader, teacher):
                for x, y in loader:
                    self.critic_optimizer.zero_grad()
                    loss = F.mse_loss(self.critic(x), y)
                    loss.backward()
                    self.critic_optimizer.step()
                    self.optimizer.zero_grad()
                    total = teacher.improved(self.net)
                    self.optimizer.step()
        """,
    "steps first, and cleared before the pass of a method that steps for another": """
        class Trainer:
            def update(self, x, y):
                self.head_optimizer.zero_grad()
                loss = F.cross_entropy(self.head(self.net(x)), y)
                loss.backward()
                self.head_optimizer.step()

            def train(self, loader):
                self.optimizer.zero_grad()
                for x, y in loader:
                    self.optimizer.step()
                    self.optimizer.zero_grad()
                    self.update(x, y)
                    print(F.cross_entropy(self.net(x), y).item())
        """,
    "a pass behind the step that no round clears": """
        def train(model, loader, optimizer, engine):
            optimizer.zero_grad()
            for x, y in loader:
                loss = F.cross_entropy(model(x), y)
                optimizer.step()
                engine.run(loss)
        """,
    "losses that are kept, and summed for something else": """
        def train(model, loader, optimizer, engine):
            for batch in loader:
                optimizer.zero_grad()
                losses = []
                for x, y in batch:
                    losses.append(F.cross_entropy(model(x), y))
                engine.run(torch.stack(losses).sum())
                optimizer.step()
        """,
    "a value that is measured": """
        def train(agent, loader, optimizer):
            for x, y in loader:
                optimizer.zero_grad()
                val_loss = agent.loss_of(x)
                found = agent.run(x)
                optimizer.step()
                print(val_loss.item())
        """,
    "one pass for two optimizers": """
        def train(encoder, decoder, loader, optimizer, decoder_optimizer):
            for x, y in loader:
                optimizer.zero_grad()
                decoder_optimizer.zero_grad()
                loss = F.cross_entropy(decoder(encoder(x)), y)
                loss.backward()
                decoder_optimizer.step()
                optimizer.step()
                print(loss.item())
        """,
    "one pass for two optimizers, in a method that steps for one": """
        class Trainer:
            def update(self, x, y):
                self.head_optimizer.zero_grad()
                loss = F.cross_entropy(self.head(self.net(x)), y)
                loss.backward()
                self.head_optimizer.step()
                return loss

            def train(self, loader):
                for x, y in loader:
                    self.optimizer.zero_grad()
                    loss = self.update(x, y)
                    self.optimizer.step()
                    print(loss.item())
        """,
    "a step with the gradients of the round before": """
        class Trainer:
            def train(self, loader):
                for x, y in loader:
                    self.optimizer.step()
                    self.optimizer.zero_grad()
                    loss = F.cross_entropy(self.net(x), y)
                    loss.backward()
                    self.scheduler_optimizer.step()
        """,
    "an object that computes its loss and goes backward": """
        class Agent:
            def __init__(self, critic, learner, optimizer):
                self.critic, self.learner, self.optimizer = critic, learner, optimizer

            def learn(self, state, gain):
                self.optimizer.zero_grad()
                loss = self.learner.loss_step(self.critic(state), gain)
                self.optimizer.step()
        """,
    "an agent that learns beside a sum of losses": """
        def train(agent, env, optimizer):
            for episode in range(9):
                optimizer.zero_grad()
                policy_loss = torch.zeros(1)
                for one in env:
                    agent.learn(one)
                optimizer.step()
        """,
    "an agent that learns beside a loss that is noted": """
        def train(agent, net, env, optimizer):
            for x in env:
                optimizer.zero_grad()
                value_loss = net.value_loss(x)
                agent.accumulate(x)
                optimizer.step()
                print(value_loss.item())
        """,
    "what is named after a pass is called": """
        def train(model, loader, optimizer, engine):
            for x, y in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                run_backward = engine.prepared()
                run_backward(loss)
                optimizer.step()
        """,
    "a loss that a mode without gradients computes": """
        def train(agent, loader, optimizer):
            for x, y in loader:
                optimizer.zero_grad()
                with torch.set_grad_enabled(False):
                    value_loss = agent.value_loss(x, y)
                loss = agent.run(x)
                optimizer.step()
                print(value_loss.item())
        """,
    "a part of the loss, and an engine for all of it": """
        def train(agent, engine, loader, optimizer):
            for x, y in loader:
                optimizer.zero_grad()
                part_loss = agent.value_loss(x, y)
                engine.run(agent, part_loss + agent.rest(x))
                optimizer.step()
                print(part_loss.item())
        """,
}


@pytest.mark.parametrize("name", FOUND)
def test_a_pass_that_was_taken_out_is_missed_whatever_stands_beside(name: str) -> None:
    text = textwrap.dedent(FOUND[name])
    faulty = GONE.sub("pass", text)
    assert faulty != text
    assert how_sure(MissingBackward, text) == NOTHING < how_sure(MissingBackward, faulty)


@pytest.mark.parametrize("name", SILENT)
def test_a_pass_that_may_be_there_is_not_missed(name: str) -> None:
    assert how_sure(MissingBackward, textwrap.dedent(SILENT[name])) == NOTHING


@pytest.mark.parametrize("name", [name for name in FOUND if "critic" in name or "handed" in name or "part" in name])
def test_what_another_pass_or_a_name_stands_for_is_possible_at_most(name: str) -> None:
    faulty = GONE.sub("pass", textwrap.dedent(FOUND[name]))
    assert how_sure(MissingBackward, faulty) < SHOWN
