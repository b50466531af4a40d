"""A target that a network makes of its own answers, with gradients."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, Call, Code, Item, Name, Operation, Value
from stethoscope.facts.events import NO_GRAD, is_under
from stethoscope.facts.origins import called
from stethoscope.facts.things import binding_of
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

_LOSSES = frozenset({
    "torch.nn.functional.mse_loss", "torch.nn.functional.smooth_l1_loss", "torch.nn.functional.huber_loss",
    "torch.nn.functional.l1_loss",
})  # fmt: skip
_LOSS_CLASSES = frozenset({"torch.nn.MSELoss", "torch.nn.SmoothL1Loss", "torch.nn.HuberLoss", "torch.nn.L1Loss"})
_GREATEST = frozenset({".max", ".amax", "torch.max", "torch.amax"})
_KEEPING = frozenset({
    ".squeeze", ".unsqueeze", ".view", ".reshape", ".float", ".mul", ".add", ".to", ".gather", ".values", ".flatten",
}) | _GREATEST  # fmt: skip


class BootstrapNotDetached(Rule):
    """The target of a value network is computed by the same network, and gradients flow through it.

    ## What it sees
    A squared or absolute error whose target is a reward plus a factor times the greatest answer of the same network,
    without `no_grad` and without `detach`.
    ## Why it hurts
    The step moves the target as well as the answer. Both are drawn together instead of the answer to the target:
    learning is slow, and may settle on values that satisfy no equation.
    ## How to fix it
    Compute the target under `torch.no_grad()`, best by a copy of the network that follows slowly.
    ## When it is not a fault
    Residual-gradient methods, which do so on purpose.
    ## Sources
    Mnih et al. 2015, "Human-level control through deep reinforcement learning"; Baird 1995, "Residual algorithms";
    PyTorch tutorial, "Reinforcement Learning (DQN)".
    """

    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Follow the target of such losses to the greatest answer of the network that is trained."""
        if not file.calls_of(*_GREATEST):
            return
        for call in file.calls:
            if call.name not in _LOSSES and called(file, call).name not in _LOSS_CLASSES:
                continue
            answers, targets = call.argument(0, "input"), call.argument(1, "target")
            greatest = _bootstrap(file, targets)
            if greatest is None:
                continue
            name = _model_of(file, greatest)
            made = [one for one in _models(file, answers) if _model_of(file, one) == name]
            if made and not is_under(file, greatest.context, *NO_GRAD):
                yield self._read(file, call, greatest, name)

    def _read(self, file: Code, call: Call, greatest: Call, name: str) -> Finding:
        return self.finding(
            fitting(f"`{name}` is trained towards itself, target included", "gradients flow through the target"),
            sureness=Sureness.CERTAIN,
            place=place_in(file, greatest.at),
            evidence=[Evidence(f"sides of the loss on {line_of(file, call.at)} that gradients flow through", 2, "1")],
            cause=f"The target is made of answers of `{name}` too, so a step moves the target along with the answer.",
            fixes=[
                "Compute the target without gradients:\n"
                + code("with torch.no_grad():", f"    target = reward + gamma * {name}(next_state).max(1).values")
            ],
            unless="the residual gradient is meant.",
            chain=[
                Link(place_in(file, greatest.at), f"`{name}` answers, for the target"),
                Link(place_in(file, call.at), "the loss compares it with another answer of the same network"),
            ],
        )

    bad_code = {
        "in one go": """
            def learn(net, optimizer, state, action, reward, after, gamma):
                values = net(state).gather(1, action).squeeze()
                best = net(after).max(1)[0]  # bad
                loss = F.mse_loss(values, reward + gamma * best)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
        "by an object": """
            class Agent:
                def __init__(self):
                    self.net = nn.Linear(4, 2)
                    self.loss = nn.SmoothL1Loss()

                def learn(self, state, action, reward, after, done):
                    values = self.net(state).gather(1, action)
                    target = reward + 0.99 * self.net(after).max(1)[0] * (1 - done)  # bad
                    return self.loss(values, target)
            """,
    }
    good_code = {
        "without gradients": """
            def learn(net, state, action, reward, after, gamma):
                values = net(state).gather(1, action).squeeze()
                with torch.no_grad():
                    best = net(after).max(1)[0]
                other = net(after).max(1)[0].detach()
                whole = reward + gamma * net(after).max(1)[0]
                return (
                    F.mse_loss(values, reward + gamma * best)
                    + F.mse_loss(values, reward + gamma * other)
                    + F.mse_loss(values, whole.detach())
                )
            """,
        "another network": """
            def learn(net, target_net, state, action, reward, after, gamma):
                values = net(state).gather(1, action).squeeze()
                return F.mse_loss(values, reward + gamma * target_net(after).max(1)[0])
            """,
        "two views of one": """
            def learn(net, first, second):
                return F.mse_loss(net(first), net(second)) + F.mse_loss(net(first), 2 * net(second) + 1)
            """,
    }


def _bootstrap(
    file: Code, value: Value | None, depth: int = 0, *, added: bool = False, best: bool = False
) -> Call | None:
    """The model's call in `reward + factor * model(x).max(1)`, where nothing cuts the graph on the way."""
    if depth > 16:
        return None
    if isinstance(value, Name):
        binding = binding_of(file, value)
        if binding is None or binding.how != "assign" or (binding.item and binding.item != (0,)):
            return None
        return _bootstrap(file, binding.value, depth + 1, added=added, best=best)
    if isinstance(value, Item):
        return _bootstrap(file, value.value, depth + 1, added=added, best=best)
    if isinstance(value, Operation):
        plus = added or (value.operator == "+" and len(value.operands) == 2)
        found = (_bootstrap(file, one, depth + 1, added=plus, best=best) for one in value.operands)
        return next((one for one in found if one is not None), None) if value.operator in ("+", "*", "-") else None
    if isinstance(value, Call) and value.name in _KEEPING:
        inner = value.receiver if value.receiver is not None else value.argument(0)
        return _bootstrap(file, inner, depth + 1, added=added, best=best or value.name in _GREATEST)
    return value if isinstance(value, Call) and added and best and _model_of(file, value) else None


def _model_of(file: Code, call: Call) -> str:
    """What a call calls, as it is written, where that may be a model: `net`, `self.net`."""
    if call.name == "()" and isinstance(call.receiver, Name):
        return call.receiver.name if called(file, call).kind in ("module", "unknown") else ""
    is_method = isinstance(call.receiver, Name) and called(file, call).kind == "module"
    return f"{call.receiver.name}{call.name}" if is_method and isinstance(call.receiver, Name) else ""


def _models(file: Code, value: Value | None) -> Iterator[Call]:
    """The calls of models that a value comes from."""
    waiting = [value]
    for _ in range(30):
        if not waiting:
            return
        one = waiting.pop()
        if isinstance(one, Name) and one.binding != NOWHERE and file.bindings[one.binding].how == "assign":
            waiting.append(file.bindings[one.binding].value)
        elif isinstance(one, Item):
            waiting.append(one.value)
        elif isinstance(one, Call) and _model_of(file, one):
            yield one
        elif isinstance(one, Call) and one.name in _KEEPING:
            waiting.append(one.receiver)
