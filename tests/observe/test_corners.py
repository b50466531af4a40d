"""Corners in which listening could harm a run, or hear what is not there. Each was seen to go wrong once."""

from __future__ import annotations

import copy
import pickle
import runpy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint


def _model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 2))


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor | None = None) -> torch.Tensor:
    x = torch.randn(4, 8) if x is None else x
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), torch.zeros(x.shape[0], dtype=torch.long))
    loss.backward()
    optimizer.step()
    return loss


class _Child(nn.Module):
    """A part that holds what holds it."""

    def __init__(self, parent: nn.Module) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.parent = parent

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.fc(x)) * self.parent.scale


class _Parent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.child = _Child(self)
        self.head = nn.Linear(8, 2)
        self.again = self.head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.again(self.child(x))


def test_a_model_whose_part_holds_it_is_heard_like_others(listening: Any) -> None:
    from stethoscope.observe.training.naming import written

    model = _Parent()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with listening(every=1) as session:
        for _ in range(3):
            _step(model, optimizer)
        history = session.history()

    assert session.state.notices == []
    assert {"child.fc", "head"} <= {layer.name for layer in history.layers if layer.order >= 0}
    parameters = {one.name: one.shared_with for one in history.parameters}
    assert parameters == {
        "scale": "", "child.fc.weight": "", "child.fc.bias": "", "head.weight": "again.weight",
        "head.bias": "again.bias",
    }  # fmt: skip
    assert written(model, 100) == ""
    assert written(model.head, 6) == "Linear"


def test_every_name_is_that_of_torch_where_nothing_holds_itself() -> None:
    from stethoscope.observe.training.naming import every_name, every_parameter

    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, batch_first=True), 2)
    model.again = model.layers[0]
    assert list(every_name(model)) == list(model.named_modules(remove_duplicate=False))
    ours, torchs = every_parameter(model), model.named_parameters(remove_duplicate=False)
    assert [(name, id(tensor)) for name, tensor in ours] == [(name, id(tensor)) for name, tensor in torchs]


def test_storages_stay_resizable(listening: Any) -> None:
    model, batch = _model(), torch.randn(4, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with listening(every=1):
        _step(model, optimizer, batch)

    batch.resize_(16, 8)
    model[0].weight.untyped_storage().resize_(0)


def test_weights_whose_memory_was_given_back_are_passed_over(listening: Any) -> None:
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with listening(every=1) as session:
        _step(model, optimizer)
        spare = nn.Parameter(torch.ones(4))
        optimizer.add_param_group({"params": [spare]})
        spare.untyped_storage().resize_(0)
        _step(model, optimizer)

    assert session.state.notices == []


def test_evaluation_with_gradients_on_keeps_no_graph(listening: Any) -> None:
    import weakref

    model = _model()
    with listening() as session:
        outputs = [weakref.ref(model(torch.randn(4, 8))) for _ in range(30)]
        anomaly_mode = torch.is_anomaly_enabled()
        waiting = len(session.state.forward_models)

    assert not anomaly_mode
    assert waiting <= 8
    assert all(reference() is None for reference in outputs)


def test_the_users_anomaly_mode_still_raises_and_ends(listening: Any) -> None:
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with listening():
        loss = torch.sqrt(model(torch.randn(4, 8)).sum() * 0).sum() * 0
        with pytest.raises(RuntimeError, match="nan"), torch.autograd.detect_anomaly():
            loss.backward()
        _step(model, optimizer)
        anomaly_mode = torch.is_anomaly_enabled()

    assert not anomaly_mode


def test_a_checkpointed_block_is_not_run_once_more_for_a_nan(listening: Any) -> None:
    calls = []

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = _model()

        def run(self, x: torch.Tensor) -> torch.Tensor:
            calls.append(1)
            return self.block(x)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return checkpoint(self.run, x, use_reentrant=False)

    model = Checkpointed()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with listening() as session:
        for step in range(6):
            x = torch.randn(4, 8)
            optimizer.zero_grad()
            (model(x).sum() * (float("inf") if step == 4 else 1)).backward()
        birth = session.history().birth

    assert len(calls) == 12
    assert birth is not None


class _OwnState(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__.copy()


@pytest.mark.parametrize("kind", [_model, _OwnState])
def test_a_model_can_be_copied_and_pickled_while_it_is_heard(listening: Any, kind: Any) -> None:
    model = kind()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with listening(every=1) as session:
        _step(model, optimizer)
        copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
        heard = session.state.backward_calls
        for one in copies:
            one(torch.randn(2, 8)).sum().backward()

    assert b"stethoscope" not in pickle.dumps(copies[1])
    assert heard == 1


def test_validation_loss_is_the_mean_of_what_was_read(listening: Any) -> None:
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with listening() as session:
        _step(model, optimizer)
        with torch.no_grad():
            for _ in range(40):
                F.mse_loss(model(torch.zeros(2, 8)) * 0, torch.ones(2, 2), reduction="none")
        session.state.end_pass()
        curve = session.history().curve("loss", "validation")

    assert curve is not None
    assert curve.values.tolist() == [1.0]


def test_metrics_without_gradients_in_later_steps_do_not_join_the_validation(listening: Any) -> None:
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with listening() as session:
        for step in range(300):
            _step(model, optimizer)
            with torch.no_grad():
                F.mse_loss(torch.full((2, 2), 100.0), torch.zeros(2, 2))
            if step == 200:
                with torch.no_grad():
                    for _ in range(3):
                        F.mse_loss(model(torch.zeros(2, 8)) * 0, torch.ones(2, 2))
                _step(model, optimizer)
        curve = session.history().curve("loss", "validation")

    assert curve is not None
    assert curve.values.tolist() == [1.0]


def test_evaluation_in_eval_mode_with_gradients_on_is_no_training(listening: Any) -> None:
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with listening() as session:
        for _ in range(10):
            model.eval()
            for _ in range(5):
                model(torch.randn(4, 8))
            model.train()
            for _ in range(3):
                _step(model, optimizer)
        heard = session.history().models[0]

    assert heard.training_forwards_in_eval == 0


def test_each_fold_has_curves_of_its_own(listening: Any) -> None:
    with listening() as session:
        for _ in range(3):
            model = _model()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(30):
                _step(model, optimizer)
            del model, optimizer
        history = session.history()

    names = [c.name for c in history.curves if c.kind == "loss"]
    assert names == ["training loss", "training loss, part 2", "training loss, part 3"]
    assert history.curve("loss").name == "training loss, part 3"


@pytest.mark.parametrize("clipped", [False, True])
def test_steps_and_backward_passes_are_counted_in_the_quiet_as_well(listening: Any, clipped: bool) -> None:
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with listening() as session:
        for _ in range(400):
            optimizer.zero_grad()
            F.cross_entropy(model(torch.randn(4, 8)), torch.zeros(4, dtype=torch.long)).backward()
            if clipped:
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        history = session.history()

    assert (history.steps, history.optimizers[0].steps, history.loop.backward_calls) == (400, 400, 400)


def test_an_optimizer_made_for_each_step_is_one_entry(listening: Any) -> None:
    model = _model()
    with listening() as session:
        for _ in range(100):
            _step(model, torch.optim.SGD(model.parameters(), lr=0.01))
        heard = session.history().optimizers

    assert [(o.kind, o.steps) for o in heard] == [("SGD", 100)]


def test_a_traced_model_warns_of_nothing(listening: Any, recwarn: pytest.WarningsRecorder) -> None:
    with listening():
        torch.jit.trace(nn.Linear(8, 2), torch.randn(4, 8))

    assert [w for w in recwarn if "TracerWarning" in type(w.message).__name__] == []


def test_a_model_can_be_scripted_while_it_is_heard(listening: Any) -> None:
    model = nn.Sequential(nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with listening(every=1) as session:
        _step(model, optimizer)
        scripted = torch.jit.script(model)
        _step(model, optimizer)
        history = session.history()

    assert scripted(torch.zeros(1, 8)).shape == (1, 2)
    assert history.steps == 2


def test_a_forward_pass_after_the_last_step_spoils_no_look(listening: Any) -> None:
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with listening(every=1) as session:
        for _ in range(5):
            _step(model, optimizer)
        model(torch.randn(4, 8)).sum().backward()
        history = session.history()

    assert session.state.notices == []
    assert history.telemetry.steps.tolist() == [0, 1, 2, 3, 4]


def test_the_gradients_of_a_loss_that_jumps_are_looked_at(listening: Any) -> None:
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    with listening() as session:
        for step in range(300):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(torch.randn(4, 8)), torch.zeros(4, dtype=torch.long))
            (loss * (1000 if step == 260 else 1)).backward()
            optimizer.step()
        telemetry = session.history().telemetry

    looked = telemetry.steps.tolist()
    assert {260, 261, 262} <= set(looked)
    assert telemetry.parameter("gradient_rms")[looked.index(260)].max() > 1


def test_a_warning_of_torch_still_shows_the_users_line(listening: Any) -> None:
    model = nn.Linear(3, 1)
    with listening(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        F.mse_loss(model(torch.ones(4, 3)), torch.ones(4)).backward()

    assert [one.filename for one in caught] == [__file__]


def test_scripting_a_class_finds_the_names_round_it(listening: Any, tmp_path: Path) -> None:
    script = tmp_path / "scripted.py"
    script.write_text(
        "import torch\n"
        "def more(x: int) -> int:\n"
        "    return x + 1\n"
        "@torch.jit.script\n"
        "class Counter:\n"
        "    def __init__(self, x: int):\n"
        "        self.x = more(x)\n"
    )
    with listening(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert runpy.run_path(str(script))["Counter"](2).x == 3


def test_a_capture_keeps_no_graph_either(listening: Any) -> None:
    import weakref

    model = _model()
    with listening(capture=True):
        outputs = [weakref.ref(model(torch.randn(4, 8))) for _ in range(30)]

    assert all(reference() is None for reference in outputs)
