"""What fits where no single layer failed: proposals are carried out, and then nothing is raised."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from crashing import failed
from stethoscope.observe.preflight.crash import crash_of
from stethoscope.observe.preflight.fitting import of_memory
from stethoscope.observe.training.models import ModelBook


class OnALine(nn.Module):
    """One line of its own fails."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(64, 6))
        self.tail = nn.Parameter(torch.zeros(3))
        self.weight = nn.Parameter(torch.randn(5, 6))

    def forward(self, how: str, x: Tensor, y: Tensor) -> Tensor:
        if how == "adds":
            return x + self.position
        if how == "adds a shorter one":
            return x + self.tail
        if how == "multiplies":
            return x @ self.weight
        return torch.cat([x, y], dim=1)


@pytest.mark.parametrize(
    ("how", "x", "y", "why", "fix"),
    [
        ("adds", torch.zeros(2, 48, 6), torch.zeros(1), "48 entries", "self.position[: x.shape[1]]"),
        ("adds a shorter one", torch.zeros(2, 6), torch.zeros(1), "has 3", ""),
        ("multiplies", torch.zeros(2, 6), torch.zeros(1), "the wrong way round", "self.weight.T"),
        ("joins", torch.zeros(2, 1, 8, 8), torch.zeros(2, 3, 6, 6), "(2, 3, 6, 6)", "size=x.shape[2:]"),
        ("joins", torch.zeros(2, 1, 8), torch.zeros(3, 1, 8), "cannot take these", ""),
    ],
)
def test_what_fits_on_a_line(how: str, x: Tensor, y: Tensor, why: str, fix: str) -> None:
    model = OnALine()
    crash = failed(lambda: model(how, x, y))
    assert why in crash.why
    assert fix in crash.fix
    assert bool(fix) == bool(crash.fix)
    if how == "joins" and fix:
        scope = {"nn": nn, "x": x, "y": y}
        exec(crash.fix, scope)
        assert model(how, x, scope["y"]).shape == (2, 4, 8, 8)  # type: ignore[arg-type]
    elif fix:
        code = crash.fix.partition("#")[0]
        fitting = eval(code, {"self": model, "x": x})
        assert (x @ fitting if how == "multiplies" else x + fitting).shape[0] == 2


class Ragged(Dataset[Any]):
    def __init__(self, sizes: tuple[int, ...] = (), odd: Any = None) -> None:
        self.sizes, self.odd = sizes, odd

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[Any, int]:
        if self.odd is not None:
            return self.odd, 0
        return torch.zeros(10 + index % 3, *self.sizes[: index % 3]), 0


@pytest.mark.parametrize("workers", [0, 1])
def test_samples_of_different_lengths_name_the_data_set_and_are_padded(workers: int) -> None:
    data = Ragged()
    crash = failed(lambda: next(iter(DataLoader(data, 4, num_workers=workers))))
    assert (crash.during, crash.kind, crash.input_shapes) == ("data", "Ragged", ((10,), (11,)))
    scope = {"nn": nn, "torch": torch, "DataLoader": DataLoader, "data": data}
    exec(crash.fix, scope)
    inputs, targets = next(iter(DataLoader(data, 4, collate_fn=scope["collate"])))  # type: ignore[arg-type]
    assert inputs.shape == (4, 12)
    assert targets.tolist() == [0] * len(targets)


def test_a_worker_that_cannot_stack_is_understood_by_its_own_words() -> None:
    """It stacks in shared memory, and so fails with words that name no shape."""
    rows = [(torch.zeros(6 if i else 7), 1) for i in range(8)]
    crash = failed(lambda: next(iter(DataLoader(rows, 8, num_workers=1))))  # type: ignore[arg-type]
    assert crash is not None
    assert (crash.during, crash.kind, crash.expected) == ("data", "list", "tensors of one shape")
    assert crash.message == "Trying to resize storage that is not resizable"


def test_samples_that_padding_does_not_cure_get_no_such_change() -> None:
    crash = failed(lambda: next(iter(DataLoader(Ragged((2, 3)), 4))))
    assert "one size" in crash.why
    assert not crash.fix


def test_a_sample_that_is_no_tensor_is_named() -> None:
    crash = failed(lambda: next(iter(DataLoader(Ragged(odd=object()), 4))))
    assert "`object`" in crash.why


def test_a_data_sets_own_error_is_its_own() -> None:
    class Broken(Ragged):
        def __getitem__(self, index: int) -> Any:
            raise RuntimeError("stack expects each tensor to be equal size, but who asks")

    with pytest.raises(RuntimeError) as caught:
        next(iter(DataLoader(Broken(), 4)))
    assert crash_of(caught.value) is None


def test_memory_that_is_missing_is_told_in_bytes_and_samples() -> None:
    batch = torch.zeros(64, 3)
    cpu = of_memory("can't allocate memory: you tried to allocate 17179869184 bytes. Error code 12", [batch])
    assert cpu.why == "It asks for 17 GB at once, for a batch of 64 samples."
    assert cpu.fix.startswith("batch_size=32")
    assert "2.1 GB" in of_memory("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0", [batch]).why
    assert not of_memory("out of memory", []).fix


def test_weights_without_values_are_told_by_their_device() -> None:
    crash = failed(lambda: nn.Linear(3, 2, device="meta")(torch.zeros(4, 3)))
    assert crash.expected == "(..., 3) on cpu"
    assert "to_empty(device='cpu')" in crash.fix


class Reader(nn.Module):
    """Built like a model of a library's."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(n_positions=8)
        self.words = nn.Embedding(20, 4)
        self.places = nn.Embedding(8, 4)

    def get_input_embeddings(self) -> nn.Module:
        return self.words

    def resize_token_embeddings(self, count: int) -> None:
        self.words = nn.Embedding(count, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.words(tokens) + self.places(torch.arange(tokens.shape[1]))


def test_a_text_that_is_too_long_is_told_by_the_models_own_number() -> None:
    crash = failed(lambda: Reader()(torch.zeros(2, 9, dtype=torch.long)))
    assert crash.module == "places"
    assert "9 tokens" in crash.why
    assert "max_length=8" in crash.fix


def test_a_word_without_a_row_is_told_as_one() -> None:
    crash = failed(lambda: Reader()(torch.full((2, 4), 25)))
    assert crash.module == "words"
    assert "resize_token_embeddings" in crash.fix


def test_the_layer_that_gave_it_is_named_where_its_size_agrees() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2))
            self.head = nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(x).flatten(1))

    model, book = Net(), ModelBook()
    book.add_root(model, None)
    book.called(model.body[0], torch.zeros(4, 2, 6, 6))
    book.called(model.body[1], torch.zeros(4, 2, 3, 3))
    crash = failed(lambda: model(torch.zeros(4, 1, 8, 8)), book)
    assert crash.why == "What arrives comes from `body.1` (MaxPool2d), which gave (4, 2, 3, 3)."
    assert failed(lambda: model(torch.zeros(3, 1, 8, 8)), book).why == ""


def test_parts_that_a_method_of_the_users_calls_have_the_names_of_the_whole() -> None:
    class Lit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(3, 4))
            self.head = nn.Linear(4, 2)

        def training_step(self, book: ModelBook) -> None:
            book.add_root(self.encoder, None)
            book.add_root(self.head, None)

    book = ModelBook()
    Lit().training_step(book)
    assert [layer.name for layer in book.layers] == ["encoder.0", "head"]
    assert [p.name for p in book.parameters] == ["encoder.0.weight", "encoder.0.bias", "head.weight", "head.bias"]
