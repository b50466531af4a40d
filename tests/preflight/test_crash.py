"""A crash is explained: which layer, what it takes, what came, and a change after which the layer computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stethoscope.facts.model import Crash
from stethoscope.observe.preflight.crash import crash_of

X, Y = torch.randn(8, 6), torch.arange(8) % 3
IMAGES = torch.randn(8, 1, 8, 8)


def failed(run: Callable[[], Any], *, always: bool = False) -> Crash | None:
    try:
        run()
    except Exception as error:
        return crash_of(error, always=always)
    raise AssertionError("nothing was raised")


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.fc(x))  # of the block


class Net(nn.Module):
    """A network whose second block is given what it cannot take, or whose own code fails."""

    def __init__(self, how: str = "") -> None:
        super().__init__()
        self.how = how
        self.blocks = nn.ModuleList([Block(6), Block(9 if how == "narrow" else 6)])
        self.weight = nn.Parameter(torch.randn(5, 3))

    def forward(self, x: torch.Tensor) -> Any:
        for block in self.blocks:
            x = block(x)
        if self.how == "asserts":
            assert x.shape[1] == 7, "seven columns"
        if self.how == "looks up":
            return {"a": x}["b"]
        if self.how == "multiplies":
            return x @ self.weight
        if self.how == "asks for cuda":
            return x.to("nowhere")
        return x


def test_the_layer_and_the_line_are_those_in_the_innermost_block() -> None:
    crash = failed(lambda: Net("narrow")(X))
    assert crash is not None
    assert crash.site is not None
    assert (crash.module, crash.kind, crash.expected) == ("blocks.1.fc", "Linear", "(..., 9)")
    assert crash.site.text.endswith("# of the block")
    assert (crash.input_shapes, crash.input_dtypes) == (((8, 6),), ("float32",))


def _conv(**options: Any) -> nn.Module:
    return nn.Conv2d(3, 4, 3, **options)


LAYERS: dict[str, tuple[nn.Module, torch.Tensor]] = {
    "a narrow linear layer": (nn.Linear(7, 4), X),
    "one without a bias": (nn.Linear(7, 4, bias=False), X),
    "nothing flattened": (nn.Linear(64, 4), IMAGES),
    "nothing flattened, and narrow": (nn.Linear(63, 4), IMAGES),
    "double": (nn.Linear(6, 4), X.double()),
    "whole numbers": (nn.Linear(6, 4), X.long()),
    "bytes, not flattened": (nn.Linear(64, 4), IMAGES.byte()),
    "single for a double layer": (nn.Linear(6, 4).double(), X),
    "channels last": (_conv(), torch.randn(8, 9, 9, 3)),
    "other channels": (_conv(stride=2, padding=1), torch.randn(8, 5, 9, 9)),
    "no channel": (nn.Conv2d(1, 4, 3), IMAGES[:, 0]),
    "flat images": (nn.Conv2d(1, 4, 3), IMAGES.flatten(1)),
    "a signal without a channel": (nn.Conv1d(1, 4, 3), torch.randn(8, 20)),
    "a narrow batch norm": (nn.BatchNorm1d(5), X),
    "a batch norm of other axes": (nn.BatchNorm1d(3), torch.randn(8, 3, 5, 5)),
    "a group norm": (nn.GroupNorm(4, 16), torch.randn(2, 12, 6, 6)),
    "a layer norm": (nn.LayerNorm(5), X),
    "a recurrent layer": (nn.LSTM(4, 8, batch_first=True), torch.randn(8, 5, 6)),
    "an attention layer": (nn.MultiheadAttention(8, 2, dropout=0.1, batch_first=True), torch.randn(8, 5, 6)),
    "a small embedding": (nn.Embedding(3, 4, padding_idx=0), torch.tensor([[0, 5]])),
    "float indices": (nn.Embedding(9, 4), torch.tensor([[0.0, 5.0]])),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("in_list", [False, True])
def test_the_change_that_is_proposed_cures_the_crash(name: str, in_list: bool) -> None:
    layer, x = LAYERS[name]
    args = (x, x, x) if isinstance(layer, nn.MultiheadAttention) else (x,)
    model = nn.Sequential(layer) if in_list and len(args) == 1 else layer
    crash = failed(lambda: model(*args))
    assert crash is not None
    assert crash.input_shapes == (tuple(x.shape),)
    assert crash.fix, crash
    assert _cured(crash.fix, layer, args)


def _cured(fix: str, layer: nn.Module, args: tuple[torch.Tensor, ...]) -> bool:
    """Carries the proposed lines out."""
    known: dict[str, Any] = {"nn": nn, "torch": torch, "x": args[0]}
    for line in fix.splitlines():
        code = line.partition("#")[0].strip().rstrip(",")
        if code.startswith("nn.Flatten"):
            known["x"] = known["x"].flatten(1)
        elif code.startswith("nn."):
            layer = eval(code, known).to(next(layer.parameters()).dtype)
        else:
            exec(code, known)
    layer(*[known["x"]] * len(args))
    return True


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (nn.Conv2d(1, 4, 11), IMAGES),
        (nn.Embedding(9, 4), torch.tensor([[-1, 5]])),
        (nn.Embedding(9, 4), torch.tensor([[0.5, 5.0]])),
        (nn.MultiheadAttention(8, 2), torch.randn(8, 5, 7)),
        (nn.Conv2d(6, 4, 3, groups=2), torch.randn(8, 5, 9, 9)),
    ],
    ids=["kernel", "negative", "fractions", "attention", "groups"],
)
def test_where_no_change_is_known_none_is_proposed(layer: nn.Module, x: torch.Tensor) -> None:
    args = (x, x, x) if isinstance(layer, nn.MultiheadAttention) else (x,)
    crash = failed(lambda: layer(*args))
    assert crash is not None
    assert not crash.fix


LOSSES: dict[str, tuple[Any, torch.Tensor, torch.Tensor]] = {
    "float labels": (F.cross_entropy, torch.randn(8, 3), Y.float()),
    "short integers": (F.cross_entropy, torch.randn(8, 3), Y.to(torch.int32)),
    "a column of labels": (nn.CrossEntropyLoss(), torch.randn(8, 3), Y[:, None]),
    "labels from 1": (F.nll_loss, torch.randn(8, 3), Y + 1),
    "classes on the last axis": (F.cross_entropy, torch.randn(4, 5, 20), torch.randint(20, (4, 5))),
    "whole numbers": (nn.BCEWithLogitsLoss(), torch.randn(8), (Y > 0).long()),
    "a missing axis": (F.binary_cross_entropy_with_logits, torch.randn(8, 1), (Y > 0).float()),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_change_of_a_target_cures_the_loss(name: str) -> None:
    loss, output, target = LOSSES[name]
    crash = failed(lambda: loss(output, target))
    assert crash is not None
    assert (crash.during, crash.module) == ("loss", "")
    known = {"output": output, "target": target, "torch": torch}
    exec(crash.fix, known)
    assert loss(known["output"], known["target"]).isfinite()


@pytest.mark.parametrize(
    ("output", "target"),
    [(torch.randn(8, 3), Y + 3), (torch.randn(8, 3), torch.randn(8, 4)), (torch.randn(8, 3), Y - 2)],
    ids=["too large", "other classes", "below 0"],
)
def test_labels_that_no_change_repairs(output: torch.Tensor, target: torch.Tensor) -> None:
    crash = failed(lambda: F.cross_entropy(output, target))
    assert crash is not None
    assert not crash.fix
    assert crash.why


def test_an_output_that_is_a_tuple_is_said_so() -> None:
    crash = failed(lambda: F.cross_entropy((torch.randn(8, 3), 1), Y))  # type: ignore[arg-type]
    assert crash is not None
    assert "tuple" in crash.why


def test_the_tensors_on_a_failing_line_are_named() -> None:
    crash = failed(lambda: Net("multiplies")(X))
    assert crash is not None
    assert "`x` is (8, 6)" in crash.why
    assert "`self.weight` is (5, 3)" in crash.why


@pytest.mark.parametrize("how", ["asserts", "looks up"])
def test_the_users_own_exceptions_are_not_put_on_shapes(how: str) -> None:
    crash = failed(lambda: Net(how)(X))
    assert crash is not None
    assert (crash.during, crash.why, crash.fix, crash.expected) == ("code", "", "", "")


def test_a_missing_device_is_named() -> None:
    crash = failed(lambda: Net("asks for cuda")(X))
    assert crash is not None
    assert crash.during == "device"


def test_a_missing_device_is_named_outside_of_models_too() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is such a device here")
    crash = failed(lambda: nn.Linear(2, 2).to("cuda"))
    assert crash is not None
    assert crash.site is not None
    assert crash.during == "device"
    assert "is_available" in crash.fix


def test_what_a_module_was_given_is_what_it_was_called_with() -> None:
    """And not what its code has put under that name since."""

    class Flat(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.flatten(1)
            return x @ torch.randn(3, 3)

    crash = failed(lambda: Flat()(IMAGES))
    assert crash is not None
    assert crash.input_shapes == ((8, 1, 8, 8),)


def test_attention_whose_mask_does_not_fit_is_not_put_on_its_width() -> None:
    layer, x = nn.MultiheadAttention(6, 2, batch_first=True), torch.randn(8, 5, 6)
    crash = failed(lambda: layer(x, x, x, key_padding_mask=torch.zeros(5, 8, dtype=torch.bool)))
    assert crash is not None
    assert crash.expected == "`key_padding_mask` (8, 5): samples, positions"
    assert (crash.fix, crash.input_shapes) == ("key_padding_mask=mask.T", ((8, 5, 6),))


def test_attention_names_the_width_of_each_of_its_three() -> None:
    layer, x, memory = nn.MultiheadAttention(6, 2, kdim=4, vdim=4), torch.randn(8, 5, 6), torch.randn(7, 5, 3)
    crash = failed(lambda: layer(x, memory, memory))
    assert crash is not None
    assert crash.expected == "query (..., 6), key (..., 4), value (..., 4)"
    assert crash.input_shapes == ((8, 5, 6), (7, 5, 3), (7, 5, 3))


def test_wrong_arguments_name_the_parameters() -> None:
    crash = failed(lambda: Net()(X, X))
    assert crash is not None
    assert (crash.during, crash.expected) == ("call", "forward(x)")


def test_a_change_in_place_is_told_in_the_backward_pass() -> None:
    weight = torch.ones(3, requires_grad=True)
    made = torch.sigmoid(weight)
    loss = made.sum()
    made += 1
    crash = failed(loss.backward)
    assert crash is not None
    assert crash.during == "backward"
    assert "in place" in crash.why
    assert "in place of" in crash.fix


def test_what_is_kept_from_the_last_step_is_to_be_detached() -> None:
    weight = torch.ones(3, requires_grad=True)
    loss = weight.exp().sum()
    loss.backward()
    crash = failed(loss.backward)
    assert crash is not None
    assert crash.fix.startswith("state = state.detach()")


@pytest.mark.parametrize(
    "run",
    [lambda: {}["pixels"], lambda: X @ torch.randn(4, 4), lambda: F.one_hot(Y - 5, 3), lambda: X.to("nowhere")],
    ids=["a key", "a product", "an encoding", "a device"],
)
def test_what_is_raised_outside_of_models_and_losses_is_not_explained(run: Callable[[], Any]) -> None:
    assert failed(run) is None
    crash = failed(run, always=True)
    assert crash is not None
    assert crash.during == "training"


def test_tensors_that_cannot_be_read_any_more_leave_the_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on an accelerator after a failed assertion: whoever reads a value gets the next exception."""

    def unreadable(*_: Any) -> Any:
        raise RuntimeError("CUDA error: device-side assert triggered")

    for name in ("max", "min"):
        monkeypatch.setattr(torch.Tensor, name, unreadable)
    crash = failed(lambda: nn.Embedding(10, 4)(torch.tensor([12])))

    assert crash is not None
    assert (crash.error, crash.during) == ("IndexError", "training")
