"""Crashes beside a layer's input, in compiled models, and those that are known by their words."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crashing import failed
from stethoscope.observe.preflight.crash import crash_of
from stethoscope.observe.preflight.known import of_gradients
from stethoscope.observe.training.models import ModelBook

X = torch.randn(4, 7, 16)


def attention(*, batch_first: bool = True) -> nn.MultiheadAttention:
    return nn.MultiheadAttention(16, 2, batch_first=batch_first)


MASKS: dict[str, tuple[str, tuple[int, ...], str]] = {
    "padding, turned": ("key_padding_mask", (7, 4), "key_padding_mask=mask.T"),
    "padding, with an axis of heads": ("key_padding_mask", (4, 1, 7), "key_padding_mask=mask.reshape(4, 7)"),
    "padding as mask of pairs": ("attn_mask", (4, 7), "key_padding_mask=mask"),
    "pairs of each sample": ("attn_mask", (4, 7, 7), "attn_mask=mask.repeat_interleave(2, 0)"),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_that_does_not_fit_is_mended(name: str) -> None:
    word, shape, fix = MASKS[name]
    mask, layer = torch.zeros(shape, dtype=torch.bool), attention()
    crash = failed(lambda: layer(X, X, X, **{word: mask}))
    assert crash.fix.startswith(fix)
    given = eval(f"dict({crash.fix.partition('#')[0]})", {"mask": mask})
    assert layer(X, X, X, **given)[0].shape == X.shape
    assert str(shape) in crash.why


@pytest.mark.parametrize(("word", "shape"), [("key_padding_mask", (4, 7)), ("attn_mask", (7, 7))])
def test_a_mask_for_samples_first_tells_of_the_layers_order(word: str, shape: tuple[int, ...]) -> None:
    mask = torch.zeros(shape, dtype=torch.bool)
    crash = failed(lambda: attention(batch_first=False)(X, X, X, **{word: mask}))
    assert crash.fix.startswith("batch_first=True")
    assert attention()(X, X, X, **{word: mask})[0].shape == X.shape


def test_a_mask_of_no_known_shape_gets_no_change() -> None:
    crash = failed(lambda: attention()(X, X, X, attn_mask=torch.zeros(5, 5)))
    assert (crash.fix, crash.expected) == ("", "`attn_mask` (7, 7), or (8, 7, 7) for each sample and head")


def test_a_mask_of_whole_numbers_is_told_with_both_meanings() -> None:
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 1)
    mask = torch.ones(4, 7, dtype=torch.long)
    crash = failed(lambda: model(X, src_key_padding_mask=mask))
    assert crash.kind == "TransformerEncoder"
    for line in crash.fix.splitlines():
        scope = {"src_key_padding_mask": mask}
        exec(line, scope)
        assert scope["src_key_padding_mask"].dtype == torch.bool


STATES: dict[str, tuple[nn.Module, Tensor, Any]] = {
    "a smaller last batch": (nn.GRU(4, 8, batch_first=True), torch.randn(5, 6, 4), torch.zeros(1, 32, 8)),
    "time first": (nn.GRU(4, 8), torch.randn(6, 5, 4), torch.zeros(1, 6, 8)),
    "too few layers": (nn.RNN(4, 8, num_layers=2, batch_first=True), torch.randn(5, 6, 4), torch.zeros(1, 5, 8)),
    "both directions": (nn.GRU(4, 8, bidirectional=True), torch.randn(6, 5, 4), torch.zeros(1, 5, 8)),
    "no axis of layers": (nn.LSTM(4, 8), torch.randn(6, 5, 4), (torch.zeros(5, 8), torch.zeros(5, 8))),
    "projected": (nn.LSTM(4, 8, proj_size=3), torch.randn(6, 5, 4), (torch.zeros(1, 5, 8), torch.zeros(1, 5, 8))),
    "a cell": (nn.LSTMCell(4, 8), torch.randn(5, 4), (torch.zeros(9, 8), torch.zeros(9, 8))),
}


@pytest.mark.parametrize("name", STATES)
def test_a_state_that_does_not_fit_is_made_anew(name: str) -> None:
    layer, x, state = STATES[name]
    crash = failed(lambda: layer(x, state))
    scope: dict[str, Any] = {"torch": torch, "x": x}
    exec(crash.fix, scope)
    layer(x, scope["state"])
    assert "samples" in crash.expected


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(6), nn.BatchNorm2d(6)])
def test_a_batch_of_one_is_told_with_what_helps(layer: nn.Module) -> None:
    crash = failed(lambda: layer(torch.randn(1, 6, *((1, 1) if isinstance(layer, nn.BatchNorm2d) else ()))))
    assert "drop_last=True" in crash.fix
    assert "model.eval()" in crash.fix
    assert "single sample" in crash.why


def test_a_layer_that_is_given_what_a_recurrent_one_returns_is_told() -> None:
    crash = failed(lambda: nn.Sequential(nn.LSTM(4, 8), nn.Linear(8, 2))(torch.randn(5, 6, 4)))
    assert (crash.module, crash.expected) == ("1", "(..., 8)")
    assert "a tuple of 2" in crash.why


@pytest.mark.parametrize("x", [np.zeros((3, 4)), [[0.0] * 4]])
def test_numbers_that_are_no_tensor_are_made_one(x: Any) -> None:
    crash = failed(lambda: nn.Linear(4, 2)(x))
    scope: dict[str, Any] = {"torch": torch, "x": x}
    exec(crash.fix, scope)
    assert nn.Linear(4, 2)(scope["x"]).shape[1] == 2


LABELS = torch.arange(8) % 3
LOSSES: dict[str, tuple[Callable[..., Any], Tensor, Tensor, dict[str, Any], str, str]] = {
    "one-hot labels": (F.cross_entropy, torch.randn(8, 3), F.one_hot(LABELS, 3), {}, "a 1 for the class", "target = "),
    "labels of words": (F.cross_entropy, torch.randn(8, 3), LABELS.reshape(2, 4), {}, "below the other", "target = "),
    "weights of other classes": (
        F.cross_entropy, torch.randn(8, 3), LABELS, {"weight": torch.ones(4)}, "there are 3 classes", "",
    ),
    "weights of another type": (
        F.cross_entropy, torch.randn(8, 3), LABELS, {"weight": torch.ones(3).double()}, "float64", "weight=",
    ),
    "weights of other outputs": (
        F.binary_cross_entropy_with_logits, torch.randn(8, 3), torch.ones(8, 3), {"pos_weight": torch.ones(4)},
        "(4,)", "",
    ),
    "two outputs for two classes": (
        F.binary_cross_entropy_with_logits, torch.randn(8, 2), (LABELS > 0).float(), {}, "two classes",
        "nn.functional.",
    ),
    "rows of parts of samples": (F.cross_entropy, torch.randn(32, 3), LABELS, {}, "32 rows for 8 targets. A", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_names_what_does_not_fit_beside_output_and_target(name: str) -> None:
    loss, output, target, words, why, fix = LOSSES[name]
    crash = failed(lambda: loss(output, target, **words))
    assert crash.during == "loss"
    assert why in crash.why
    assert crash.fix.startswith(fix)
    assert bool(crash.fix) == bool(fix)
    scope: dict[str, Any] = {"nn": nn, "torch": torch, "output": output, "target": target, **words}
    if fix == "nn.functional.":
        assert eval(crash.fix, scope).isfinite()
    elif fix:
        exec(crash.fix, scope)
        assert loss(output, scope["target"], **{word: scope[word] for word in words}).isfinite()


# Compiled models


class Narrow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(6, 6), nn.Linear(9, 6)])

    def forward(self, x: Tensor, *, add: bool = False) -> Tensor:
        print("never twice")
        for block in self.blocks:
            x = x + torch.zeros(5) if add else block(x)  # here
        return x


@pytest.mark.parametrize("in_place", [False, True])
def test_a_compiled_model_is_explained_by_its_own_layers(in_place: bool, capsys: pytest.CaptureFixture[str]) -> None:
    model: Any = Narrow()
    if in_place:
        model.compile(backend="eager")
    else:
        model = torch.compile(model, backend="eager")
    logging.disable(logging.CRITICAL)
    try:
        crash = failed(lambda: model(torch.zeros(8, 6)))
        line = failed(lambda: model(torch.zeros(8, 6), add=True))
    finally:
        logging.disable(logging.NOTSET)
    assert (crash.during, crash.module, crash.kind, crash.expected) == ("layer", "blocks.1", "Linear", "(..., 9)")
    assert (crash.error, crash.input_shapes, crash.fix) == ("RuntimeError", ((8, 6),), "nn.Linear(6, 6)")
    assert crash.site is not None
    assert crash.site.text.endswith("# here")
    assert line.why.startswith("In `x + torch.zeros(5)` `x` is (8, 6) float32 and `torch.zeros(5)` is (5,)")
    assert capsys.readouterr().out.count("never twice") == 2  # once for each call


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.words(x).mean(1)  # of the words


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_what_a_compiled_model_fails_on_while_it_runs_is_found_with_its_values(backend: str) -> None:
    model = torch.compile(Words(), backend=backend)
    logging.disable(logging.CRITICAL)
    try:
        model(torch.ones(3, 5, dtype=torch.long))
        crash = failed(lambda: model(torch.full((3, 5), 10)))
    finally:
        logging.disable(logging.NOTSET)
    assert (crash.module, crash.kind, crash.fix) == ("words", "Embedding", "nn.Embedding(11, 4)")
    assert crash.site is not None
    assert crash.site.text.endswith("# of the words")


def test_what_a_compiler_says_of_itself_keeps_its_words_and_the_users_line() -> None:
    @torch.compile(backend="eager", fullgraph=True)
    def step(x: Tensor) -> Tensor:
        return x + torch.zeros(5)  # of the function

    logging.disable(logging.CRITICAL)
    try:
        crash = failed(lambda: step(torch.zeros(4)))
    finally:
        logging.disable(logging.NOTSET)
    assert crash.site is not None
    assert crash.site.text.endswith("# of the function")
    assert crash.error == "RuntimeError"
    assert "Dynamo" not in crash.message
    assert crash.fix == ""


# Known by their words


def test_a_weight_that_was_stepped_between_two_backward_passes_is_told() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 1)
    optimizer, book = torch.optim.SGD(second.parameters(), 0.1), ModelBook()
    book.add_root(second, None)
    out = second(first(torch.randn(3, 4)))
    out.sum().backward(retain_graph=True)
    optimizer.step()
    crash = failed(out.pow(2).sum().backward, book)
    assert "`step()` ran between" in crash.why
    assert crash.fix.splitlines()[-1] == "second_optimizer.step()"


def test_the_operation_whose_result_was_changed_is_named() -> None:
    made = torch.sigmoid(torch.ones(3, 4, requires_grad=True))
    loss = made.sum()
    made += 1
    crash = failed(loss.backward)
    assert crash.why.startswith("What `sigmoid` gave, (3, 4), is needed")


def test_a_turned_weight_that_nobody_knows_is_not_called_one() -> None:
    message = "modified by an inplace operation: [torch.FloatTensor [4, 1]], which is output 0 of TBackward0, is"
    assert "step()" not in of_gradients(message, [(3, 3)])[0]
    assert "step()" in of_gradients(message, [(1, 4)])[0]


def test_a_weight_changed_in_place_is_told_with_the_block_around_it() -> None:
    layer = nn.Linear(2, 2)

    def change() -> None:
        layer.weight.mul_(0.5)

    crash = failed(change)
    scope = {"torch": torch, "weight": layer.weight}
    exec(crash.fix, scope)
    assert crash.site is not None
    assert crash.site.text == "layer.weight.mul_(0.5)"


def test_numpy_is_given_a_value() -> None:
    crash = failed(lambda: nn.Linear(2, 2)(torch.zeros(1, 2)).numpy())
    assert crash.fix.startswith(".detach().cpu().numpy()")

    class Net(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return x.numpy()

    assert failed(lambda: Net()(torch.zeros(2, requires_grad=True))).fix == crash.fix


def test_an_optimizer_of_nothing_or_of_a_model_is_told() -> None:
    assert "plain list" in failed(lambda: torch.optim.Adam([])).why
    crash = failed(lambda: torch.optim.Adam(nn.Linear(2, 2)))  # type: ignore[arg-type]
    assert (crash.kind, crash.fix) == ("Adam", "torch.optim.Adam(model.parameters(), ...)")


def test_saved_weights_of_other_sizes_name_both() -> None:
    crash = failed(lambda: nn.Linear(3, 2).load_state_dict(nn.Linear(4, 2).state_dict()))
    assert (crash.expected, crash.input_shapes) == ("(2, 3)", ((2, 4),))
    assert "`weight` was saved as (2, 4), and is (2, 3)" in crash.why


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_saved_names_of_a_wrapper_are_cut(prefix: str) -> None:
    model = nn.Linear(3, 2)
    state = {prefix + name: value for name, value in model.state_dict().items()}
    crash = failed(lambda: model.load_state_dict(state))
    scope: dict[str, Any] = {"state": state}
    exec(crash.fix, scope)
    model.load_state_dict(scope["state"])


def test_a_whole_checkpoint_is_told_from_the_models_state() -> None:
    model = nn.Linear(3, 2)
    checkpoint = {"epoch": 3, "model_state_dict": model.state_dict(), "optimizer": {}}
    crash = failed(lambda: model.load_state_dict(checkpoint))  # type: ignore[arg-type]
    eval(crash.fix, {"model": model, "checkpoint": checkpoint})


def test_a_part_that_holds_the_model_is_told_where_torch_never_ends() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    model[0].parent = model
    crash = failed(model.train)
    assert "`0.parent` holds itself" in crash.why


def test_an_endless_call_of_the_users_is_its_own() -> None:
    def endless() -> None:
        endless()

    with pytest.raises(RecursionError) as caught:
        endless()
    assert crash_of(caught.value) is None
