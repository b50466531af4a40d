"""What a whole session hears of small real trainings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stethoscope.facts.training import History


def _classifier() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))


def _train(model: nn.Module, steps: int = 30, loss: Any = None) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = loss or F.cross_entropy  # looked up now, as a script does: the taps are on by then
    for _ in range(steps):
        x = torch.randn(8, 4)
        optimizer.zero_grad()
        loss(model(x), x[:, :3].argmax(1)).backward()
        optimizer.step()
    return optimizer


def _heard(listening: Any, model: nn.Module, loss: Any = None, **options: Any) -> History:
    with listening(**options) as session:
        kept = _train(model, loss=loss)
        history: History = session.history()
    assert kept is not None
    return history


def test_layers_come_in_the_order_of_execution(listening: Any) -> None:
    class Crossed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(8, 3)
            self.first = nn.Linear(4, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(torch.relu(self.first(x)))

    layers = {layer.name: layer for layer in _heard(listening, Crossed()).layers}

    assert layers["first"].order < layers["last"].order
    assert layers["first"].feeds == "relu"


def test_update_ratios_are_those_of_the_whole_weight(listening: Any) -> None:
    model = nn.Linear(4, 3)
    with listening(every=1) as session:
        before = model.weight.detach().clone()
        optimizer = _train(model, steps=1)
        change = (model.weight.detach() - before).square().mean().sqrt() / before.square().mean().sqrt()
        ratio = session.history().telemetry.parameter("update_ratio")[0, 0]

    assert optimizer is not None
    assert ratio == pytest.approx(change.item(), rel=1e-4)


def test_the_promised_descent_is_gradient_times_update(listening: Any) -> None:
    model = nn.Linear(4, 3, bias=False)
    with listening(every=1) as session:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model(torch.ones(2, 4)).square().sum().backward()
        optimizer.step()
        descent = session.history().telemetry.parameter("descent")[0, 0]

    assert model.weight.grad is not None
    assert descent == pytest.approx(0.1 * model.weight.grad.square().sum().item(), rel=1e-4)


def test_the_curve_of_the_loss_has_every_step(listening: Any) -> None:
    curve = _heard(listening, _classifier()).curve("loss")

    assert curve is not None
    assert curve.steps.tolist() == list(range(30))
    assert np.isfinite(curve.values).all()


def test_chance_is_the_entropy_of_the_classes(listening: Any) -> None:
    loss = _heard(listening, _classifier()).main_loss()

    assert loss is not None
    counts = np.array(loss.class_counts) / sum(loss.class_counts)
    assert loss.chance == pytest.approx(-(counts * np.log(counts)).sum())


def test_a_softmax_in_front_of_the_loss_is_read_off_the_graph(listening: Any) -> None:
    loss = _heard(listening, nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))).main_loss()

    assert loss is not None
    assert loss.produced_by == "softmax"
    assert loss.rows_sum_to_one == 1.0


def test_a_hand_written_loss_is_heard_where_backward_starts(listening: Any) -> None:
    history = _heard(listening, nn.Linear(4, 1), loss=lambda out, target: (out.squeeze(1) - target).square().mean())

    loss = history.main_loss()
    assert loss is not None
    assert loss.function == "backward"
    assert loss.site is not None
    assert loss.broadcast_to == ()


def test_a_hand_written_difference_that_broadcasts_is_seen(listening: Any) -> None:
    history = _heard(listening, nn.Linear(4, 1), loss=lambda out, target: (out - target).square().mean())

    loss = history.main_loss()
    assert loss is not None
    assert loss.broadcast_to == (8, 8)


def test_a_validation_pass_gives_a_point_on_the_curve_and_its_mode(listening: Any) -> None:
    model = _classifier()
    with listening() as session:
        for _ in range(2):
            _train(model, steps=5)
            with torch.no_grad():
                for _ in range(3):
                    x = torch.randn(8, 4)
                    F.cross_entropy(model(x), x[:, :3].argmax(1))
        session.state.end_pass()
        history = session.history()

    assert [(p.forwards, p.in_train_mode, p.distinct_inputs) for p in history.validation] == [(3, 3, 3), (3, 3, 3)]
    curve = history.curve("loss", "validation")
    assert curve is not None
    assert curve.steps.tolist() == [5, 10]


def test_silent_units_are_counted_exactly(listening: Any) -> None:
    model = _classifier()
    with torch.no_grad():
        model[0].bias[:6] = -1e3
    with listening(every=1) as session:
        kept = _train(model, steps=600)
        units = session.history().units

    assert kept is not None

    assert {int(u.silent[-1]) for u in units} == {6}


def test_a_module_called_twice_and_tied_weights_are_one_layer_each(listening: Any) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)
            self.head = nn.Linear(4, 4)
            self.head.weight = self.inner.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.inner(self.inner(x)))[:, :3]

    history = _heard(listening, Twice())

    assert [layer.name for layer in history.layers] == ["inner", "head"]
    tied = next(p for p in history.parameters if p.name == "inner.weight")
    assert tied.shared_with == "head.weight"


def test_two_optimizers_have_a_loop_each_and_one_count_of_steps(listening: Any) -> None:
    from loops import make_loop

    with listening() as session:
        kept = make_loop("two optimizers", 20)
        history = session.history()

    assert kept is not None
    assert [o.steps for o in history.optimizers] == [20, 20]
    assert history.steps == 20
    assert [c.name for c in history.curves if c.kind == "loss"] == ["training loss", "training loss 2"]


def test_a_recurrent_network_is_heard(listening: Any) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(1, 8, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.lstm(x.unsqueeze(2))[0][:, -1])

    history = _heard(listening, Recurrent())

    assert [layer.kind for layer in history.layers] == ["LSTM", "Linear"]
    assert np.isfinite(history.telemetry.layer("rms")[-1]).all()


def test_looks_under_the_budget_are_dense_first_and_rare_later(listening: Any) -> None:
    with listening() as session:
        kept = _train(_classifier(), steps=300)
        steps = session.history().telemetry.steps

    assert kept is not None
    assert steps[:16].tolist() == list(range(16))
    assert 20 < steps.size < 120


def test_every_second_step_is_looked_at_when_asked_for(listening: Any) -> None:
    assert _heard(listening, _classifier(), every=2).telemetry.steps.tolist() == list(range(0, 30, 2))


def test_parts_that_no_rule_reads_are_not_gathered(listening: Any) -> None:
    history = _heard(listening, _classifier(), parts=("loop", "losses"))

    assert history.units == ()
    assert np.isnan(history.telemetry.layers).all()


def test_a_compiled_model_is_heard_from_outside_and_says_so(listening: Any) -> None:
    model = torch.compile(_classifier(), backend="eager")
    with listening() as session:
        again = torch.compile(model._orig_mod, backend="eager")
        kept = _train(again)
        history = session.history()

    assert kept is not None
    assert history.models[0].wrapper == "compiled"
    assert any("compiled" in sentence for sentence in history.sampling.blind)
    assert np.isfinite(history.telemetry.parameter("update_ratio")).all()


def test_a_model_that_was_compiled_before_is_not_compiled_again(listening: Any) -> None:
    from torch._dynamo.utils import counters

    def graphs(**options: Any) -> int:
        torch.compiler.reset()
        counters.clear()
        model = _classifier()
        compiled = torch.compile(model, backend="eager")
        with listening(only=[model], **options) as session:
            kept = _train(compiled)
            history = session.history()
        assert kept is not None
        assert [p.name for p in history.parameters] == ["0.weight", "0.bias", "2.weight", "2.bias"]
        return int(counters["stats"]["unique_graphs"])

    assert graphs() == graphs(every=1) == 1


def test_ordinary_steps_find_no_hook_and_no_tap_that_they_do_not_need(listening: Any) -> None:
    model = _classifier()
    plain = F.cross_entropy
    with listening() as session:
        optimizer = _train(model, steps=200)
        while not session.state.quiet:
            F.cross_entropy(model(torch.randn(8, 4)), torch.zeros(8, dtype=torch.long)).backward()
            optimizer.step()
        hooked = [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks]
        loss = F.cross_entropy

    assert hooked == []
    assert loss is plain


def test_listening_adds_no_graph_break(listening: Any) -> None:
    import torch._dynamo as dynamo

    def step(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(model(x), y)

    model, x, y = _classifier(), torch.randn(8, 4), torch.randint(0, 3, (8,))
    dynamo.reset()
    plain = dynamo.explain(step)(model, x, y)
    dynamo.reset()
    with listening():
        torch.compile(model, backend="eager")  # from here on the taps keep out of what is traced
        heard = dynamo.explain(step)(model, x, y)

    assert (heard.graph_count, heard.graph_break_count) == (plain.graph_count, plain.graph_break_count)


def test_everything_of_torch_is_as_before_after_listening(listening: Any) -> None:
    places = [(F, "cross_entropy"), (torch.autograd, "backward"), (nn.Module, "zero_grad"), (nn.Module, "train")]
    before = [getattr(owner, name) for owner, name in places]
    model = _classifier()
    with listening():
        kept = _train(model)

    assert kept is not None
    assert [getattr(owner, name) for owner, name in places] == before
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not nn.modules.module._global_forward_hooks


@pytest.mark.parametrize(
    ("options", "known"),
    [({}, True), ({"label_smoothing": 0.1}, False), ({"weight": torch.tensor([1.0, 2.0, 3.0])}, False)],
)
def test_the_chance_level_is_known_where_nothing_is_weighted(listening: Any, options: Any, known: bool) -> None:
    history = _heard(listening, _classifier(), lambda out, y: F.cross_entropy(out, y, **options))

    assert np.isfinite(history.losses[0].chance) == known


def test_the_class_that_is_left_out_is_no_part_of_the_chance_level(listening: Any) -> None:
    history = _heard(listening, _classifier(), lambda out, y: F.cross_entropy(out, y, ignore_index=2))
    counts = np.array(history.losses[0].class_counts[:2]) / sum(history.losses[0].class_counts[:2])

    assert history.losses[0].chance == pytest.approx(-(counts * np.log(counts)).sum())


def test_samples_are_told_from_tokens_where_logits_are_flattened_for_the_loss(listening: Any) -> None:
    model = nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 20))
    tokens = torch.randint(20, (6, 32))
    with listening() as session:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten()).backward()
            optimizer.step()
        batches = session.history().batches

    assert set(batches.sizes.tolist()) == {6 * 32}
    assert set(batches.samples.tolist()) == {6}


def test_the_same_part_of_the_trainers_of_several_folds_has_several_names(listening: Any) -> None:
    class Trainer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = _classifier()

        def training_step(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(self.net(x), y)

    with listening() as session:
        folds = [Trainer(), Trainer()]
        for trainer in folds:
            optimizer = torch.optim.SGD(trainer.parameters(), lr=0.1)
            for _ in range(5):
                x = torch.randn(8, 4)
                optimizer.zero_grad()
                trainer.training_step(x, x[:, :3].argmax(1)).backward()
                optimizer.step()
        names = [layer.name for layer in session.history().layers]

    assert names[:3] == ["net.0", "net.1", "net.2"]
    assert len(set(names)) == 6
