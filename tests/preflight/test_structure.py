"""What the structure of a model says of itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stethoscope.facts.model import Structure
from stethoscope.observe.preflight.given import given
from stethoscope.observe.preflight.structure import structure_of

X = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))


def structure(model: nn.Module, x: Tensor = X) -> Structure:
    return structure_of(given(model, lambda out, y: out.square().mean(), (x, x), None).subject())


def links(model: nn.Module) -> list[tuple[str, str]]:
    return [(link.first, link.second) for link in structure(model).links]


def test_the_table_has_shapes_parameters_and_types() -> None:
    parts = {part.name: part for part in structure(nn.Sequential(nn.Linear(16, 4), nn.ReLU())).parts}

    linear = parts["0"]
    assert (linear.kind, linear.input_shapes, linear.output_shapes) == ("Linear", ((8, 16),), ((8, 4),))
    assert (linear.parameters, linear.trainable, linear.dtype) == (68, 68, "float32")
    assert linear.output_bytes == 8 * 4 * 4
    assert parts["1"].order > linear.order


def test_a_frozen_layer_is_not_trainable_and_one_that_is_never_called_has_no_place() -> None:
    model = nn.Sequential(nn.Linear(16, 4), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    model.spare = nn.Linear(3, 3)
    model.forward = lambda x: model[1](model[0](x))  # type: ignore[method-assign]
    parts = {part.name: part for part in structure(nn.Sequential(nn.Linear(16, 4), nn.ReLU())).parts}
    assert parts["0"].trainable == 68


def test_linear_layers_in_a_row_are_linked() -> None:
    assert links(nn.Sequential(nn.Linear(16, 8), nn.Linear(8, 4))) == [("0", "1")]


def test_dropout_and_flatten_are_seen_through() -> None:
    model = nn.Sequential(nn.Linear(16, 8), nn.Dropout(0.5), nn.Flatten(), nn.Identity(), nn.Linear(8, 4))
    assert links(model) in ([("0", "4")], [])  # dropout in train mode makes a new tensor
    assert links(nn.Sequential(nn.Linear(16, 8), nn.Flatten(), nn.Linear(8, 4))) == [("0", "2")]


def test_batch_norm_is_seen_through_between_convolutions_and_not_behind_a_linear_layer() -> None:
    image = torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    convolutions = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3))
    active = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3))
    added = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), Added(), nn.Conv2d(4, 4, 3))

    assert [(link.first, link.second, link.through) for link in structure(convolutions, image).links] == [
        ("0", "2", "BatchNorm2d")
    ]
    assert structure(active, image).links == ()
    assert structure(added, image).links == ()
    assert links(nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))) == []


def test_convolutions_along_one_axis_each_are_parts_of_one() -> None:
    image = torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    apart = nn.Sequential(nn.Conv2d(2, 4, (1, 3)), nn.Conv2d(4, 4, (3, 1)))
    assert [link.is_plain for link in structure(apart, image).links] == [False]


class Added(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + x.roll(1, 1)


def test_an_activation_between_them_in_any_form_is_seen() -> None:
    class Net(nn.Module):
        def __init__(self, between: Any) -> None:
            super().__init__()
            self.a, self.b, self.between = nn.Linear(16, 8), nn.Linear(8, 4), between

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.between(self.a(x)))

    for between in (F.relu, nn.ReLU(inplace=True), lambda h: F.relu_(h), lambda h: h.tanh(), lambda h: h * 2 + 1):
        assert links(Net(between)) == []


def test_a_layer_whose_output_goes_elsewhere_as_well_is_not_one_with_the_next() -> None:
    """As in front of a residual block without normalization, or of two heads."""

    class Net(nn.Module):
        def __init__(self, how: str) -> None:
            super().__init__()
            self.how, self.a, self.drop = how, nn.Linear(16, 16), nn.Dropout(0.0)
            self.b, self.c = nn.Linear(16, 16), nn.Linear(16, 16)

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x)
            if self.how == "residual":
                return x + F.relu(self.b(x))
            if self.how == "residual behind dropout":
                return x + F.relu(self.b(self.drop(x).flatten(1)))
            if self.how == "two heads":
                return torch.cat([self.b(x), self.c(x)], 1)
            return F.relu(self.b(self.drop(x)))

    assert links(Net("row")) == [("a", "b")]
    for how in ("residual", "residual behind dropout", "two heads"):
        assert links(Net(how)) == [], how


def test_dropout_that_feeds_batch_norm_is_seen_and_the_other_order_is_not() -> None:
    wrong = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Dropout(0.5), nn.BatchNorm1d(8))
    right = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5))
    none = nn.Sequential(nn.Linear(16, 8), nn.Dropout(0.0), nn.BatchNorm1d(8))

    assert len(structure(wrong).dropped_norms) == 1
    assert structure(right).dropped_norms == structure(none).dropped_norms == ()


def test_layers_in_a_list_are_hidden_and_those_in_a_module_list_are_not() -> None:
    class Net(nn.Module):
        def __init__(self, kind: Any) -> None:
            super().__init__()
            self.layers = kind([nn.Linear(16, 16), nn.Linear(16, 16)])
            self.out = nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = torch.relu(layer(x))
            return self.out(x)

    (hidden,) = structure(Net(list)).hidden
    assert (hidden.attribute, hidden.kind, hidden.what, hidden.values) == ("layers", "list", "2 Linear", 544)
    assert hidden.used
    assert not hidden.trained
    assert structure(Net(nn.ModuleList)).hidden == ()


def test_a_frozen_teacher_in_a_list_is_hidden_on_purpose() -> None:
    model = nn.Sequential(nn.Linear(16, 4))
    model.teacher = [nn.Linear(16, 4).requires_grad_(False)]
    assert structure(model).hidden == ()


def test_one_layer_at_several_places_is_repeated_and_an_activation_is_not() -> None:
    layer, relu = nn.Linear(16, 16), nn.ReLU()
    (repeated,) = structure(nn.Sequential(layer, relu, layer, relu, nn.Linear(16, 2))).repeated
    assert (repeated.kind, repeated.positions) == ("Linear", ("0", "2"))


def test_registered_layers_that_a_list_names_as_well_are_not_hidden() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(16, 8), nn.Linear(8, 4)
            self.order = [self.first, self.last]

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.order:
                x = torch.tanh(layer(x))
            return x

    assert structure(Net()).hidden == ()


def test_tied_weights_count_once_and_a_module_has_all_its_names() -> None:
    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
    model[2].weight = model[0].weight
    model.first = model[0]
    model.forward = lambda x: model[2](model[1](model[0](x)))  # type: ignore[method-assign]
    found = structure(model)
    parts = {part.name: part for part in found.parts}

    assert (parts["2"].parameters, parts["2"].tied) == (272, 256)
    assert found.parameters == found.trainable == 256 + 16 + 16
    assert parts["0"].also == ("first",)
