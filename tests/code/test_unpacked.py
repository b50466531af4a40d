"""What is unpacked into other numbers of names than it has parts: the training behind it is possible at most."""

from __future__ import annotations

import pytest

from code_programs import IMPORTS, SHOWN, how_sure, how_sure_behind
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad

NET = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(3, 3)

    def forward(self, x):
        return RETURNED
"""


@pytest.mark.parametrize(
    ("returned", "first", "is_doubted"),
    [
        ("self.out(x), x", "a, b, c = Net()(epochs)", True),
        ("self.out(x), x", "net = Net()\na, b, c = net(epochs)", True),
        ("self.out(x), x", "net = Net()\na, b = net(epochs)", False),
        ("self.out(x), x", "net = Net()\na, *b, c, d = net(epochs)", False),
        ("self.out(x), x", "net = Net()\na = net(epochs)", False),
        ("self.out(x), *x", "net = Net()\na, b, c = net(epochs)", False),
        ("self.out(x)", "net = Net()\na, b, c = net(epochs)", False),
        ("self.out(x), x", "net = Net()\na, b, c = net.out(epochs)", False),
    ],
)
def test_an_answer_of_other_parts(returned: str, first: str, *, is_doubted: bool) -> None:
    sure = how_sure_behind(first, IMPORTS + NET.replace("RETURNED", returned))
    assert 0 <= sure < SHOWN if is_doubted else sure >= SHOWN


ROWS = """
    class Rows(torch.utils.data.Dataset):
        def __init__(self, rows):
            self.rows = rows

        def __len__(self):
            return len(self.rows)

        def __getitem__(self, index):
            row = self.rows[index]
            return row["x"], row["y"], index

    def train(model, rows):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loader = DataLoader(Rows(rows), batch_size=8, shuffle=True)
        for x, y, _ in loader:
            print(x.shape)
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
"""


@pytest.mark.parametrize(
    ("unpacked", "is_doubted"),
    [
        ("for x, y, _ in loader:\n", False),
        ("for x, y in loader:\n", True),
        ("for i, (x, y) in enumerate(loader):\n", True),
        ("for i, (x, y, _) in enumerate(loader):\n", False),
        ("for batch in loader:\n            x, y = batch\n", True),
        ("for batch in loader:\n            x, y, z = batch\n", False),
        ("for batch in loader:\n            batch = batch[:2]\n            x, y = batch\n", False),
    ],
)
def test_a_batch_of_other_parts(unpacked: str, *, is_doubted: bool) -> None:
    sure = how_sure(MissingZeroGrad, ROWS.replace("for x, y, _ in loader:\n", unpacked))
    assert 0 <= sure < SHOWN if is_doubted else sure >= SHOWN


def test_batches_that_are_put_together_otherwise() -> None:
    two = ROWS.replace("for x, y, _ in", "for x, y in")
    assert how_sure(MissingZeroGrad, two) < SHOWN
    assert how_sure(MissingZeroGrad, two.replace("shuffle=True", "shuffle=True, collate_fn=torch.stack")) >= SHOWN
    assert how_sure(MissingZeroGrad, two.replace("Rows(rows)", "list(rows)")) >= SHOWN
