"""The memory of a step, and the largest batch that fits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from stethoscope.facts.model import Room
from stethoscope.observe.model import free_memory
from stethoscope.observe.preflight.battery import examine
from stethoscope.observe.preflight.given import given
from stethoscope.observe.preflight.room import Tally, room_of
from stethoscope.observe.preflight.subject import CannotMake

SOON = time.perf_counter() + 1e6


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.last = nn.GRU(16, 64, batch_first=True), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.rnn(x)[0][:, -1])
        return out


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "dense": (lambda: nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 10)), (64,)),
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(),
            nn.Linear(16 * 14 * 14, 10),
        ),
        (3, 16, 16),
    ),
    "recurrent": (Recurrent, (12, 16)),
    "attention": (
        lambda: nn.Sequential(
            nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), nn.Flatten(), nn.Linear(384, 10)
        ),
        (12, 32),
    ),
}  # fmt: skip


def batch(shape: tuple[int, ...], count: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.randn(count, *shape, generator=draw), torch.arange(count) % 10


def allocated(model: nn.Module, x: Tensor, y: Tensor) -> int:
    """What torch's own profiler counts for the second step, with what is held before it."""
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    step()
    model.zero_grad()
    held = 3 * sum(p.numel() * p.element_size() for p in model.parameters())
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as measured:
        step()
    now = peak = 0
    events = [e for e in measured.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return held + x.numel() * x.element_size() + y.numel() * y.element_size() + peak


@pytest.mark.parametrize("name", NETS)
def test_a_small_batch_tells_the_memory_of_a_large_one(name: str) -> None:
    make, shape = NETS[name]
    room = room_of(given(make(), F.cross_entropy, batch(shape, 16), None).subject(), SOON)
    estimated = room.fixed_bytes + 1024 * room.sample_bytes
    assert not room.grows_faster
    assert 0.7 < estimated / allocated(make(), *batch(shape, 1024)) < 1.2


def test_the_step_itself_is_weighed_as_it_is() -> None:
    make, shape = NETS["dense"]
    room = room_of(given(make(), F.cross_entropy, batch(shape, 256), None).subject(), SOON)
    assert room.step_bytes == pytest.approx(allocated(make(), *batch(shape, 256)), rel=0.1)


def test_what_is_held_is_counted_and_what_is_gone_is_not() -> None:
    weight = torch.zeros(1000)
    with Tally() as tally:
        kept = weight + 1
        view = kept[:10]
        assert (tally.now, tally.peak) == (4000, 4000)
        del kept
        assert tally.now == 4000, "a view keeps the whole"
        del view
        assert (tally.now, tally.peak) == (0, 4000)
        weight += 1
        assert tally.now == 0, "what was there before is not counted"


def test_a_batch_of_which_each_sample_is_compared_with_each_has_no_largest_size() -> None:
    def alike(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out @ out.T, torch.arange(len(out)))

    room = room_of(given(nn.Linear(64, 4), alike, batch((64,), 256), None).subject(), SOON)
    assert room.grows_faster
    assert room.largest_batch is None


def test_a_loss_that_takes_the_whole_batch_only_leaves_the_memory_of_a_step() -> None:
    def whole(out: Tensor, y: Tensor) -> Tensor:
        if len(out) != 16:
            raise ValueError("16 samples, please")
        return out.square().mean()

    room = room_of(given(nn.Linear(64, 4), whole, batch((64,), 16), None).subject(), SOON)
    assert room.step_bytes > 0
    assert math.isnan(room.sample_bytes)
    assert room.largest_batch is None


def test_slow_steps_are_not_weighed() -> None:
    with pytest.raises(CannotMake, match="too long"):
        room_of(given(nn.Linear(64, 10), F.cross_entropy, batch((64,), 16), None).subject(), time.perf_counter())


def test_the_largest_batch_fills_a_share_of_what_is_free() -> None:
    room = Room("cpu", 32, 5e6, 1e6, 1e4, free_bytes=11e6)
    assert room.largest_batch == round((0.8 * 11e6 - 1e6) / 1e4)
    assert Room("mps", 32, 5e6, 1e6, 1e4).largest_batch is None
    assert Room("cpu", 32, 5e6, 1e9, 1e4, free_bytes=11e6).largest_batch == 0


def said(subject: Any, monkeypatch: pytest.MonkeyPatch, free: int | None) -> str:
    monkeypatch.setattr("stethoscope.observe.preflight.room.free_memory", lambda device: free)
    return next(one.said for one in examine(subject, "default").experiments if one.name == "room")


def test_it_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = given(nn.Linear(64, 10), F.cross_entropy, batch((64,), 16), None).subject()
    assert "samples" in (words := said(subject, monkeypatch, 11_000_000))
    assert words.endswith("fit in the 11 MB that are free")
    assert said(subject, monkeypatch, None).endswith("how much is free on `cpu` is not known")


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(text)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Linux machine with 8 GB available, and no limits."""
    (tmp_path / "meminfo").write_text("MemTotal:  16000000 kB\nMemAvailable:    8000000 kB\n")
    (tmp_path / "cgroup").write_text("0::/user/job\n")
    monkeypatch.setattr(free_memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(free_memory, "OWN_GROUP", tmp_path / "cgroup")
    monkeypatch.setattr(free_memory, "GROUPS", tmp_path / "groups")
    return tmp_path


def free() -> int | None:
    return free_memory.free_memory(torch.device("cpu"))


def test_what_linux_has_available_is_free(machine: Path) -> None:
    assert free() == 8_192_000_000


def test_the_limit_of_a_container_counts_where_it_is_lower(machine: Path) -> None:
    write(machine / "groups" / "user" / "job", memory_max="max\n", memory_current="1\n")
    write(
        machine / "groups" / "user",
        memory_max="3000000000\n", memory_current="2500000000\n", memory_stat="anon 5\ninactive_file 400000000\n",
    )  # fmt: skip
    assert free() == 900_000_000


def test_the_first_version_of_control_groups_is_read_as_well(machine: Path) -> None:
    (machine / "cgroup").write_text("5:cpu,cpuacct:/\n4:memory:/docker/abc\n")
    group = machine / "groups" / "memory"
    write(group)
    (group / "memory.limit_in_bytes").write_text("9223372036854771712")
    (group / "memory.usage_in_bytes").write_text("5")
    assert free() == 8_192_000_000
    (group / "memory.limit_in_bytes").write_text("2000000000")
    assert free() == 1_999_999_995


def test_nothing_is_known_elsewhere(machine: Path) -> None:
    (machine / "meminfo").unlink()
    assert free() is None
    assert free_memory.free_memory(torch.device("mps")) is None
