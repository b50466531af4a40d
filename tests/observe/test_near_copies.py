"""Near copies of training rows in validation: programs run for real, and their repaired twins."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("sklearn")

from programs_run import alarms, findings_of
from stethoscope.core.rule import Bug

RULE = "train-test-overlap"

NOISY_PICTURES = Bug("""
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(SEED)
    data = load_digits()
    images = torch.tensor(data.data, dtype=torch.float32) / 16
    labels = torch.tensor(data.target)


    def augmented(x, y):  # a second copy of each picture, with noise
        return torch.cat([x, x + 0.02 * torch.randn_like(x)]), torch.cat([y, y])


    images, labels = augmented(images, labels)  # fix: order = torch.randperm(len(images))
    order = torch.randperm(len(images))  # fix: train, held_out = order[:1400], order[1400:]
    x_train, y_train = images[order[:2800]], labels[order[:2800]]  # fix: x_train, y_train = augmented(images[train], labels[train])
    x_val, y_val = images[order[2800:]], labels[order[2800:]]  # fix: x_val, y_val = images[held_out], labels[held_out]
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x_train, y_train), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    for epoch in range(3):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            score = (model(x_val).argmax(1) == y_val).float().mean().item()
    print(f"accuracy {score:.4f}")
    """)  # noqa: E501

MEASURED_TWICE = Bug("""
    import torch
    from sklearn.datasets import load_breast_cancer
    from torch import nn

    torch.manual_seed(SEED)
    data = load_breast_cancer()
    rows = torch.tensor(data.data, dtype=torch.float32)
    rows = (rows - rows.mean(0)) / rows.std(0)
    labels = torch.tensor(data.target, dtype=torch.float32).unsqueeze(1)

    patient = torch.arange(len(rows)).repeat(2)  # each was measured twice
    x, y = rows[patient] + 0.01 * torch.randn(len(patient), rows.shape[1]), labels[patient]
    order = torch.randperm(len(x))
    train, held_out = order[:800], order[800:]  # fix: train, held_out = order[patient[order] < 400], order[patient[order] >= 400]
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x[train], y[train]), batch_size=32, shuffle=True
    )
    model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    for epoch in range(6):
        model.train()
        for features, target in loader:
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(model(features), target)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            score = nn.functional.binary_cross_entropy_with_logits(model(x[held_out]), y[held_out]).item()
    print(f"loss {score:.4f}")
    """)  # noqa: E501

PROGRAMS = {"pictures with noise": NOISY_PICTURES, "patients that were measured twice": MEASURED_TWICE}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", PROGRAMS)
def test_near_copies_that_were_made_before_the_split_are_named(name: str, seed: int, tmp_path: Path) -> None:
    document = findings_of(PROGRAMS[name].faulty(seed=seed), tmp_path)

    assert alarms(document)[:1] == [RULE], [one["title"] for one in document["findings"]]
    assert "nearly training samples" in next(one["title"] for one in document["findings"] if one["rule"] == RULE)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", PROGRAMS)
def test_split_before_they_are_made_they_are_no_fault(name: str, seed: int, tmp_path: Path) -> None:
    assert alarms(findings_of(PROGRAMS[name].fixed(seed=seed), tmp_path)) == []
