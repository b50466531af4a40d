"""Rows told apart, labels tied to inputs or not, and tokens beside their targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from torch import nn

from stethoscope.observe.training.pairing import paired
from stethoscope.observe.training.samples import SampleBook, checksums, inputs_of
from stethoscope.observe.training.tokens import TokenBook


def test_equal_rows_have_equal_checksums_and_others_do_not() -> None:
    rows = torch.arange(40.0).reshape(10, 4)
    first = checksums([rows])
    assert checksums([rows.flip(0)]) == first[::-1]
    assert len(set(first)) == 10
    assert checksums([rows.flip(1)]) != first, "the order of the values counts"
    assert checksums([-torch.zeros(1, 4)]) == checksums([torch.zeros(1, 4)])


def test_rows_are_read_whatever_their_layout() -> None:
    images = torch.arange(96.0).reshape(2, 3, 4, 4)
    assert checksums([images.to(memory_format=torch.channels_last)]) == checksums([images])
    assert checksums([images.double()]) == checksums([images])


def test_inputs_are_the_tensors_with_a_row_for_each_sample() -> None:
    rows, more, other = torch.ones(4, 2), torch.ones(4, 3), torch.ones(5, 2)
    assert [tuple(t.shape) for t in inputs_of((rows, [other]), {"more": more})] == [(4, 2), (4, 3)]


def test_labels_in_random_order_are_hardly_ever_taken_for_related() -> None:
    """The largest share of many columns has a long tail: its deviations are those of its cube root."""
    data, rng = load_iris(), np.random.default_rng(1)
    rows = data.data.astype(np.float64)
    found = [paired(rows, rng.permutation(data.target), True, 4).relation for _ in range(60)]
    assert sum(relation > 3.5 for relation in found) == 0
    assert paired(rows, data.target, True, 4).relation > 10


@pytest.mark.parametrize("load", [load_digits, load_breast_cancer, load_diabetes])
def test_true_targets_are_told_from_shuffled_ones(load: object) -> None:
    data = load()  # type: ignore[operator]
    order = np.random.default_rng(0).permutation(len(data.data))[:300]
    rows, targets = data.data[order].astype(np.float32), data.target[order].astype(float)
    classes = load is not load_diabetes
    assert paired(rows, targets, classes, rows.shape[1]).relation > 10
    shuffled = np.random.default_rng(1).permutation(targets)
    assert paired(rows, shuffled, classes, rows.shape[1]).relation < 3.5


def test_wrong_labels_contradict_where_simple_models_are_surest() -> None:
    rows, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(labels))[:1000]
    rows, labels = rows[order], labels[order]
    wrong = rng.random(1000) < 0.1
    given = np.where(wrong, (labels + rng.integers(1, 10, 1000)) % 10, labels)
    clean, damaged = paired(rows, labels, True, rows.shape[1]), paired(rows, given, True, rows.shape[1])

    assert clean.surest == damaged.surest == 300
    assert clean.contradicted <= 1
    assert 0.07 <= damaged.contradicted / damaged.surest <= 0.15
    assert damaged.named < clean.named


def test_a_column_that_is_the_label_is_found_by_its_index() -> None:
    data = load_breast_cancer()
    rows = np.insert(data.data, 7, data.target, axis=1).astype(np.float32)
    told = paired(rows[:300], data.target[:300].astype(float), True, 31)
    assert told.giveaway == 7
    assert told.giveaway_share == pytest.approx(1.0)
    assert told.giveaway_kinds == 2


def _train(book: SampleBook, module: nn.Module, rows: torch.Tensor, steps: int = 4) -> None:
    for step in range(steps):
        for start in range(0, len(rows), 10):
            book.see_training(step * len(rows) + start, 0, module, [rows[start : start + 10]])


def test_rows_of_a_pass_are_found_among_the_training_rows_seen_before() -> None:
    book, module, rows = SampleBook(), nn.Linear(1, 1), torch.randn(60, 5)
    _train(book, module, rows[:50])
    assert book.wants_rows(0, 99, None)
    book.see_held_out(None, [rows[40:]])
    book.end_pass()
    (seen,) = book.held_out()
    assert (seen.rows, seen.in_training, seen.training_rows, seen.whole) == (20, 10, 50, True)
    assert seen.covered == pytest.approx(0.2)
    assert seen.familiar == 1.0


def test_what_another_line_asks_a_model_right_after_its_validation_is_no_part_of_it(listening: Any) -> None:
    rows, model = torch.randn(300, 8), nn.Linear(8, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with listening() as session:
        for step in range(30):
            batch = rows[20 * (step % 10) :][:20]
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(batch), (batch[:, 0] > 0).long()).backward()
            optimizer.step()
        with torch.no_grad():
            for half in (rows[200:250], rows[250:]):
                model(half)
            model(rows[:20])  # as a teacher is asked for what a student is to learn

    assert [(each.rows, each.in_training) for each in session.state.samples.held_out()] == [(100, 0), (20, 20)]


def test_another_fold_with_a_new_model_starts_anew() -> None:
    book, rows = SampleBook(), torch.randn(60, 5)
    first, second = nn.Linear(1, 1), nn.Linear(1, 1)
    _train(book, first, rows[:50])
    _train(book, second, rows[10:])
    assert book.wants_rows(0, 99, None)
    book.see_held_out(None, [rows[:10]])
    book.end_pass()
    assert book.held_out()[-1].in_training == 0


@pytest.mark.parametrize("time_first", [False, True])
def test_next_tokens_are_recognized_along_either_axis(time_first: bool) -> None:
    book, tokens = TokenBook(), torch.randint(30, (8, 21), generator=torch.Generator().manual_seed(0))
    x, y = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    scores = torch.full((8, 20, 30), 0.0)
    scores[:, :-1] = 20 * nn.functional.one_hot(y[:, :-1], 30)  # right everywhere but at the end
    if time_first:
        x, y, scores = x.T.contiguous(), y.T.contiguous(), scores.transpose(0, 1).contiguous()
    book.see_inputs([x])
    book.see_loss("cross_entropy", None, scores.flatten(0, 1), y.flatten(), -100)
    (seen,) = book.facts()
    assert seen.next_share == 1.0
    assert seen.same_share < 0.2
    assert seen.last_losses[0] == pytest.approx(np.log(30))
    assert seen.other_losses[0] < 1e-6


@pytest.mark.parametrize("handed", [False, True])
@pytest.mark.parametrize("shifts", [1, 2])
def test_targets_are_compared_with_the_first_input_where_the_model_is_given_labels_too(
    shifts: int, handed: bool
) -> None:
    book, tokens = TokenBook(), torch.randint(30, (8, 20), generator=torch.Generator().manual_seed(0))
    labels = tokens.roll(1 - shifts, 1)
    target = torch.cat([labels[:, 1:], torch.full((8, 1), -100)], 1)  # as a causal model shifts them itself
    book.see_inputs([tokens, torch.ones_like(tokens), labels] if handed else [tokens])
    book.see_loss("cross_entropy", None, torch.zeros(160, 30), target.flatten(), -100)
    (seen,) = book.facts()
    assert (seen.first_next_share > 0.98) == (shifts == 1)
    assert (seen.first_second_share > 0.98) == (shifts == 2)
    assert seen.next_share > 0.98 or not handed


def test_padding_is_told_from_a_token_that_stands_anywhere() -> None:
    book = TokenBook()
    rows = torch.tensor([[5, 6, 7, 0, 0, 0], [8, 9, 0, 0, 0, 0], [7, 6, 5, 4, 0, 0]])
    book.see_inputs([rows])
    book.see_loss("cross_entropy", None, torch.zeros(18, 10), rows.roll(-1, 1).clamp(max=9).flatten(), -100)
    (seen,) = book.facts()
    assert (seen.padding_token, seen.padded, seen.padding_elsewhere, seen.lengths) == (0, 9, 0, 3)


def _series(fill: str, *, time_first: bool = False, first: bool = False) -> TokenBook:
    """Series of four lengths beside targets, filled up in one way or another."""
    book, generator = TokenBook(), torch.Generator().manual_seed(0)
    x, y = torch.randn(4, 12, 3, generator=generator), torch.randn(4, 12, generator=generator)
    for row, length in enumerate((6, 12, 4, 8)):
        for tensor in (x, y):
            tensor[row, length:] = {"zeros": 0.0, "ones": -1.0}.get(fill, tensor[row, length - 1])
    if first:
        x, y = x.flip(1), y.flip(1)
    if time_first:
        x, y = x.transpose(0, 1), y.T
    book.see_inputs([x])
    book.see_loss("mse_loss", None, torch.full_like(y, 5.0), y, -100)
    return book


@pytest.mark.parametrize("time_first", [False, True])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("fill", ["zeros", "ones", "repeated"])
def test_series_may_be_filled_with_anything_at_either_end_along_either_axis(
    fill: str, first: bool, time_first: bool
) -> None:
    (seen,) = _series(fill, first=first, time_first=time_first).facts()
    words = {"zeros": "zeros", "ones": "the same numbers", "repeated": "the last numbers again"}
    assert seen.filled_with == words[fill]
    assert seen.padded_first == first
    assert (seen.padded, seen.padding_elsewhere, seen.lengths) == {
        ("zeros", False): (18, 0, 4), ("ones", False): (18, 0, 4), ("repeated", False): (21, 0, 4),
        ("zeros", True): (15, 0, 4), ("ones", True): (15, 0, 4), ("repeated", True): (18, 0, 4),
    }[fill, first]  # fmt: skip
    assert seen.padded_target_share == 1.0


def test_targets_of_all_positions_but_the_last_are_laid_beside_them() -> None:
    book = TokenBook()
    rows = torch.tensor([[5, 6, 7, 0, 0, 0], [8, 9, 0, 0, 0, 0], [7, 6, 5, 4, 0, 0]])
    book.see_inputs([rows, (rows != 0).long()])
    book.see_loss("cross_entropy", None, torch.zeros(15, 10), rows[:, 1:].flatten(), -100)
    (seen,) = book.facts()
    assert (seen.padding_token, seen.padded, seen.next_share) == (0, 6, 1.0)
    book.release()
    book.see_loss("nll_loss", None, torch.zeros(15, 10), rows[:, 1:].flatten(), -100)
    assert len(book.facts()) == 1


def test_labels_that_a_model_is_given_for_its_loss_are_no_input() -> None:
    rows, labels, module = torch.randn(40, 3), torch.randint(4, (40,)), nn.Linear(3, 4)
    book = SampleBook()
    for step in range(4):
        part = slice(10 * step, 10 * step + 10)
        book.see_training(step, 0, module, inputs_of((), {"labels": labels[part], "x": rows[part]}))
        book.see_target(labels[part], True)
    assert book.facts(1, judged=False)[0].features == 3
    assert book.facts(1, judged=False)[0].shape == (10, 3)


def test_another_number_for_each_sample_is_an_input() -> None:
    rows, ages, labels, module = torch.randn(10, 3), torch.arange(10), torch.randint(4, (10,)), nn.Linear(3, 4)
    book = SampleBook()
    book.see_training(0, 0, module, inputs_of((rows, ages), {}))
    book.see_target(labels, True)
    assert book.facts(1, judged=False)[0].features == 4
