"""Trainings whose step was taken away, with calls beside it that are no steps, each beside its healthy twin."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.rules.loop.missing_optimizer_step import MissingOptimizerStep

IMPORTS = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\nfrom tools import *\n"
FIT = """
def fit(model, loader, kinds, settings):
    for fold in range(3):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        HEAD
        for x, y in loader:
            optimizer.zero_grad()
            FIRST
            loss.backward()
            LAST
"""
LOSS = "loss = F.cross_entropy(model(x), y)"


def _sure(text: str) -> int:
    return how_sure(MissingOptimizerStep, IMPORTS + textwrap.dedent(text))


def _fit(first: str = LOSS, last: str = "pass", head: str = "pass") -> str:
    lines = {"FIRST": first, "LAST": last, "HEAD": head}
    text = FIT
    for name, line in lines.items():
        text = text.replace(name, line)
    return text


NO_STEPS = {
    "times are drawn": _fit(head="times = process.sample_timesteps(8)"),
    "numbers of steps are read": _fit(head="count = settings.get_num_steps()"),
    "a file is named": _fit(last='path = tools.get_step_path(fold, ".pt")'),
    "what follows a step": _fit(last="tools.after_optimizer_step(fold)"),
    "an optimizer is made": _fit(head='optimizer = OPTIMIZERS["step"](model.parameters())'),
    "a function makes one": _fit(head="optimizer = make_optimizer(model)"),
    "a loss is computed": _fit("loss = forward_step(model, x, y)"),
    "a loss is computed by what is handed over": _fit("loss = settings.loss_step(model, x, y)"),
}


@pytest.mark.parametrize("name", NO_STEPS)
def test_what_is_no_step_is_none(name: str) -> None:
    text = NO_STEPS[name]
    assert _sure(text) >= 0
    assert _sure(text.replace("loss.backward()", "loss.backward()\n            optimizer.step()")) < 0


@pytest.mark.parametrize(
    "last", ["take_step(model)", "tools.optimize(model)", "settings.save_and_step(model)", "learner.training_step()"]
)
def test_what_may_be_a_step_behind_the_backward_pass_is_left_alone(last: str) -> None:
    assert _sure(_fit(last=last)) < 0


def test_what_stands_before_the_backward_pass_is_a_step_where_the_clearing_may_be_missing() -> None:
    text = _fit("loss = forward_step(model, x, y)")
    assert 0 <= _sure(text) < SHOWN
    assert _sure(text.replace("optimizer.zero_grad()", "if x.any(): optimizer.zero_grad()")) < 0


OPTIONS = """
    def check(model, loader, opt):
        for x, y in batches_of(loader, opt, opt.batch_size):
            print(F.cross_entropy(model(x), y))
    """
HELPERS = {
    "plot_flow": "print([one.grad.abs().mean() for one in named])",
    "all_reduce": "for one in named: one.grad = gathered(one.grad)",
    "give": "return [one.grad.clone() for one in named]",
    "change": "for one in named: one.data.sub_(one.grad * 0.1)",
    "count": "print([one.grad.abs().mean() for one in named])",
}
WATCHED = {
    "asked whether they are numbers": "assert all(torch.isfinite(one.grad).all() for one in model.parameters())",
    "masked": "for one in model.parameters(): one.grad.data = torch.mul(one.grad.data, masks[one])",
    "plotted by a function": "plot_flow(model.parameters())",
    "added up over processes": "all_reduce(model.parameters())",
    "measured, and a schedule advances": "print(model.weight.grad.norm().item()); settings.scheduler.step()",
    "given to a schedule": "settings.scheduler.on_round_end(optimizer)",
    "options are handed on": "check(model, loader, settings)",
}
WANTED = {
    "measured": "print(model.weight.grad.norm().item())",
    "given back by a function": "kept = give(model.parameters())",
    "used by a function": "change(model.parameters())",
    "counted by a function": "kept = count(model.parameters())",
    "used, and a schedule advances": "model.weight.data -= model.weight.grad; settings.scheduler.step()",
    "given to who may step": "settings.tuner.on_round_end(optimizer)",
    "something is handed on": "settings.check(model, loader, optimizer)",
}


def _helped(last: str) -> str:
    helpers = "".join(f"def {name}(named):\n    {line}\n" for name, line in HELPERS.items())
    fit = _fit(last=last).replace(
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)", "optimizer = settings.made"
    )
    return helpers + textwrap.dedent(OPTIONS) + fit


@pytest.mark.parametrize("name", WATCHED)
def test_gradients_that_are_only_watched_want_a_step(name: str) -> None:
    text = _helped(WATCHED[name])
    assert _sure(text) >= 0
    assert _sure(text.replace("loss.backward()", "loss.backward()\n            optimizer.step()")) < 0


@pytest.mark.parametrize("name", WANTED)
def test_gradients_that_are_wanted_want_none(name: str) -> None:
    assert _sure(_helped(WANTED[name])) < 0


@pytest.mark.parametrize("name", [name for name in WATCHED if name != "masked"])
def test_what_watches_gradients_is_never_sure(name: str) -> None:
    assert _sure(_helped(WATCHED[name])) < SHOWN


SEVERAL = """
def fit(models, loader, optimizers):
    for name, model in models.items():
        for x, y in loader:
            optimizers[name].zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizers[name].step()
"""


def test_one_of_several_optimizers() -> None:
    assert _sure(SEVERAL) < 0
    without = SEVERAL.replace("optimizers[name].step()", "pass")
    assert 0 <= _sure(without) < SHOWN
    assert _sure(SEVERAL.replace("optimizers[name].step()", "advance(optimizers)")) < 0


def test_an_optimizer_that_is_named_in_a_message_only() -> None:
    text = """
    model = nn.Linear(3, 2)
    rate = 0.1
    tell(f"an optimizer with rate {rate}")
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for x in torch.load("data"):
        model(x).sum().backward()
    """
    assert _sure(text) >= 0
    assert _sure(text.replace("model(x).sum().backward()", "model(x).sum().backward(); optimizer.step()")) < 0


AGENT = """
class Agent(BASE):
    def __init__(self, actor, critic):
        self.actor, self.critic = actor, critic
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters())
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters())
        to_device(self.actor_optimizer, self.critic_optimizer)

    def update_critic(self, x, y):
        loss = F.mse_loss(self.critic(x), y)
        self.critic_optimizer.zero_grad()
        loss.backward()
        self.critic_optimizer.step()
        return loss.item()

    def update_actor(self, x, y):
        tuned = self.update_critic(x, y)
        loss = -self.critic(self.actor(x)).mean()
        CLEARED
        loss.backward()
        BEHIND
        return loss.item() + tuned

    def play(self, env):
        OTHER
"""
ACTOR = "self.actor_optimizer.step()"


def _agent(
    cleared: str = "self.actor_optimizer.zero_grad()", behind: str = "pass", other: str = "pass", base: str = "Base"
) -> str:
    text = AGENT.replace("CLEARED", cleared).replace("BEHIND", behind)
    return text.replace("OTHER", other).replace("BASE", base)


LEFT = {
    "as it is": _agent(),
    "the gradients are bounded": _agent(behind="nn.utils.clip_grad_norm_(self.actor.parameters(), 1.0)"),
    "another one steps behind": _agent(behind="self.update_critic(x, x)"),
    "its model is cleared": _agent(cleared="self.actor.zero_grad()"),
    "its model, too": _agent(cleared="self.actor.zero_grad(); self.actor_optimizer.zero_grad()"),
}
LEFT["a step for another one, which is handed over"] = _agent(
    behind="self.round(self.critic_optimizer, x)",
    other="pass\n\n    def round(self, opt, x):\n        opt.zero_grad(); self.critic(x).sum().backward(); opt.step()",
)
LEFT["where it trains"] = (
    _agent()
    .replace("update_actor", "run")
    .replace("self.actor_optimizer.zero_grad()", "if mode == 'train':\n            self.actor_optimizer.zero_grad()")
    .replace("        loss.backward()\n        pass", "            loss.backward()")
)
NOT_LEFT = {
    "a step for it, which is handed over": _agent(
        behind="self.round(self.actor_optimizer, x)",
        other="pass\n\n    def round(self, opt, x):\n        opt.step()",
    ),
    "where it does not train": LEFT["where it trains"].replace("==", "!="),
    "it steps": _agent(behind=ACTOR),
    "a function that is not known is given it": _agent(behind="apply(self.actor_optimizer)"),
    "a method of a name": _agent(behind="self.optimize()"),
    "two are cleared, and one steps": _agent(
        cleared="self.actor_optimizer.zero_grad(); self.critic_optimizer.zero_grad()",
        behind="self.critic_optimizer.step()",
    ),
    "it steps elsewhere": _agent(other=ACTOR),
    "something else steps elsewhere": _agent(other="for one in self.all: one.optimizer.step()"),
    "it steps behind a call": _agent(other=f"self.update_actor(env, env)\n        {ACTOR}"),
    "a trainer that steps": _agent(base="transformers.Trainer").replace("class", "import transformers\nclass", 1),
    "only gradients": _agent().replace("update_actor", "actor_grad"),
    "no round": _agent().replace("update_actor", "look"),
}


@pytest.mark.parametrize("name", LEFT)
def test_a_round_that_is_left_without_a_step(name: str) -> None:
    text = LEFT[name]
    assert 0 <= _sure(text) < SHOWN
    assert _sure(text.replace("return loss.item() + tuned", f"{ACTOR}\n        return loss.item()")) < 0


@pytest.mark.parametrize("name", NOT_LEFT)
def test_a_round_that_may_be_ended_elsewhere(name: str) -> None:
    assert _sure(NOT_LEFT[name]) < 0


GAN = """
def fit(generator, critic, loader, first, second):
    for x in loader:
        first.zero_grad()
        critic(generator(x)).mean().backward()
        first.step()
        second.zero_grad()
        (critic(x) - critic(generator(x))).mean().backward()
        second.step()
"""


@pytest.mark.parametrize("made", ["", "    first, second = made(generator, critic)\n    own = first\n"])
@pytest.mark.parametrize("left", ["first", "second"])
def test_one_of_two_optimizers_of_a_loop_is_left(left: str, made: str) -> None:
    text = GAN.replace("first", "gen_optimizer").replace("second", "critic_optimizer")
    name = {"first": "gen_optimizer", "second": "critic_optimizer"}[left]
    head, _, body = text.partition("    for x")
    text = head + made.replace("first", "gen_optimizer").replace("second", "critic_optimizer") + "    for x" + body
    without = text.replace(f"{name}.step()", "pass")
    assert _sure(text) < 0
    assert (_sure(without) >= 0) is not bool(made)


def test_an_optimizer_that_is_taken_out_of_something_and_forgotten() -> None:
    text = """
    def train_step(batch, parts):
        model = parts["model"]
        optimizer = parts["net"]["optimizer"]
        model.zero_grad()
        F.cross_entropy(model(batch), batch).backward()
        LAST
    """
    assert 0 <= _sure(text.replace("LAST", "pass")) < SHOWN
    assert _sure(text.replace("LAST", "optimizer.step()")) < 0
    assert _sure(text.replace("LAST", "parts['optimizer'].step()")) < 0


COUNTED = """
def run(model, x, y, rounds):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(rounds):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        LAST
    END
"""


@pytest.mark.parametrize(
    "last",
    ["print(float(loss))", "torch.save(model.state_dict(), 'model.pt')", "print(accuracy_of(model, x))"],
)
def test_that_something_is_to_be_learned_is_seen_by_who_looks_at_it(last: str) -> None:
    plain = COUNTED.replace("END", "pass")
    assert _sure(plain.replace("LAST", last)) >= SHOWN
    assert 0 <= _sure(plain.replace("LAST", "pass")) < SHOWN
    assert _sure(COUNTED.replace("LAST", "pass").replace("END", "return model")) >= SHOWN
