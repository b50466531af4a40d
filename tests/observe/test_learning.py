"""How single rows were learned: rows of the first batches, asked by the weights that the network had at times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
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
from stethoscope.observe.model import snapshots
from stethoscope.observe.model.capture import Capture
from stethoscope.observe.model.learning import learning_of
from stethoscope.observe.model.snapshots import Snapshots
from stethoscope.observe.training.session import Session
from stethoscope.observe.training.taps import Taps
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
