"""Trainings of several optimizers in functions of their own, of which one clears nothing; each beside healthy twins."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.core.finding import Sureness
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad

POSSIBLE = Sureness.POSSIBLE.strength
AGENT = """
class Agent:
    def __init__(self, actor, critic):
        self.actor, self.critic = actor, critic
        self.actor_optim = torch.optim.Adam(actor.parameters())
        self.critic_optim = torch.optim.Adam(critic.parameters())

    def update_critic(self, state, value):
        loss = F.mse_loss(self.critic(state), value)
        self.critic_optim.zero_grad()
        loss.backward()
        self.critic_optim.step()

    def update_actor(self, state):
        loss = -self.critic(state, self.actor(state)).mean()
        self.actor_optim.zero_grad()
        loss.backward()
        self.actor_optim.step()

    def soften(self, state):
        print(state)

    def log(self, state):
        print(state.shape)
"""
CALLED = """
    def update(self, memory):
        state, value = memory.sample()
        self.update_critic(state, value)
        self.update_actor(state)
"""
LOOPED = """
    def train(self, memory):
        for state, value in memory:
            self.update_critic(state, value)
            self.update_actor(state)
"""
CLEARED = "        self.actor_optim.zero_grad()\n"
OFTEN = {"no caller is known": "", "called by a function": CALLED, "called by a loop": LOOPED}


def _left_out(more: str = "", old: str = "", new: str = "") -> int:
    text = AGENT.replace(CLEARED, "").replace(old, new) if old else AGENT.replace(CLEARED, "")
    assert not old or old in AGENT
    return how_sure(MissingZeroGrad, text + more)


@pytest.mark.parametrize("calls", OFTEN)
def test_one_of_two_functions_clears_nothing(calls: str) -> None:
    assert how_sure(MissingZeroGrad, AGENT + OFTEN[calls]) < POSSIBLE
    assert POSSIBLE <= _left_out(OFTEN[calls]) < SHOWN


HEALTHY = {
    "a function clears and leaves the rest to others": "self.actor_optim.zero_grad()",
    "a model is cleared, alone": "self.actor.zero_grad()",
    "all are cleared": "for optim in (self.actor_optim, self.critic_optim): optim.zero_grad()",
    "by a name of its own": "clear = self.actor_optim.zero_grad; clear()",
    "by another function": "reset_gradients(zero_grad=True)",
    "by hand": "for p in self.actor.parameters(): p.grad = None",
    "it goes backward for who steps": "self.actor_optim.zero_grad(); self.actor(state).sum().backward()",
}


@pytest.mark.parametrize("name", HEALTHY)
def test_what_may_clear_keeps_it_silent(name: str) -> None:
    called = LOOPED.replace("self.update_actor(state)", "self.soften(state)\n            self.update_actor(state)")
    assert _left_out(called, "print(state)", HEALTHY[name]) < POSSIBLE
    assert POSSIBLE <= _left_out(called, "print(state)", "print(state, 1)") < SHOWN


OWN = {
    "gradients that are looked at, and left there": "self.actor.zero_grad(); self.actor(state).sum().backward()",
    "another optimizer, whose gradients are measured": "self.critic_optim.zero_grad(); self.critic(state).backward()",
    "a model, and the optimizer that is named for it": (
        "self.critic.zero_grad(); self.critic(state).backward(); self.critic_optim.step()"
    ),
}


@pytest.mark.parametrize("name", OWN)
def test_what_others_clear_for_themselves_does_not_help(name: str) -> None:
    assert POSSIBLE <= _left_out(LOOPED, "print(state.shape)", OWN[name]) < SHOWN


def test_a_caller_that_clears_what_the_function_steps() -> None:
    called = LOOPED.replace("            self.update_actor", "            CLEARED\n            self.update_actor")
    assert _left_out(called.replace("CLEARED", "self.actor_optim.zero_grad()")) < POSSIBLE
    assert _left_out(called.replace("CLEARED", "self.critic_optim.step()")) == POSSIBLE


def test_a_caller_that_clears_its_own_optimizer() -> None:
    own = """
    def learn(self, memory):
        for state, value in memory:
            OTHER.zero_grad()
            self.net(state).sum().backward()
            OTHER.step()
            self.update_actor(state)
    """
    assert _left_out(own.replace("OTHER", "self.net_optim")) == POSSIBLE
    assert _left_out(own.replace("OTHER", "optim")) < POSSIBLE  # it may be the same


def test_an_optimizer_that_a_function_only_names() -> None:
    text = textwrap.dedent("""
        def train_step(batch, run):
            net, optimizer = run["net"], run["optimizer"]
            optimizer.zero_grad()
            loss = F.cross_entropy(net(batch["x"]), batch["y"])
            loss.backward()
            optimizer.step()
    """)
    line = "    optimizer.zero_grad()\n"
    assert how_sure(MissingZeroGrad, text) < POSSIBLE
    assert how_sure(MissingZeroGrad, text.replace(line, "")) == POSSIBLE
    made = text.replace('run["optimizer"]', "run.make(net)").replace(line, "")
    assert how_sure(MissingZeroGrad, made) < POSSIBLE


KNOWN = {
    "a step that sums the gradients of all devices first": ("xm.optimizer_step(optimizer)", "optimizer.zero_grad()"),
    "an optimizer by the name of its model": ("optimizers[name].step()", "optimizers[name].zero_grad()"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_step_that_is_written_otherwise(name: str) -> None:
    step, clearing = KNOWN[name]
    text = textwrap.dedent(f"""
        import torch_xla.core.xla_model as xm

        def train(models, optimizers, optimizer, loader):
            for name, model in models.items():
                for x, y in loader:
                    loss = F.cross_entropy(model(x), y)
                    loss.backward()
                    {step}
                    CLEARED
    """)
    assert how_sure(MissingZeroGrad, text.replace("CLEARED", clearing)) < POSSIBLE
    assert how_sure(MissingZeroGrad, text.replace("CLEARED", "print(loss.item())")) >= POSSIBLE
