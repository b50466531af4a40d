"""How single rows were learned: rows of the first batches, asked by the weights that the network had at times."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from stethoscope.core.finding import Finding, Severity
from stethoscope.facts.learning import Learning
from stethoscope.facts.training import History
from stethoscope.observe.model import learning, snapshots
from stethoscope.observe.model.capture import Capture
from stethoscope.observe.model.learning import learning_of
from stethoscope.observe.model.snapshots import Snapshots
from stethoscope.observe.training.session import Session
from stethoscope.observe.training.taps import Taps
from stethoscope.observe.training.tracking import LoaderTap
from stethoscope.rules.data.label_errors import LabelErrors
from stethoscope.rules.learned_labels import suspects_of, wrong_rows

DIGITS = load_digits()
IMAGES = torch.tensor(DIGITS.data, dtype=torch.float32) / 16
LABELS = torch.tensor(DIGITS.target)


@contextmanager
def followed() -> Iterator[Session]:
    """A session that follows how rows are learned."""
    capture = Capture()
    session = Session(capture=capture)
    capture.snapshots = Snapshots(session.state.row_numbers)
    taps = Taps(session)
    taps.put_on()
    try:
        yield session
    finally:
        taps.take_off()


def learned(session: Session) -> Learning:
    assert session.state.capture is not None
    return learning_of(session.state.capture, seconds=20.0)


def flipped(share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Labels of 1,400 digits, and whether each was flipped."""
    draw = np.random.default_rng(seed)
    wrong = draw.random(1400) < share
    labels = np.where(wrong, (DIGITS.target[:1400] + draw.integers(1, 10, 1400)) % 10, DIGITS.target[:1400])
    return torch.tensor(labels), torch.tensor(wrong)


def train(batches: Any, model: nn.Module, epochs: int, rate: float = 3e-3) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(epochs):
        for x, y in batches:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()


def mlp(width: int = 256) -> nn.Module:
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def judged(learning: Learning) -> list[Finding]:
    return [one for one in LabelErrors().judge(History(learning=learning)) if isinstance(one, Finding)]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_flipped_labels_are_ranked_first_and_listed_by_their_rows(seed: int) -> None:
    torch.manual_seed(seed)
    labels, wrong = flipped(0.1, seed)
    loader = DataLoader(TensorDataset(IMAGES[:1400], labels), batch_size=32, shuffle=True)
    with followed() as session:
        train(loader, mlp(), 20)
    learning = learned(session)
    rows = suspects_of(learning, wrong_rows(learning))
    flips = int(wrong.sum())
    is_wrong = wrong.numpy()[[row.row for row in rows]]

    assert learning.rows == 1400
    assert sorted(learning.index) == list(range(1400))
    assert is_wrong[:flips].mean() >= 0.85  # precision at k, k the number of flips
    assert is_wrong[: flips // 2].mean() >= 0.97
    assert is_wrong.sum() >= 0.95 * flips
    assert [one.rule for one in judged(learning)] == ["label-errors"]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_clean_labels_say_nothing(seed: int) -> None:
    torch.manual_seed(seed)
    loader = DataLoader(TensorDataset(IMAGES[:1400], LABELS[:1400]), batch_size=32, shuffle=True)
    with followed() as session:
        train(loader, mlp(), 20)
    learning = learned(session)

    assert learning.rows == 1400
    assert judged(learning) == []


def test_classes_that_overlap_are_no_wrong_labels() -> None:
    torch.manual_seed(0)
    labels = torch.randint(0, 3, (1600,))
    rows = torch.randn(1600, 8) + 1.2 * torch.eye(8)[labels]
    with followed() as session:
        train(DataLoader(TensorDataset(rows, labels), batch_size=32, shuffle=True), _small(8, 3), 20)
    learning = learned(session)

    assert learning.contradicted > 0.05 * learning.surest  # so that only how hard it is can tell
    assert judged(learning) == []


def test_labels_that_are_known_by_heart_at_the_end_are_a_warning() -> None:
    labels, _ = flipped(0.1, 0)
    loader = DataLoader(TensorDataset(IMAGES[:1400], labels), batch_size=32, shuffle=True)
    with followed() as session:
        train(loader, mlp(512), 60)
    (finding,) = judged(learned(session))

    assert finding.severity is Severity.WARNING


def _small(features: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, classes))


class Numbered(Dataset[tuple[Tensor, Tensor]]):
    """Rows that hold their own number."""

    def __len__(self) -> int:
        return 640

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        return torch.tensor([float(number), number / 640]), torch.tensor(number % 3)


def _shortest_first(rows: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """A batch whose rows come in another order than they were drawn in, as packed sequences want it."""
    rows.sort(key=lambda row: float(row[0][0]) % 7)
    return [torch.stack(column) for column in zip(*rows, strict=True)]


def test_a_collate_function_of_ones_own_may_reorder_so_that_its_rows_have_no_number() -> None:
    loader = DataLoader(Numbered(), batch_size=16, shuffle=True, collate_fn=_shortest_first)
    with followed() as session:
        train(loader, _small(2, 3), 4)
    assert session.state.capture is not None
    kept = session.state.capture.snapshots
    assert kept is not None

    assert len(kept.passes) > 20
    assert all(index is None for index in kept.index)


def test_workers_that_stay_do_not_lend_the_numbers_of_an_earlier_epoch() -> None:
    loader = DataLoader(Numbered(), batch_size=16, shuffle=True, num_workers=1, persistent_workers=True)
    model = _small(2, 3)
    optimizer = torch.optim.Adam(model.parameters())
    wrong = total = 0
    with followed() as session:
        numbers = session.state.row_numbers
        for _ in range(12):
            for place, (x, y) in enumerate(loader):
                if place == 17:  # at which it begins to attend, in the middle of an epoch
                    session.state.attend(4)
                index = numbers.of([x], y)
                if index is not None:
                    total += 1
                    wrong += not np.array_equal(index, x[:, 0].numpy())
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()

    assert total > 20
    assert wrong == 0


@dataclass(slots=True)
class Slotted:
    """A batch of a form that has no `__dict__`."""

    inputs: Tensor
    labels: Tensor


def _into_slots(rows: list[tuple[Tensor, Tensor]]) -> Slotted:
    return Slotted(*(torch.stack(column) for column in zip(*rows, strict=True)))


class Unending:
    """A sampler of batches that nobody can ask for its length."""

    def __iter__(self) -> Iterator[list[int]]:
        yield from torch.randperm(640)[:608].view(-1, 16).tolist()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"batch_size": 16, "collate_fn": _into_slots}, id="a batch with slots"),
        pytest.param({"batch_sampler": Unending()}, id="batches without a number"),
    ],
)
def test_loaders_of_all_kinds_are_listened_to(options: Any) -> None:
    loader: Any = DataLoader(Numbered(), **options)
    model = _small(2, 3)
    optimizer = torch.optim.Adam(model.parameters())
    tap = LoaderTap()
    with followed() as session:
        tap.put_on(session)
        try:
            for batch in loader:
                x, y = (batch.inputs, batch.labels) if isinstance(batch, Slotted) else batch
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        finally:
            tap.take_off()

    assert session.state.notices == []
    assert session.state.off == set()


@pytest.mark.parametrize("workers", [0, 2])
def test_rows_are_numbered_as_in_the_whole_data_set(workers: int) -> None:
    part = Subset(Subset(Numbered(), range(600)), range(100, 580))
    loader = DataLoader(part, batch_size=16, shuffle=True, num_workers=workers)
    model = _small(2, 3)
    with followed() as session:
        train(loader, model, 4)
    assert session.state.capture is not None
    kept = session.state.capture.snapshots
    assert kept is not None
    pairs = [
        (int(row[0]), int(number))
        for each, index in zip(kept.passes, kept.index, strict=True)
        if index is not None
        for row, number in zip(each.args[0], index, strict=True)
    ]

    assert len(pairs) > 300
    assert all(value == number for value, number in pairs)


def test_a_batch_that_was_fetched_ahead_does_not_lend_its_numbers() -> None:
    loader = DataLoader(Numbered(), batch_size=16, shuffle=True)

    def ahead() -> Iterator[Any]:
        for _ in range(2):
            batches = iter(loader)
            now = next(batches)
            for after in batches:
                yield now
                now = after

    model = _small(2, 3)
    with followed() as session:
        train(ahead(), model, 1)
    assert session.state.capture is not None
    kept = session.state.capture.snapshots
    assert kept is not None
    known = [(each, index) for each, index in zip(kept.passes, kept.index, strict=True) if index is not None]

    assert len(known) > 20
    assert all(np.array_equal(each.args[0][:, 0].numpy(), index) for each, index in known)


def test_rows_that_no_loader_drew_have_no_number() -> None:
    batches = [(IMAGES[i : i + 32], LABELS[i : i + 32]) for i in range(0, 1400, 32)]
    with followed() as session:
        train(batches, mlp(), 3)
    learning = learned(session)

    assert learning.rows > 1000
    assert (learning.index == -1).all()


def test_snapshots_are_thinned_evenly_and_stay_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "MOST_TAKEN", 12)
    batches = [(IMAGES[i : i + 100], LABELS[i : i + 100]) for i in range(0, 1400, 100)]
    with followed() as session:
        train(batches, mlp(16), 100)
    assert session.state.capture is not None
    kept = session.state.capture.snapshots
    assert kept is not None
    steps = [step for step, _ in kept.taken]

    assert 6 <= len(steps) <= 12
    assert steps == sorted(set(steps))
    assert steps[-1] > 700


def test_a_model_that_is_too_large_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "MOST_WEIGHT_BYTES", 1000)
    batches = [(IMAGES[i : i + 32], LABELS[i : i + 32]) for i in range(0, 1400, 32)]
    with followed() as session:
        train(batches, mlp(16), 2)

    assert learned(session).why == "the model is too large to keep its weights at several steps"


def test_weights_that_are_no_real_numbers_are_not_followed() -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.turn = nn.Parameter(torch.randn(64, 10, dtype=torch.complex64) / 8)

        def forward(self, x: Tensor) -> Tensor:
            return (x.to(torch.complex64) @ self.turn).real

    batches = [(IMAGES[i : i + 32], LABELS[i : i + 32]) for i in range(0, 1400, 32)]
    with followed() as session:
        train(batches, Turned(), 3)

    assert learned(session).why == "its weights are no ordinary tensors of real numbers"


class Counting(nn.Module):
    """A network that counts its forward passes."""

    passes = 0

    def __init__(self) -> None:
        super().__init__()
        self.layers = mlp(16)

    def forward(self, x: Tensor) -> Any:
        Counting.passes += 1
        return self.layers(x)


@pytest.mark.parametrize(
    ("seconds", "passes", "why"),
    [(12.5, 12, ""), (9.9, 0, "a forward pass takes too long to repeat it with the weights of several steps")],
)
def test_a_network_whose_forward_pass_takes_a_second_is_asked_by_fewer_weights_or_not_at_all(
    seconds: float, passes: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [(IMAGES[i : i + 140], LABELS[i : i + 140]) for i in range(0, 1400, 140)]
    with followed() as session:
        train(batches, Counting(), 20)
    capture = session.state.capture
    assert capture is not None
    assert capture.snapshots is not None
    assert len(capture.snapshots.taken) > 12
    before = Counting.passes
    ticks = itertools.count()
    monkeypatch.setattr(learning, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    found = learning_of(capture, seconds)

    assert Counting.passes - before == 2 + passes  # two to see how long they take
    assert found.why == why


def test_a_regression_has_no_histories_of_labels() -> None:
    model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters())
    with followed() as session:
        for _ in range(30):
            optimizer.zero_grad()
            F.mse_loss(model(IMAGES[:32]), LABELS[:32, None].float()).backward()
            optimizer.step()

    assert learned(session).why == "the loss compares no classes"


def test_binary_targets_are_classes() -> None:
    torch.manual_seed(0)
    truth = (IMAGES[:1400, 20:40].sum(1) > 8).float()
    wrong = torch.rand(1400) < 0.1
    labels = torch.where(wrong, 1 - truth, truth)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with followed() as session:
        for _ in range(15):
            for x, y in DataLoader(TensorDataset(IMAGES[:1400], labels), batch_size=32, shuffle=True):
                optimizer.zero_grad()
                F.binary_cross_entropy_with_logits(model(x).squeeze(1), y).backward()
                optimizer.step()
    learning = learned(session)
    rows = suspects_of(learning, wrong_rows(learning))

    assert learning.classes == 2
    assert wrong.numpy()[[row.row for row in rows[:80]]].mean() > 0.85


def test_a_run_without_histories_is_judged_by_simple_models_alone() -> None:
    assert judged(replace(Learning(), why="no weights were kept")) == []
