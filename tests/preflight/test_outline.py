"""Models that cannot be copied: what a pass without values shows of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import stethoscope
from stethoscope.checking import Checked, check_script
from stethoscope.core.errors import UsageError
from stethoscope.core.settings import Settings
from stethoscope.facts.model import Preflight, Structure
from stethoscope.observe.model.hollow import hollow
from stethoscope.observe.preflight.given import given
from stethoscope.observe.preflight.structure import structure_of

X = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 3
CE = F.cross_entropy


def net(width: int = 32, first: int = 16) -> nn.Sequential:
    return nn.Sequential(nn.Linear(first, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, 3))


def empty(**sizes: int) -> nn.Module:
    with torch.device("meta"):
        return net(**sizes)


def preflight(checked: Checked) -> Preflight:
    return checked.history.preflight


def structure(checked: Checked) -> Structure:
    assert preflight(checked).structure is not None
    return preflight(checked).structure


def test_a_model_on_meta_gets_its_table_and_each_experiment_says_why_it_was_left_out() -> None:
    checked = stethoscope.check(empty(), CE, (X, Y))
    known = structure_of(given(net(), CE, (X, Y), None).subject())
    table = [(p.name, p.kind, p.input_shapes, p.output_shapes, p.parameters, p.dtype, p.order) for p in known.parts]
    found = structure(checked)

    assert [
        (p.name, p.kind, p.input_shapes, p.output_shapes, p.parameters, p.dtype, p.order) for p in found.parts
    ] == table
    assert [p.output_bytes for p in found.parts] == [p.output_bytes for p in known.parts]
    assert {p.device for p in found.parts} == {"meta"}
    first, *others = checked.experiments
    assert (first.name, first.why_not) == ("structure", "")
    assert first.said.endswith("shapes of a pass without values")
    assert {one.why_not for one in others} == {"parameters of the model are on the device `meta` and hold no values"}
    assert checked.ok


def test_one_line_says_why_so_many_were_left_out() -> None:
    shown = str(stethoscope.check(empty(), CE, (X, Y)))
    assert shown.count("hold no values") == 1
    assert "16 experiments" in shown


def test_what_is_odd_about_the_structure_is_seen_without_values() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(16, 8), nn.Linear(8, 3))
    assert [(link.first, link.second) for link in structure(stethoscope.check(model, CE, (X, Y))).links] == [("0", "1")]


def test_a_layer_that_does_not_fit_is_explained() -> None:
    checked = stethoscope.check(empty(width=31), CE, (X, Y))
    (finding,) = checked.findings
    assert finding.rule == "forward-crash"
    assert "`4` (Linear)" in finding.title
    assert "nn.Linear(32, 3)" in finding.fixes[0].text
    assert not checked.experiments[0].good


def test_a_type_that_does_not_fit_is_explained() -> None:
    (finding,) = stethoscope.check(empty(), CE, (X.double(), Y)).findings
    assert finding.rule == "forward-crash"
    assert "x.to(torch.float32)" in finding.fixes[0].text


def test_a_loss_that_does_not_fit_is_explained() -> None:
    (finding,) = stethoscope.check(empty(), CE, (X, Y[:5])).findings
    assert "`cross_entropy`" in finding.title


class Asks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(16, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        out: Tensor = self.last(hidden if hidden.sum() > 0 else -hidden)
        return out


def test_code_that_asks_for_values_is_no_crash() -> None:
    with torch.device("meta"):
        model = Asks()
    checked = stethoscope.check(model, CE, (X, Y))
    parts = {part.name: part for part in structure(checked).parts}

    assert checked.findings == ()
    assert "asks for the values of tensors" in checked.experiments[0].said
    assert parts["first"].output_shapes == ((8, 8),)
    assert (parts["last"].order, parts["last"].parameters) == (-1, 27)


def test_a_closure_and_an_own_loss_are_taken_as_well() -> None:
    closure = stethoscope.check(empty(), lambda model, batch: CE(model(batch[0]), batch[1]), [(X, Y)])
    assert closure.ok
    assert structure(closure).parameters == 32 * 17 + 64 + 33 * 3
    with pytest.raises(UsageError, match="returns none"):
        stethoscope.check(empty(), None, X)


@pytest.mark.parametrize("known", [True, False])
def test_a_model_for_whose_copies_there_is_no_room_is_not_copied(known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stethoscope.observe.preflight.given.free_memory", lambda device: 20_000 if known else None)
    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    checked = stethoscope.check(model, CE, (X, Y), profile="quick")

    assert (checked.experiments[1].why_not == "") != known
    if known:
        assert checked.experiments[1].why_not == (
            "the model takes 3.1 kB, copies that are trained 8 times as much, and 20 kB are free"
        )
        assert {part.device for part in structure(checked).parts if part.parameters} == {"cpu"}
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_copy_without_values_shares_what_the_model_shares() -> None:
    model = net()
    model[4].weight = nn.Parameter(torch.zeros(3, 32))
    model.tied = nn.Linear(32, 3)
    model.tied.weight = model[4].weight
    model.kept = [model[0].weight, torch.zeros(5)]
    new = hollow(model).model

    assert new.tied.weight is new[4].weight
    assert new.kept[0] is new[0].weight
    assert type(new.kept[1]) is type(new[0].weight.data)
    assert [p.requires_grad for p in new.parameters()] == [p.requires_grad for p in model.parameters()]


SCRIPT = """
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(16, 8), nn.Linear(8, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(4):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(torch.randn(8, 16)), torch.arange(8) % 3)
    loss.backward()
    optimizer.step()
"""


def made_of(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Preflight:
    monkeypatch.chdir(folder)
    (folder / "train.py").write_text(script)
    ran: Any = check_script("train.py", [], module=False, settings=Settings(), profile="quick", quiet=True)
    preflight: Preflight = ran.history.preflight
    return preflight


def test_a_large_model_of_a_script_gets_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stethoscope.experiments.MODEL_ROOM", 100)
    made = made_of(SCRIPT, tmp_path, monkeypatch)

    assert made.structure is not None
    assert [(part.name, part.output_shapes) for part in made.structure.parts[1:]] == [
        ("0", ((8, 8),)), ("1", ((8, 3),)),
    ]  # fmt: skip
    assert len(made.structure.links) == 1
    assert {one.why_not for one in made.experiments[1:] if one.name != "terms"} == {
        "the model takes 652 B, more than is copied"
    }


TWO_MODELS = """
import torch
from torch import nn


class Generator(nn.Sequential):
    pass


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(4, 8), nn.Tanh()]
        self.out = nn.Linear(8, 1)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.out(x)


torch.manual_seed(0)
generator, critic = Generator(nn.Linear(2, 8), nn.Linear(8, 4)), Critic()
of_generator = torch.optim.Adam(generator.parameters())
of_critic = torch.optim.Adam(critic.parameters())
for _ in range(4):
    made = generator(torch.randn(8, 2))
    of_critic.zero_grad()
    (critic(made.detach()).mean() - critic(torch.randn(8, 4)).mean()).backward()
    of_critic.step()
    of_generator.zero_grad()
    (-critic(made).mean()).backward()
    of_generator.step()
"""


def test_each_of_several_models_of_a_script_gets_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = made_of(TWO_MODELS, tmp_path, monkeypatch)
    found = made.structure

    assert found is not None
    assert {part.name: part.output_shapes for part in found.parts} == {
        "Generator": ((8, 4),), "Generator.0": ((8, 8),), "Generator.1": ((8, 4),),
        "Critic": ((8, 1),), "Critic.out": ((8, 1),),
    }  # fmt: skip
    assert [(link.first, link.second) for link in found.links] == [("Generator.0", "Generator.1")]
    assert [(each.owner, each.attribute, each.used, each.trained) for each in found.hidden] == [
        ("Critic", "layers", True, False)
    ]
    assert made.experiments[0].why_not == ""
    assert all(one.why_not for one in made.experiments[1:])


def test_a_loss_put_together_by_hand_leaves_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = SCRIPT.replace("    loss.backward()", "    (loss + model[0].weight.square().sum()).backward()")
    made = made_of(script, tmp_path, monkeypatch)

    assert made.structure is not None
    assert made.structure.parameters == 16 * 8 + 8 + 8 * 3 + 3
    assert {one.why_not for one in made.experiments[1:] if one.name != "terms"} == {
        "more than the value of one loss function is backpropagated"
    }
