"""Two processes under torchrun, averaging their gradients through gloo."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pairs import Pair

from stethoscope import load_run

PROGRAM = """
import torch, torch.distributed as dist
from torch import nn
dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(0)
model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
torch.manual_seed(rank)
for _ in range(60):
    x = torch.randn(16, 8)
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), (x[:, 0] > 0).long())
    loss.backward()
    optimizer.step()
if rank == 0:
    print("weights", sum(p.double().sum().item() for p in model.parameters()))
dist.barrier()
del model
dist.destroy_process_group()
"""


def test_each_rank_is_recorded_rank_0_reports_and_the_weights_are_the_same(pair: Pair) -> None:
    program = pair.write(PROGRAM)

    plain = pair.forked.two_ranks(program)
    listened = pair.two_ranks(program, options=("--store", "runs"))

    assert plain.exit_code == 0, plain.stderr
    assert listened.exit_code == 0, listened.stderr
    assert listened.stdout == plain.stdout
    assert listened.stderr.count("── stethoscope ─") == 1
    run = load_run(listened.runs[-1])
    assert run.ranks == (0, 1)
    assert [(r.rank, r.steps, r.state) for r in run.history.ranks] == [(1, 60, "finished")]
    assert run.history.models[0].wrapper == "DistributedDataParallel"
    assert json.loads((listened.runs[-1] / "findings.json").read_text())["summary"]["errors"] == 0


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_both_ranks_compute_the_same_bits_looked_at_in_every_step(kind: str, pair: Pair, programs: Path) -> None:
    program = programs / "of_two_ranks.py"

    plain = pair.forked.two_ranks(program, kind)
    listened = pair.forked.two_ranks(program, kind, options=("--every", "1"))

    assert plain.exit_code == listened.exit_code == 0, listened.stderr
    assert plain.stdout.count(b"weights: ") == 2
    assert sorted(listened.stdout.splitlines()) == sorted(plain.stdout.splitlines())
    assert "heard" in listened.stderr
