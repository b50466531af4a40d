"""What is handed over to a check: batches, losses, models and optimizers of all kinds are taken as they are meant."""

from __future__ import annotations

import collections
import copy
import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import stethoscope
from stethoscope.core.errors import UsageError
from stethoscope.observe.preflight.battery import examine
from stethoscope.observe.preflight.given import Given, given
from stethoscope.observe.preflight.inputs import input_use
from stethoscope.observe.preflight.subject import CannotMake

X = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
Y = (X @ torch.randn(6, 3, generator=torch.Generator().manual_seed(1))).argmax(1)
Pair = collections.namedtuple("Pair", "x y")
CE = F.cross_entropy


@dataclass
class Batch:
    x: torch.Tensor
    y: torch.Tensor


@dataclass
class Answer:
    loss: Any
    logits: Any


class Net(nn.Module):
    """Takes its inputs and gives its outputs in one of many ways."""

    def __init__(self, how: str = "") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how = how
        self.first, self.last = nn.Linear(6, 16), nn.Linear(16, 3)
        self.calls = 0

    def forward(self, x: Any, other: Any = None) -> Any:
        self.calls += 1
        if self.how == "pair":
            x = x[0] + x[1]
        if self.how == "prints":
            print("computing")
        if self.how == "own gradient":
            inner = x.detach().requires_grad_(True)
            x = torch.autograd.grad(self.first(inner).sum(), inner, create_graph=True)[0] + x
        out = self.last(torch.tanh(self.first(x)))
        if self.how == "dict":
            return {"hidden": x, "logits": out}
        if self.how == "loss":
            return Answer(CE(out, other), out)
        return out + other if other is not None else out


class Words(nn.Module):
    """A recurrent network over packed sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.last = nn.GRU(6, 16, batch_first=True), nn.Linear(16, 3)

    def forward(self, x: Any) -> torch.Tensor:
        out: torch.Tensor = self.last(self.rnn(x)[1][0])
        return out


def pairs() -> Iterator[Any]:
    while True:
        yield X, Y


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from zip(X, Y, strict=True)


def of_logits(out: Any, y: torch.Tensor) -> torch.Tensor:
    return CE(out["logits"], y)


DATA: dict[str, tuple[Any, Any, Any, int]] = {
    "a batch": (Net(), CE, (X, Y), 1),
    "batches": (Net(), CE, [(X, Y)] * 3, 3),
    "a list that is one batch": (Net(), CE, [X, Y], 1),
    "a named tuple": (Net(), CE, Pair(X, Y), 1),
    "named tuples": (Net(), CE, [Pair(X, Y)] * 3, 3),
    "a mapping": (Net(), CE, {"x": X, "labels": Y}, 1),
    "a mapping with another name": (Net(), CE, {"image": X, "target": Y}, 1),
    "a dataclass": (Net(), CE, Batch(X, Y), 1),
    "dataclasses": (Net(), CE, [Batch(X, Y)] * 3, 3),
    "several inputs": (Net(), CE, (X, torch.ones(32, 1), Y), 1),
    "a nested batch": (Net("pair"), CE, ((X, X), Y), 1),
    "nested batches": (Net("pair"), CE, [((X, X), Y)] * 3, 3),
    "an iterator without end": (Net(), CE, pairs(), 64),
    "a loader": (Net(), CE, DataLoader(TensorDataset(X, Y), batch_size=8), 4),
    "a loader of a stream": (Net(), CE, DataLoader(Stream(), batch_size=8), 4),
    "one input, which is the target": (nn.Linear(6, 6), F.mse_loss, X, 1),
    "inputs, which are the targets": (nn.Linear(6, 6), F.mse_loss, [X] * 3, 3),
    "inputs in tuples": (nn.Linear(6, 6), F.mse_loss, [(X,)] * 3, 3),
    "an output with names": (Net("dict"), of_logits, (X, Y), 1),
    "the model's own loss": (Net("loss"), None, {"x": X, "other": Y}, 1),
    "the model's own loss, by place": (Net("loss"), None, (X, Y), 1),
    "a closure": (Net(), lambda model, batch: CE(model(batch.x), batch.y), [Batch(X, Y)] * 2, 2),
    "a partial": (Net(), functools.partial(CE, label_smoothing=0.1), (X, Y), 1),
    "weights for classes": (Net(), nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 3.0])), (X, Y), 1),
    "a loss for each sample": (Net(), nn.CrossEntropyLoss(reduction="none"), (X, Y), 1),
    "targets in a list": (Net(), lambda out, y: CE(out, torch.tensor(y)), (X, Y.tolist()), 1),
    "packed sequences": (Words(), CE, [(pack_sequence([X[:5], X[:3]]), Y[:2])], 1),
    "lazy layers": (nn.Sequential(nn.LazyLinear(8), nn.Tanh(), nn.LazyLinear(3)), CE, (X, Y), 1),
    "sparse gradients": (nn.Sequential(nn.EmbeddingBag(9, 3, sparse=True)), CE, (Y[:, None], Y), 1),
    "half": (Net().bfloat16(), CE, (X.bfloat16(), Y), 1),
    "an input that asks for gradients": (Net(), CE, (X.clone().requires_grad_(True), Y), 1),
    "gradients within the model": (Net("own gradient"), CE, (X, Y), 1),
}


@pytest.mark.parametrize("name", DATA)
def test_a_step_is_taken_on_each_batch(name: str) -> None:
    model, loss, data, count = DATA[name]
    taken = given(model, loss, data, None)
    assert len(taken.batches) == count
    taken.rehearse()


@pytest.mark.parametrize("name", DATA)
def test_experiments_give_words_and_no_errors(name: str) -> None:
    model, loss, data, _ = DATA[name]
    made = examine(given(model, loss, data, None, most=2).subject(), "quick", seconds=1.5)
    assert not [e for e in made.experiments if e.why_not.startswith("it failed")]
    assert made.start is not None


REFUSED: dict[str, tuple[Callable[[], Given], str]] = {
    "a class of models": (lambda: given(Net, CE, (X, Y), None), "the class Net itself"),
    "a class of losses": (lambda: given(Net(), nn.MSELoss, (X, Y), None), "the class MSELoss itself"),
    "a class of optimizers": (lambda: given(Net(), CE, (X, Y), torch.optim.SGD), "the class SGD itself"),
    "a loss by name": (lambda: given(Net(), "mse", (X, Y), None), "got str"),
    "nothing": (lambda: given(Net(), CE, [], None), "no batch"),
    "no data": (lambda: given(Net(), CE, None, None), "got NoneType"),
    "no sample": (lambda: given(Net(), CE, (X[:0], Y[:0]), None), "holds no sample"),
    "arrays": (lambda: given(Net(), CE, (X.numpy(), Y.numpy()), None), "torch.as_tensor"),
    "a data set": (lambda: given(Net(), CE, TensorDataset(X, Y), None), "DataLoader"),
    "a stream": (lambda: given(Net(), CE, Stream(), None), "DataLoader"),
    "samples": (lambda: given(Net(), CE, [(x, int(y)) for x, y in zip(X, Y, strict=True)], None), "DataLoader"),
    "unknown names": (lambda: given(Net(), CE, {"image": X, "kind": Y}, None), "image, kind"),
    "no loss": (lambda: given(nn.Linear(6, 3), None, (X, Y), None), "pass a loss function"),
    "a scripted model": (lambda: given(torch.jit.script(nn.Linear(6, 3)), CE, (X, Y), None), "torch.jit"),
    "a frozen model": (lambda: given(Net().requires_grad_(False), CE, (X, Y), None), "no trainable parameter"),
    "no weights": (lambda: given(nn.Linear(6, 3, device="meta"), CE, (X, Y), None), "meta"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_cannot_be_checked_is_refused_in_a_sentence(name: str) -> None:
    make, words = REFUSED[name]
    with pytest.raises(UsageError, match=words):
        make()


def test_data_that_raises_is_told_with_its_line() -> None:
    def data() -> Iterator[Any]:
        yield X, Y
        raise KeyError("pixels")

    with pytest.raises(UsageError, match=r"KeyError: 'pixels' \(.*test_given.py:\d+\), when batch 2 was drawn"):
        given(Net(), CE, data(), None)


def test_what_cannot_be_copied_is_named() -> None:
    model = Net()
    model.first.lock = threading.Lock()
    with pytest.raises(UsageError, match=r"`first.lock` of the model cannot be copied"):
        given(model, CE, (X, Y), None)


def test_a_loss_that_is_no_tensor_is_told() -> None:
    with pytest.raises(UsageError, match=r"item"):
        given(Net(), lambda out, y: CE(out, y).item(), (X, Y), None).rehearse()


def test_samples_that_the_loss_leaves_out_are_not_memorised() -> None:
    y = Y.clone()
    y[:20] = -100
    made = examine(given(Net(), nn.CrossEntropyLoss(), (X, y), None).subject(), "quick", seconds=2.0)
    assert [memory.learned for memory in made.memory] == [True]


def test_more_samples_than_the_batch_has_are_not_tried() -> None:
    subject = given(Net(), nn.CrossEntropyLoss(), (X[:1], Y[:1]), None).subject()
    with pytest.raises(CannotMake, match="the batch has 1 sample"):
        subject.few(2)


def test_a_loss_of_the_whole_batch_is_not_taken_for_a_fault() -> None:
    def needs_all(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return CE(out.reshape(32, 3), y)

    made = examine(given(Net(), needs_all, (X, Y), None).subject(), "quick", seconds=2.0)
    assert "part of the batch" in made.why_not("mixing")


def test_a_check_of_a_model_that_fails_has_an_error() -> None:
    checked = stethoscope.check(nn.Sequential(nn.Linear(7, 3)), CE, (X, Y), profile="quick")
    assert [finding.rule for finding in checked.findings] == ["forward-crash"]
    assert not checked.ok


def test_a_loss_of_the_users_that_fails_is_an_error() -> None:
    def loss(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        raise KeyError("margin")

    assert not stethoscope.check(Net(), loss, (X, Y), profile="quick").ok


def test_an_optimizer_with_a_closure_is_rehearsed() -> None:
    model = Net()
    assert stethoscope.check(model, CE, (X, Y), torch.optim.LBFGS(model.parameters()), profile="quick").ok


def test_nothing_of_the_users_is_changed(capsys: pytest.CaptureFixture[str]) -> None:
    model = Net("prints")
    optimizer = torch.optim.Adam(model.parameters())
    before = copy.deepcopy(model.state_dict())
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[union-attr]
    stethoscope.check(model, CE, (X, Y), optimizer, profile="quick")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (model.calls, len(optimizer.state), model.first.weight.grad) == (0, 0, None)
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()  # type: ignore[union-attr]
    assert "computing" not in capsys.readouterr().out


def test_a_compiled_model_is_checked_as_what_it_was_made_of() -> None:
    checked = stethoscope.check(torch.compile(Net(), backend="eager"), CE, (X, Y), profile="quick")
    assert checked.history.preflight.structure is not None
    assert checked.ok


def test_a_hook_that_the_model_needs_is_named() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(6, 3))
    model[0].register_forward_hook(lambda part, args, out: out[:, :6])
    with pytest.raises(UsageError, match="hooks"):
        stethoscope.check(model, CE, (X, Y), profile="quick")


@pytest.mark.parametrize("how", ["", "dict", "own gradient"])
def test_the_columns_that_are_used_are_seen(how: str) -> None:
    loss = of_logits if how == "dict" else CE
    use = input_use(given(Net(how), loss, [(X, Y)] * 2, None).subject(), 0.0)
    assert (use.depends, use.features, use.unused) == (True, 6, ())


def test_a_slow_model_is_checked_on_the_steps_that_there_was_time_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import stethoscope
    from stethoscope import checking

    monkeypatch.setitem(checking.SECONDS, "quick", 1e-9)
    model = nn.Linear(4, 3)
    batches = [(torch.randn(8, 4), torch.randint(3, (8,))) for _ in range(8)]
    checked = stethoscope.check(model, nn.CrossEntropyLoss(), batches, profile="quick")

    assert checked.history.steps < 8
    assert any(each.said for each in checked.experiments)
    assert checked.ok


@pytest.mark.parametrize(
    "loss", [F.cross_entropy, functools.partial(F.cross_entropy, label_smoothing=0.1), nn.CrossEntropyLoss()]
)
def test_a_loss_function_that_was_imported_before_is_heard(loss: Any) -> None:
    """`from torch.nn.functional import cross_entropy` holds the function from before anybody listened."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3), nn.Softmax(1))
    data = [(torch.randn(16, 8), torch.randint(3, (16,))) for _ in range(40)]

    found = stethoscope.check(model, loss, data, profile="quick")

    assert [each.function for each in found.history.losses] == ["cross_entropy"]
    assert "softmax-before-cross-entropy" in [finding.rule for finding in found.findings]
