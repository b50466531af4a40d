"""Runs that other tools have logged: read, judged by their curves, and kept like recorded ones."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import ArrayLike

from stethoscope import api
from stethoscope.adapters.importing import keep, read
from stethoscope.adapters.importing.logged import Logged, history_of
from stethoscope.adapters.importing.tags import main_names
from stethoscope.adapters.tfevents import EventWriter
from stethoscope.cli.importing import command
from stethoscope.core.errors import BadFile
from stethoscope.core.settings import Settings
from stethoscope.diagnosing.run import diagnose

Curves = Mapping[str, tuple[ArrayLike, ArrayLike]]
EPOCHS = np.arange(60)
STEPS = np.arange(0, 5000, 50)


def noisy(values: ArrayLike, share: float = 0.01) -> np.ndarray:
    exact = np.asarray(values, np.float64)
    return exact * (1 + share * np.random.default_rng(0).standard_normal(exact.size))


def logged(folder: Path, curves: Curves, started: float = 1.7e9) -> Path:
    writer = EventWriter(folder, started=started)
    for tag, (steps, values) in curves.items():
        for step, value in zip(np.asarray(steps).tolist(), np.asarray(values).tolist(), strict=True):
            writer.scalar(tag, step, value)
    writer.close()
    return folder


def found(curves: Curves) -> dict[str, str]:
    """Rule to severity."""
    series = {
        name: list(zip(np.asarray(steps).tolist(), np.asarray(values).tolist(), strict=True))
        for name, (steps, values) in curves.items()
    }
    history = history_of(Logged("run", "here", series), "TensorBoard")
    return {finding.rule: finding.severity.value for finding in diagnose(history).findings}


def falling(points: np.ndarray, start: float, end: float, pace: float) -> np.ndarray:
    return noisy(end + (start - end) * np.exp(-points / pace))


FAULTY: dict[str, tuple[str, Curves]] = {
    "overfitting": (
        "overfitting",
        {
            "train/loss": (EPOCHS, falling(EPOCHS, 2.3, 0.02, 8)),
            "val/loss": (EPOCHS, falling(EPOCHS, 2.3, 0.6, 6) + 0.012 * np.maximum(0, EPOCHS - 15)),
        },
    ),
    "overfitting within twelve epochs": (
        "overfitting",
        {
            "train_loss": (EPOCHS[:12], falling(EPOCHS[:12], 2.2, 0.02, 3)),
            "val_loss": (EPOCHS[:12], 0.6 + 1.7 * np.exp(-EPOCHS[:12] / 2) + 0.1 * np.maximum(0, EPOCHS[:12] - 5)),
        },
    ),
    "a loss that becomes no number": (
        "loss-not-finite",
        {"loss": (STEPS, np.where(STEPS > 2000, np.nan, falling(STEPS, 2.3, 0.5, 3000)))},
    ),
    "a loss that rises and rises": ("loss-not-decreasing", {"Loss": (STEPS, noisy(2.3 * np.exp(STEPS / 2500), 0.05))}),
    "a rate that died": (
        "learning-rate-decayed-away",
        {
            "train/loss": (STEPS, noisy(np.where(STEPS < 1000, 2.3 - 0.5 * STEPS / 1000, 1.8))),
            "train/learning_rate": (STEPS, 0.1 * 0.1 ** (STEPS // 400)),
        },
    ),
    "stuck at guessing among ten": (
        "loss-not-decreasing",
        {"loss": (STEPS, noisy(np.full(100, 2.303), 0.003)), "val_acc": (STEPS[::10], noisy(np.full(10, 10.0)))},
    ),
    "broken batches": (
        "loss-spike",
        {"loss": (np.arange(200), np.where(np.arange(200) % 60 == 59, 50.0, falling(np.arange(200), 2.2, 0.05, 20)))},
    ),
    "stopped in the fall": ("too-few-epochs", {"loss": (STEPS, noisy(2.3 - 0.35 * STEPS / 5000, 0.002))}),
}

HEALTHY: dict[str, Curves] = {
    "epochs": {
        "train/loss": (EPOCHS, falling(EPOCHS, 2.3, 0.1, 8)),
        "val/loss": (EPOCHS, falling(EPOCHS, 2.3, 0.2, 8)),
        "lr": (EPOCHS, 0.05 * (1 + np.cos(np.pi * EPOCHS / 60))),
    },
    "learned in the first epoch": {"epoch_loss": (EPOCHS, noisy(np.where(EPOCHS, 0.1, 0.5), 0.03))},
    "learned before the first point": {"loss": (STEPS, noisy(np.full(100, 0.45), 0.05))},
    "a language model that is tuned": {
        "train/loss": (STEPS, noisy(1.1 + 0.1 * np.exp(-STEPS / 1500), 0.04)),
        "train/learning_rate": (STEPS, 2e-5 * (1 - STEPS / 5000)),
        "eval/loss": (STEPS[10::10], 1.12 + 0.05 * np.exp(-STEPS[10::10] / 1500)),
    },
    "two losses that work against each other": {
        "loss_G": (STEPS, noisy(0.5 + STEPS / 1000)),
        "loss_D": (STEPS, noisy(np.full(100, 0.7))),
    },
    "learning from rewards": {"train/loss": (STEPS, 0.01 * STEPS), "rollout/ep_rew_mean": (STEPS, STEPS)},
    "three epochs": {"train_loss": ([0, 1, 2], [2.0, 1.5, 1.2]), "val_loss": ([0, 1, 2], [1.9, 1.5, 1.6])},
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_fault_is_found_by_its_curves(name: str) -> None:
    rule, curves = FAULTY[name]
    assert rule in found(curves)
    assert name == "stopped in the fall" or found(curves)[rule] in ("error", "warning")


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_log_raises_no_alarm(name: str) -> None:
    assert not {rule for rule, severity in found(HEALTHY[name]).items() if severity != "note"}


def test_rules_that_need_more_than_curves_say_so() -> None:
    diagnosis = diagnose(history_of(Logged("run", "here", {"loss": [(0, 1.0), (1, 0.9)]}), "TensorBoard"))
    why = {cannot.rule: cannot.why for cannot in diagnosis.not_checked}
    assert why["softmax-before-cross-entropy"] == "a log of TensorBoard holds curves only"
    assert "fewer than 50 values" in why["loss-not-decreasing"]


@pytest.mark.parametrize(
    ("names", "loss", "validation"),
    [
        (["train/loss", "eval/loss", "train/grad_norm"], "train/loss", "eval/loss"),  # transformers
        (["train_loss_step", "train_loss_epoch", "val_loss"], "train_loss_step", "val_loss"),  # lightning
        (["val_loss_step", "val_loss_epoch", "loss"], "loss", "val_loss_epoch"),
        (["train/epoch_loss", "validation/epoch_loss", "validation/evaluation_loss_vs_iterations"],
         "train/epoch_loss", "validation/epoch_loss"),  # keras
        (["Loss/train", "Loss/test"], "Loss/train", "Loss/test"),
        (["trainLoss", "valLoss", "testLoss"], "trainLoss", "valLoss"),
        (["loss_cls", "loss_box", "total_loss"], "total_loss", None),
        (["loss_cls", "loss_box"], None, None),
        (["loss_scale", "train/cross_entropy"], "train/cross_entropy", None),
    ],
)  # fmt: skip
def test_names_say_which_curve_is_which(names: list[str], loss: str | None, validation: str | None) -> None:
    sizes = {name: 100 if "step" in name else 10 for name in names}
    chosen = main_names(sizes)
    assert (chosen.get(("loss", "training")), chosen.get(("loss", "validation"))) == (loss, validation)


def test_passes_are_spread_over_the_steps() -> None:
    series = {"loss": [(step, 1.0) for step in range(0, 1000, 10)], "val_loss": [(epoch, 1.0) for epoch in range(10)]}
    history = history_of(Logged("run", "here", series), "TensorBoard")
    curve = history.curve("loss", "validation")
    assert curve is not None
    assert curve.steps[-1] == 990
    assert any("spread over the steps" in sentence for sentence in history.sampling.blind)


def test_folders_are_runs_and_their_phases_are_parts(tmp_path: Path) -> None:
    for run in ("a", "b"):
        logged(tmp_path / run / "train", {"epoch_loss": (EPOCHS, EPOCHS + 1.0)})
        logged(tmp_path / run / "validation", {"epoch_loss": (EPOCHS, EPOCHS + 1.0)})
    runs = read("tfevents", tmp_path)
    assert [run.name for run in runs] == ["a", "b"]
    assert set(runs[0].series) == {"train/epoch_loss", "validation/epoch_loss"}


def test_a_folder_that_was_used_twice_holds_two_runs_and_a_resumed_one_is_one(tmp_path: Path) -> None:
    logged(tmp_path / "twice", {"loss": (EPOCHS, EPOCHS + 1.0)}, started=1.7e9)
    logged(tmp_path / "twice", {"loss": (EPOCHS, EPOCHS + 2.0)}, started=1.8e9)
    logged(tmp_path / "resumed", {"loss": (EPOCHS, EPOCHS + 1.0)}, started=1.7e9)
    logged(tmp_path / "resumed", {"loss": (EPOCHS + 50, EPOCHS + 2.0)}, started=1.8e9)
    assert len(read("tfevents", tmp_path / "twice")) == 2
    (resumed,) = read("tfevents", tmp_path / "resumed")
    curve = history_of(resumed, "TensorBoard").curve("loss")
    assert curve is not None
    assert curve.steps.tolist() == list(range(110))
    assert curve.values[50] == 2.0


def imported(*words: object) -> Result:
    result = CliRunner().invoke(command, [str(word) for word in words], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def test_it_is_kept_like_a_recorded_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    logged(tmp_path / "logs", FAULTY["overfitting"][1])
    result = imported("tfevents", "logs", "--fail-on", "warning")
    assert result.return_value == 1
    assert "validation loss rose" in result.stderr
    assert "from a log of TensorBoard" in " ".join(result.stderr.split())

    run = api.load_run("last")
    assert run.record.state == "finished"
    assert run.record.started.startswith("2023-11-1")
    assert (run.path / "report.html").exists()
    assert "overfitting" in {finding.rule for finding in api.diagnose(run).findings}
    assert run.curves["validation loss"].values.size == 60
    imported("tfevents", "logs")
    again = api.compare(run, api.load_run("last"))
    assert {curve.name for curve in again.curves} == {"training loss", "validation loss"}


def test_mlflow_is_read_without_mlflow(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    connection = sqlite3.connect(file)
    connection.executescript("""
        CREATE TABLE runs (run_uuid, name, start_time, end_time, lifecycle_stage);
        CREATE TABLE params (run_uuid, key, value);
        CREATE TABLE metrics (run_uuid, key, step, value, is_nan, timestamp);
        INSERT INTO runs VALUES ('1', 'first', 1700000000000, 1700000100000, 'active');
        INSERT INTO runs VALUES ('2', 'gone', 1700000000000, 1700000100000, 'deleted');
        INSERT INTO params VALUES ('1', 'lr', '0.1');
    """)
    rows = [("1", "loss", step, 0.0 if step == 40 else 1.0, step == 40, step) for step in range(60)]
    connection.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()

    (run,) = read("mlflow", file)
    assert (run.name, run.settings) == ("first", {"lr": "0.1"})
    kept = keep(run, "mlflow", tmp_path / "runs", Settings())
    assert kept.diagnosis.findings[0].rule == "loss-not-finite"
    assert kept.record.arguments == {"lr": "0.1"}


@pytest.mark.parametrize("tool", ["tfevents", "wandb", "mlflow"])
def test_what_holds_no_run_is_a_sentence(tool: str, tmp_path: Path) -> None:
    with pytest.raises(BadFile):
        read(tool, tmp_path)
    file = tmp_path / "mlflow.db"
    file.write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(BadFile):
        read(tool, file)


def test_a_log_without_a_loss_names_what_it_has(tmp_path: Path) -> None:
    logged(tmp_path, {"memory": ([0], [1.0])})
    with pytest.raises(BadFile, match="no curve of a loss or an accuracy; it has memory"):
        read("tfevents", tmp_path)


BY_EPOCHS = {
    "validation has the same": {"train/loss": (EPOCHS, EPOCHS), "val/accuracy": (EPOCHS, EPOCHS)},
    "by its name": {"epoch_loss": (EPOCHS + 1, EPOCHS)},
    "a counter": {"loss": (EPOCHS, EPOCHS), "epoch": (EPOCHS, EPOCHS + 1)},
}
BY_STEPS = {
    "a point now and then": {"train/loss_epoch": (STEPS, STEPS), "val/loss": (STEPS, STEPS)},
    "validation by passes": {"train/loss": (np.arange(600), np.arange(600)), "val/loss": (EPOCHS, EPOCHS)},
    "training alone": {"loss": (EPOCHS, EPOCHS)},
    "a counter that stands": {"loss": (EPOCHS, EPOCHS), "epoch": (EPOCHS, EPOCHS // 10)},
}


@pytest.mark.parametrize(
    ("curves", "unit"),
    [*((curves, "epoch") for curves in BY_EPOCHS.values()), *((curves, "step") for curves in BY_STEPS.values())],
    ids=[*BY_EPOCHS, *BY_STEPS],
)
def test_what_the_points_of_a_log_count(curves: Curves, unit: str) -> None:
    series = {
        name: list(zip(np.asarray(steps).tolist(), np.asarray(values, float).tolist(), strict=True))
        for name, (steps, values) in curves.items()
    }
    assert history_of(Logged("run", "here", series), "TensorBoard").unit == unit


def test_a_log_of_epochs_is_told_in_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    logged(tmp_path / "logs", FAULTY["overfitting"][1])
    told = " ".join(imported("tfevents", "logs").stderr.split())
    assert "2 curves of 60 epochs" in told
    assert "since epoch" in told
    assert re.search(r"epochs \d+-59 overfitting", told)
    assert not re.search(r"\bsteps?\b", told)
