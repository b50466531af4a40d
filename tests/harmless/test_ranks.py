"""Two processes under torchrun, averaging their gradients through gloo."""

from __future__ import annotations

import json

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
dist.destroy_process_group()
"""


def test_each_rank_is_recorded_rank_0_reports_and_the_weights_are_the_same(pair: Pair) -> None:
    program = pair.write(PROGRAM)
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")

    plain = pair.plainly(*launch, program)
    listened = pair.plainly(*launch, "-m", "stethoscope", "run", "--store", "runs", program)

    assert plain.exit_code == 0, plain.stderr
    assert listened.exit_code == 0, listened.stderr
    assert listened.stdout == plain.stdout
    assert listened.stderr.count("── stethoscope ─") == 1
    assert len(listened.runs) == 1
    run = load_run(listened.runs[0])
    assert run.ranks == (0, 1)
    assert [(r.rank, r.steps, r.state) for r in run.history.ranks] == [(1, 60, "finished")]
    assert run.history.models[0].wrapper == "DistributedDataParallel"
    assert json.loads((listened.runs[0] / "findings.json").read_text())["summary"]["errors"] == 0
