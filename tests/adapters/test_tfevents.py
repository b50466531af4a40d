"""Event files: TensorBoard reads what we write, and we read what PyTorch writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stethoscope.adapters.tfevents import EventWriter, read_events
from stethoscope.core.errors import BadFile


def written(folder: Path) -> Path:
    writer = EventWriter(folder)
    for step in range(4):
        writer.scalar("loss", step, 1 / (step + 1))
    writer.histogram("weights", 3, [0.5, 1.0, 2.0], [1, 2, 3])
    writer.text("findings", 3, "# a *title*")
    writer.close()
    return writer.path


def test_tensorboard_reads_scalars_histograms_and_texts(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    written(tmp_path)
    read = accumulator.EventAccumulator(str(tmp_path)).Reload()

    assert [round(point.value, 4) for point in read.Scalars("loss")] == [1.0, 0.5, 0.3333, 0.25]
    assert list(read.Histograms("weights")[0].histogram_value.bucket) == [1, 2, 3]
    assert read.Tensors("findings/text_summary")[0].tensor_proto.string_val == [b"# a *title*"]


def test_what_we_write_we_read(tmp_path: Path) -> None:
    written(tmp_path / "run")
    events = read_events(tmp_path)

    assert [step for step, _ in events.scalars["run/loss"]] == [0, 1, 2, 3]
    assert events.histograms["run/weights"][0][2].tolist() == [1, 2, 3]
    assert events.damage == []


def test_what_pytorch_writes_we_read(tmp_path: Path) -> None:
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        for step in range(3):
            writer.add_scalar("train/loss", 2.0**-step, step)
            writer.add_histogram("weights", np.arange(100.0), step)
    events = read_events(tmp_path)

    assert events.scalars["train/loss"] == [(0, 1.0), (1, 0.5), (2, 0.25)]
    assert [step for step, _, _ in events.histograms["weights"]] == [0, 1, 2]


def test_a_folder_without_event_files_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="no event files"):
        read_events(tmp_path)


@given(place=st.integers(0, 300), byte=st.integers(0, 255), cut=st.integers(0, 300))
@settings(max_examples=150)
def test_a_damaged_file_is_read_as_far_as_it_goes(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int, cut: int
) -> None:
    file = written(tmp_path_factory.mktemp("events"))
    data = bytearray(file.read_bytes())
    data[min(place, len(data) - 1)] = byte
    file.write_bytes(bytes(data[: len(data) - cut]))

    events = read_events(file)

    assert len(events.scalars.get("loss", [])) <= 4
