"""Graphs that are cut or kept, validation with gradients on, and where batches come from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from stethoscope.observe.training.cuts import cuts_in_loop, handing_on
from stethoscope.observe.training.session import Session
from stethoscope.observe.training.sites import Spot, spot
from stethoscope.observe.training.tracking import LoaderTap


def _classifier() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))


def _batches(number: int) -> Iterator[tuple[Tensor, Tensor]]:
    for _ in range(number):
        x = torch.randn(8, 4)
        yield x, x[:, :3].argmax(1)


def _train(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Any) -> None:
    for x, y in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()


def test_a_loss_without_a_graph_is_refused_by_torch_and_the_line_that_cut_it_is_known(listening: Any) -> None:
    model = _classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with listening() as session:
        x, y = next(_batches(1))
        scores = model(x).detach()
        loss = F.cross_entropy(scores, y)
        with pytest.raises(RuntimeError, match="does not require grad"):
            loss.backward()
        (heard,) = session.history().loop.backwards

    assert optimizer is not None
    assert (heard.watched, heard.without_graph, heard.cut) == (1, 1, "after the model")
    assert [site.text for site in heard.cut_sites] == ["scores = model(x).detach()"]


def test_gradients_that_stay_off_are_noticed_at_any_step(listening: Any) -> None:
    model = _classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with listening() as session:
        _train(model, optimizer, _batches(80))
        with torch.no_grad(), pytest.raises(RuntimeError):
            _train(model, optimizer, _batches(1))
        (heard,) = session.history().loop.backwards

    assert heard.without_graph == 1
    assert heard.cut == "gradients off"


def test_a_loss_that_was_made_to_require_a_gradient_is_a_leaf(listening: Any) -> None:
    model = _classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with listening() as session:
        for x, y in _batches(5):
            loss = F.cross_entropy(model(x), y).detach().requires_grad_(True)
            loss.backward()
            optimizer.step()
        (heard,) = session.history().loop.backwards

    assert (heard.watched, heard.from_leaf, heard.graphs) == (5, 5, 0)


def test_validation_in_eval_mode_with_gradients_on_is_a_pass_and_gives_a_curve(listening: Any) -> None:
    model = _classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen = []
    with listening() as session:
        for _ in range(3):
            model.train()
            _train(model, optimizer, _batches(30))
            model.eval()
            losses = [F.cross_entropy(model(x), y).item() for x, y in _batches(4)]
            seen.append(sum(losses) / 4)
        model.train()
        _train(model, optimizer, _batches(1))
        history = session.history()

    assert [(p.step, p.forwards, p.graphs, p.loss_calls) for p in history.validation] == [
        (30, 4, 4, 4), (60, 4, 4, 4), (90, 4, 4, 4),
    ]  # fmt: skip
    curve = history.curve("loss", "validation")
    assert curve is not None
    assert curve.values.tolist() == pytest.approx(seen)
    loss = history.main_loss()
    assert loss is not None
    assert loss.training_calls == history.loop.backwards[0].watched
    assert (history.loop.backward_calls, history.optimizers[0].steps) == (91, 91)


def test_training_in_eval_mode_is_no_validation(listening: Any) -> None:
    model = _classifier().eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with listening() as session:
        _train(model, optimizer, _batches(30))
        history = session.history()

    assert history.validation == ()
    assert history.models[0].training_forwards_in_eval == 30
    loss = history.main_loss()
    assert loss is not None
    assert loss.training_calls == 30


def test_derivatives_taken_in_a_pass_are_noted(listening: Any) -> None:
    model = _classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with listening() as session:
        _train(model, optimizer, _batches(5))
        model.eval()
        for x, y in _batches(2):
            torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters()))
        session.state.end_pass()
        (heard,) = session.history().validation

    assert heard.differentiated


def test_batches_are_told_apart_by_the_data_set_that_they_come_from(listening: Any) -> None:
    model = _classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(64, 4)
    train, test = (TensorDataset(part, part[:, :3].argmax(1)) for part in (x[:48], x[48:]))
    session: Session
    with listening() as session:
        loaders = LoaderTap()
        loaders.put_on(session)
        try:
            for _ in range(3):
                _train(model, optimizer, DataLoader(train, batch_size=8, shuffle=True))
                _train(model.eval(), optimizer, DataLoader(test, batch_size=8))
                model.train()
        finally:
            loaders.take_off()
        streams = {(s.source, s.mode): s for s in session.history().streams}

    assert set(streams) == {(0, "train"), (1, "eval")}
    assert streams[1, "eval"].steps.tolist() == [6, 7, 14, 15, 22, 23]
    assert len(set(streams[1, "eval"].fingerprints.tolist())) == 2
    assert (streams[0, "train"].shuffled, streams[1, "eval"].shuffled) == (True, False)


@pytest.mark.parametrize("keeps", [True, False])
def test_a_running_total_of_losses_keeps_their_graphs(listening: Any, keeps: bool) -> None:
    model = _classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    total: Any = 0.0
    with listening() as session:
        for x, y in _batches(30):
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss if keeps else loss.item()
        kept = session.history().kept

    assert [(k.most_alive, k.share) for k in kept] == ([(29, 1.0)] if keeps else [])


def _here() -> Spot:
    place = spot(2)
    assert place is not None
    return place


def test_only_lines_on_the_way_to_the_loss_count_as_cuts() -> None:
    model, x = nn.Linear(3, 3), torch.randn(2, 3)
    begin, output = _here(), model(x)
    shown = output.argmax(1)
    kept = output.detach()
    loss = kept.sum()
    end = (loss.abs(), _here())[1]

    assert shown is not None
    assert [site.text for site in cuts_in_loop(begin, end)] == ["kept = output.detach()"]


def test_lines_that_collect_a_loss_with_its_graph_are_found() -> None:
    loss, seen, total = torch.ones(1, requires_grad=True).sum(), [], 0.0
    at = (loss.backward(), _here())[1]
    total += loss.item()
    seen.append(loss)

    assert total
    assert [site.text for site in handing_on(at)] == ["seen.append(loss)"]
