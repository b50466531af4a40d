"""The first loss taken apart: what each term is worth, and what it asks of the weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

import stethoscope
from stethoscope.facts.model import Experiment, LossTerm, Preflight
from stethoscope.observe.preflight.parting import with_terms
from stethoscope.observe.training.terms import Terms

X = torch.linspace(-1, 1, 32).reshape(8, 4)
Y = torch.arange(8) % 3


def parted(model: nn.Module, make_loss: object) -> Terms:
    """Terms of a loss in which the listed calls of loss functions were heard."""
    heard = Terms()

    def hear(function: str, *args: object) -> torch.Tensor:
        result: torch.Tensor = getattr(F, function)(*args)
        heard.loss_called(function, None, result)
        return result

    heard.backward_begins(make_loss(hear, model))  # type: ignore[operator]
    return heard


def gradient_norm(loss: torch.Tensor, model: nn.Module) -> float:
    grads = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return float(torch.cat([g.flatten() for g in grads if g is not None]).norm())


def test_weighted_terms_have_their_parts_of_the_loss_and_of_the_gradient() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    terms = parted(
        model,
        lambda hear, m: hear("cross_entropy", m(X), Y) + 50 * hear("mse_loss", m(X), torch.ones(8, 3)),
    ).found

    assert [term.function for term in terms] == ["cross_entropy", "mse_loss"]
    value = 50 * float(F.mse_loss(model(X), torch.ones(8, 3)).detach())
    assert abs(terms[1].value - value) < 1e-5 * value
    expected = 50 * gradient_norm(F.mse_loss(model(X), torch.ones(8, 3)), model)
    assert abs(terms[1].gradient_norm - expected) < 1e-4 * expected


def test_what_is_added_to_the_loss_function_is_a_term_of_its_own() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)

    def penalized(hear: object, m: nn.Module) -> torch.Tensor:
        loss: torch.Tensor = hear("cross_entropy", m(X), Y) + 0.1 * sum(p.abs().sum() for p in m.parameters())  # type: ignore[operator]
        return loss

    data, added = parted(model, penalized).found
    assert (data.function, added.function) == ("cross_entropy", "")
    assert abs(added.value - 0.1 * sum(float(p.detach().abs().sum()) for p in model.parameters())) < 1e-5
    assert abs(added.gradient_norm - 0.1 * 15**0.5) < 1e-5  # each of the 15 values has a slope of 0.1


def test_a_loss_that_is_one_function_is_one_term() -> None:
    heard = parted(nn.Linear(4, 3), lambda hear, m: hear("cross_entropy", m(X), Y) / 4)
    assert [term.function for term in heard.found] == ["cross_entropy"]


def test_a_loss_for_each_sample_is_one_term() -> None:
    def each(hear: object, m: nn.Module) -> torch.Tensor:
        loss: torch.Tensor = hear("mse_loss", m(X), torch.ones(8, 3), None, None, "none")  # type: ignore[operator]
        return loss.mean()

    assert len(parted(nn.Linear(4, 3), each).found) == 1


def test_a_loss_that_is_heard_but_not_used_is_no_term() -> None:
    def logged(hear: object, m: nn.Module) -> torch.Tensor:
        hear("mse_loss", m(X), torch.ones(8, 3))  # type: ignore[operator]
        used: torch.Tensor = hear("cross_entropy", m(X), Y)  # type: ignore[operator]
        return used

    assert [term.function for term in parted(nn.Linear(4, 3), logged).found] == ["cross_entropy"]


def test_without_a_loss_function_it_says_why_not() -> None:
    assert "cannot be told apart" in parted(nn.Linear(4, 3), lambda hear, m: m(X).square().mean()).why_not


def test_a_drowned_loss_function_is_not_as_it_should_be_and_a_small_penalty_is() -> None:
    def state(*terms: LossTerm) -> bool:
        heard = Terms()
        heard.found, heard.why_not = terms, ""
        made = with_terms(Preflight(experiments=(Experiment("effect", "take one step"),)), heard)
        assert [one.name for one in made.experiments] == ["terms", "effect"]
        return made.experiments[0].good

    small, large = LossTerm("cross_entropy", None, 2.3, 0.2), LossTerm("mse_loss", None, 9e6, 8000.0)
    assert not state(small, large)
    assert state(small, LossTerm("mse_loss", None, 2.0, 1.0))
    assert state(small, LossTerm("", None, 1e-3, 1e-4))


class Heads(nn.Module):
    """Two answers from one body."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.kind, self.size = nn.Linear(4, 16), nn.Linear(16, 3), nn.Linear(16, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.relu(self.body(x))
        return self.kind(hidden), self.size(hidden)


def two_losses(output: tuple[torch.Tensor, torch.Tensor], y: torch.Tensor) -> torch.Tensor:
    """Of the class, and of a size in large units."""
    return F.cross_entropy(output[0], y) + F.mse_loss(output[1], 100 * y.float()[:, None])


def test_a_check_tells_it_and_trains_as_it_would_without() -> None:
    torch.manual_seed(0)
    model = Heads()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    data = [(torch.randn(8, 4), torch.randint(3, (8,))) for _ in range(60)]
    found = stethoscope.check(model, two_losses, data, profile="quick")

    (line,) = [one for one in found.experiments if one.name == "terms"]
    assert "`mse_loss`" in line.said
    assert not line.good
    assert "loss-terms-imbalanced" in [finding.rule for finding in found.findings]
    assert "gradient through `cross_entropy` / through `mse_loss`" in str(found)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
