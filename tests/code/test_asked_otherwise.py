"""Names, comparisons and evaluations that ask for something else than it seems: possible at most; their faulty twins
are shown.
"""

from __future__ import annotations

import textwrap

import pytest

from code_programs import IMPORTS, SHOWN, how_sure
from stethoscope.core.rule import Rule
from stethoscope.rules.data.distributed_sampler_epoch import DistributedSamplerEpoch
from stethoscope.rules.data.nan_compared_by_equals import NanComparedByEquals
from stethoscope.rules.loop.call_forgotten import CallForgotten
from stethoscope.rules.loop.result_dropped import ResultDropped
from stethoscope.rules.loop.training_in_eval_mode import TrainingInEvalMode
from stethoscope.rules.loop.validation_in_train_mode import ValidationInTrainMode

NAMES = "optimizer = torch.optim.SGD([torch.ones(1)], lr=1)\nloss = torch.ones(1).sum()\n"
FIT = """
    from dataclasses import dataclass
    import argparse
    import copy

    parser = argparse.ArgumentParser()
    parser.add_argument("--drop-path", type=float, default=PATH)
    args = parser.parse_args()

    @dataclass
    class Config:
        dropout: float = SHARE
        width: int = 9

    class Net(nn.Module):
        def __init__(self, config=None):
            super().__init__()
            self.first, self.drop, self.out = nn.Linear(3, 9), nn.Dropout(DROPS), nn.Linear(9, 2)

        def forward(self, x):
            return self.out(self.drop(self.first(x)))

    def adapted(net, x, y):
        fast = copy.deepcopy(net)
        inner = torch.optim.SGD(fast.parameters(), lr=0.4)
        inner.zero_grad()
        F.cross_entropy(fast(x), y).backward()
        inner.step()
        return fast

    def copied(net, x, y):
        return net

    def classes(net, test):
        with torch.no_grad():
            return torch.cat([net(x).argmax(1) for x, y in test])

    def fit(loader, test, passes, epochs):
        net = Net(Config())
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        net.train()
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
        LAST
"""
MEASURED = """right = 0
        with torch.no_grad():
            for x, y in test:
                right += (net(x).argmax(1) == y).sum().item()
        print(right)"""
TASKS = """right = 0
        for x, y, query, wanted in test:
            net = ADAPTED(net, x, y)
            with torch.no_grad():
                right += (net(query).argmax(1) == wanted).sum().item()
        print(right)"""
USUAL = FIT.replace("PATH", "0.1").replace("SHARE", "0.1").replace("DROPS", "0.5")
STAGES = """
    net = nn.Sequential(nn.Linear(3, 9), nn.BatchNorm1d(9), nn.Linear(9, 2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    loader, test = torch.load("data")
    for stage in range(2):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
        net.eval()
        LAST
"""
SAMPLED = """
    import torch
    import torch.nn.functional as F
    from torch.utils.data import DataLoader, Dataset
    from torch.utils.data.distributed import DistributedSampler

    class Drawn(Dataset):
        def __len__(self):
            return 1000

        def __getitem__(self, index):
            return torch.randn(3), SAMPLE

    def main(model, epochs, optimizer):
        data = Drawn()
        loader = DataLoader(data, batch_size=8, sampler=DistributedSampler(data))
        for epoch in range(epochs):
            # FIRST
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
"""
DROPPED = """
    def scored(net, x: torch.Tensor, n):
        scores = torch.relu(x)
        scores.METHOD
        LAST
"""
CASES: dict[str, tuple[type[Rule], str, str, str, str]] = {
    "a list of unused names": (
        CallForgotten, NAMES + "loss.backward()\nASKED.zero_grad  # unused\n", "ASKED", "_", "optimizer",
    ),
    "what an object has": (
        CallForgotten, NAMES + "def has(optimizer):\n    optimizer.zero_grad\n    ASKED\n", "ASKED",
        "optimizer.param_groups", "loss.backward",
    ),
    "a text that says nan": (
        NanComparedByEquals, "import numpy as np\n\ndef f(x):\n    return ASKED or x == np.nan\n", "ASKED",
        'str(x).lower() == "nan"', 'str(x) == "none"',
    ),
    "one of several texts": (
        NanComparedByEquals, "import numpy as np\n\ndef f(x):\n    return ASKED or x == np.nan\n", "ASKED",
        'str(x) in ("", "nan")', 'str(np) in ("", "nan")',
    ),
    "a text that is made a number": (
        NanComparedByEquals, "import math\n\ndef f(x):\n    return ASKED or x == math.nan\n", "ASKED",
        "math.isnan(float(x))", "math.isinf(float(x))",
    ),
    "a column of a data base": (
        NanComparedByEquals,
        "from sqlalchemy import select\n\ndef f(df, Row):\n    return select(Row).where(ASKED == float('nan'))\n",
        "ASKED", "Row.value", "df.value",
    ),
    "a table beside a data base": (
        NanComparedByEquals, "import ASKED\n\ndef f(Row):\n    return Row.value == float('nan')\n", "ASKED", "peewee",
        "pandas",
    ),
    "a column that is asked for an order": (
        NanComparedByEquals, "import numpy as np\n\ndef f(df):\n    return df[(df.a != np.nan) & ASKED]\n", "ASKED",
        "(df.a > 0)", "(df.b > 0)",
    ),
    "a mode for the next stage": (TrainingInEvalMode, STAGES, "LAST", "pass", "print(net(test))"),
    "samples that are drawn": (DistributedSamplerEpoch, SAMPLED, "SAMPLE", "torch.randint(2, ())", "index % 2"),
    "an order of the data's own": (
        DistributedSamplerEpoch, SAMPLED.replace("SAMPLE", "index % 2"), "# FIRST",
        "data.order = torch.randperm(1000)", "model.order = torch.randperm(1000)",
    ),
    "a line that is left over": (
        ResultDropped, DROPPED.replace("METHOD", "clamp(0, 1)"), "LAST",
        "scores = scores.clamp(0, 1); return net(scores)",
        "scores = scores.clamp(0, 2); return net(scores)",
    ),
    "scores whose order is asked": (
        ResultDropped, DROPPED.replace("METHOD", "softmax(1)"), "LAST", "return scores.argmax(1)",
        "return scores.mean(1)",
    ),
    "a layer without dropout": (
        ValidationInTrainMode,
        USUAL.replace("nn.Dropout(0.5)", "nn.TransformerEncoderLayer(9, 3, dropout=RATE)").replace("LAST", MEASURED),
        "RATE", "0.0", "0.1",
    ),
    "statistics that are wanted": (
        ValidationInTrainMode, USUAL.replace("LAST", "# WORDS\n        " + MEASURED), "WORDS",
        "batch statistics are wanted",
        "a test of the test set",
    ),
    "dropout that is switched off by hand": (
        ValidationInTrainMode, USUAL.replace("LAST", "BY_HAND\n        " + MEASURED), "BY_HAND", "net.drop.p = 0.0",
        "net.drop.q = 0.0",
    ),
    "an exported model": (
        ValidationInTrainMode, USUAL, "LAST",
        "torch.ao.quantization.move_exported_model_to_eval(net)\n        " + MEASURED, MEASURED,
    ),
    "a dropout that is off unless someone asks": (
        ValidationInTrainMode, FIT.replace("PATH", "0").replace("DROPS", "config.dropout").replace("LAST", MEASURED),
        "SHARE", "0.0", "0.1",
    ),
    "an argument that is 0 unless someone asks": (
        ValidationInTrainMode, FIT.replace("SHARE", "0.5").replace("DROPS", "args.drop_path").replace("LAST", MEASURED),
        "PATH", "0.0", "0.2",
    ),
    "tasks that are learned first": (
        ValidationInTrainMode, USUAL.replace("LAST", TASKS), "ADAPTED", "adapted", "copied",
    ),
    "answers that vary": (
        ValidationInTrainMode, USUAL, "LAST",
        "votes = torch.stack([classes(net, test) for _ in range(passes)]).float().var(0).mean().item()",
        "votes = torch.stack([classes(net, part) for part in test]).float().var(0).mean().item()",
    ),
    "rounds that train between": (
        ValidationInTrainMode, USUAL, "LAST",
        "for _ in range(passes): print(classes(net, test).float().mean().item())",
        "for _ in range(epochs): net(x).sum().backward(); optimizer.step(); print(classes(net, test).sum().item())",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_asked_otherwise_is_possible_at_most(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule, text, place, healthy, faulty = CASES[name]
    monkeypatch.setattr(rule, "on_trial", False)  # a rule on trial has to know what is healthy before it leaves it
    text = textwrap.dedent(text)
    head = IMPORTS if rule is not NanComparedByEquals else ""
    assert place in text
    assert how_sure(rule, head + text.replace(place, textwrap.dedent(healthy).replace("\n        ", "\n    "))) < SHOWN
    assert how_sure(rule, head + text.replace(place, textwrap.dedent(faulty).replace("\n        ", "\n    "))) >= SHOWN
