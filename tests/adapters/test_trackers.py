"""Trackers: each is told of a real run, and what it then holds is read back by its own means."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import warm
from stethoscope import api
from stethoscope.adapters import trackers
from stethoscope.adapters.importing import read
from stethoscope.adapters.trackers import TRACKERS, publish
from stethoscope.core.errors import UsageError
from stethoscope.core.finding import Diagnosis
from stethoscope.facts.octaves import BROKEN, edges, histograms_of
from stethoscope.store.reader import Run

FAULTY = """
import torch
from torch import nn

torch.manual_seed(0)
x, y = torch.randn(256, 4), (torch.randn(256) > 0).long()
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(40):
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
print("trained")
raise SystemExit(3)
"""
RULE = "missing-zero-grad"
LAYER = "0"
"""Of the model, that the finding is taken to be about, so that its curves and histograms are sent."""
OUTPUT, GRADIENT = f"layers/{LAYER}/output", f"parameters/{LAYER}.weight/gradient"
NO_SECRETS = ("WANDB_API_KEY", "COMET_API_KEY", "MLFLOW_EXPERIMENT_NAME", "OTEL_EXPORTER_OTLP_ENDPOINT")


def started(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "train.py").write_text(FAULTY)
    return warm.stethoscope("run", "--no-proof", *words, "train.py", cwd=folder)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run whose configuration names a tracker."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "pyproject.toml").write_text('[tool.stethoscope]\nto = ["tensorboard"]\n')
    return folder, started(folder)


@pytest.fixture
def recorded(done: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """That run, told from an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in NO_SECRETS:
        monkeypatch.delenv(name, raising=False)
    run = api.load_run(next((done[0] / "runs").glob("*/run.json")).parent)
    return replace(run, record=replace(run.record, directory=str(tmp_path)))


def judged(run: Run) -> Diagnosis:
    """Its diagnosis, with a layer in the finding's place."""
    diagnosis = api.diagnose(run)
    findings = tuple(replace(one, place=replace(one.place, module=LAYER)) for one in diagnosis.findings)
    return replace(diagnosis, findings=findings)


def told(run: Run, name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Where the tracker says that it has it."""
    publish([name], judged(run), run.record, run.history, run.path)
    heard = capsys.readouterr()
    assert heard.out == ""
    last = heard.err.splitlines()[-1]
    assert last.startswith(f"stethoscope: {name} has the run ("), heard.err
    return last.removeprefix(f"stethoscope: {name} has the run (").removesuffix(")")


def test_the_configuration_names_trackers_and_the_exit_code_stays(done: tuple[Path, Any]) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder, ended = done
    assert ended.returncode == 3
    assert ended.stdout == "trained\n"
    assert "tensorboard has the run (tensorboard --logdir" in ended.stderr

    (file,) = (folder / "tensorboard").rglob("*tfevents*")
    read_back = accumulator.EventAccumulator(str(file.parent)).Reload()
    assert [point.step for point in read_back.Scalars("training/loss")] == list(range(40))
    assert f"findings/01 {RULE}/text_summary" in read_back.Tags()["tensors"]


def test_tensorboard_reads_curves_histograms_findings_and_where_the_report_lies(
    recorded: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    told(recorded, "tensorboard", capsys)
    (file,) = Path("tensorboard").rglob("*tfevents*")
    held = accumulator.EventAccumulator(str(file.parent), size_guidance={"histograms": 0}).Reload()

    assert {OUTPUT, f"layers/{LAYER}/output_gradient", GRADIENT} <= set(held.Tags()["histograms"])
    looks = {look.step: look for look in recorded.history.octaves}
    shown = held.Histograms(OUTPUT)
    assert [one.step for one in shown] == sorted(looks)
    for one in shown:
        value = one.histogram_value
        assert 256 <= value.num == sum(value.bucket) <= 512  # sampled values
        assert value.min <= value.sum / value.num <= value.max
        assert sorted(value.bucket_limit) == list(value.bucket_limit)
    assert f"layers/{LAYER}/rms" in held.Tags()["scalars"]
    assert b"report.html" in held.Tensors("stethoscope/report/text_summary")[0].tensor_proto.string_val[0]


def test_wandb_offline(recorded: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    where = Path(told(recorded, "wandb", capsys))

    (logged,) = read("wandb", where)
    assert logged.name == recorded.record.id
    assert [step for step, _ in logged.series["training loss"]] == list(range(40))
    assert any("lr" in name for name in logged.settings)
    (file,) = where.glob("*.wandb")
    data = file.read_bytes()
    assert RULE.encode() in data
    assert OUTPUT.encode() in data
    assert b'"histogram"' in data
    assert list((where / "files" / "media" / "html").glob("report*.html"))


def test_mlflow_in_sqlite(recorded: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    address = f"sqlite:///{Path.cwd() / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    run = told(recorded, "mlflow", capsys).removeprefix("run ")

    client = mlflow.MlflowClient(address)
    assert f"stethoscope.{RULE}" in client.get_run(run).data.tags
    assert len(client.get_metric_history(run, "training loss")) == 40
    assert {one.path for one in client.list_artifacts(run)} == {"report.html", "findings.md", "histograms.json"}
    shown = json.loads(Path(client.download_artifacts(run, "histograms.json")).read_text())
    assert {OUTPUT, GRADIENT} <= {one["name"] for one in shown}
    assert all(len(one["edges"]) == len(one["counts"]) + 1 for one in shown)
    (logged,) = read("mlflow", Path("mlflow.db"))
    assert len(logged.series["training loss"]) == 40


def test_trackio(recorded: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("trackio")
    monkeypatch.setenv("TRACKIO_DIR", str(Path.cwd() / "kept"))
    program = (
        "import sys; from stethoscope import api; from stethoscope.adapters.trackers import publish; "
        "run = api.load_run(sys.argv[1]); "
        "from dataclasses import replace; diagnosis = api.diagnose(run); "
        "findings = tuple(replace(f, place=replace(f.place, module='0')) for f in diagnosis.findings); "
        "publish(['trackio'], replace(diagnosis, findings=findings), run.record, run.history, run.path)"
    )
    done = subprocess.run(  # it settles where it keeps its files when it is imported
        [sys.executable, "-c", program, str(recorded.path)], capture_output=True, text=True, timeout=300
    )
    assert "trackio has the run (trackio show" in done.stderr, done.stderr
    (file,) = (Path.cwd() / "kept").glob("stethoscope.db")
    import sqlite3

    connection = sqlite3.connect(file)
    rows = connection.execute("SELECT step, metrics FROM metrics").fetchall()
    alerts = connection.execute("SELECT title, level FROM alerts").fetchall()
    connection.close()
    assert [step for step, row in rows if "training loss" in json.loads(row)] == list(range(40))
    assert len(alerts) == 1
    assert any("histogram" in json.dumps(json.loads(row).get(OUTPUT)) for _, row in rows)
    assert any("report.html" in json.dumps(json.loads(row)) for _, row in rows)


def test_comet_writes_an_archive(recorded: Run, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("comet_ml")
    archive = told(recorded, "comet", capsys).removeprefix("comet upload ")

    with zipfile.ZipFile(archive) as packed:
        messages = packed.read("messages.json").decode()
        names = packed.namelist()
    assert messages.count('"training loss"') == 40
    assert RULE in messages
    assert OUTPUT in messages
    assert any("histogram" in name for name in names) or "histogram" in messages
    assert any("report" in name for name in names) or "report.html" in messages


def test_aim(recorded: Run, capsys: pytest.CaptureFixture[str]) -> None:
    aim = pytest.importorskip("aim")
    told(recorded, "aim", capsys)

    from aim.sdk.index_manager import RepoIndexManager
    from aim.storage.context import Context

    repository = aim.Repo(str(Path.cwd()))
    (run,) = repository.list_all_runs()
    assert RepoIndexManager.get_index_manager(repository).index(run)  # as `aim up` does
    held = repository.get_run(run)
    (metric,) = (one for one in held.metrics() if one.name == "training loss")
    assert len(metric.values.sparse_list()[0]) == 40
    assert any(RULE in tag for tag in held.props.tags)
    shape = held.get_distribution_sequence(OUTPUT, Context({}))
    assert shape is not None
    assert len(shape.values.sparse_list()[0]) == len(recorded.history.octaves)
    assert held["report"].endswith("report.html")


def test_opentelemetry_gets_findings_as_events(
    recorded: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    export = pytest.importorskip("opentelemetry.sdk._logs.export")
    from stethoscope.adapters.trackers.opentelemetry import Events

    kept = export.InMemoryLogRecordExporter()
    monkeypatch.setattr(trackers, "open_tracker", lambda name, record: Events(kept, record))
    assert told(recorded, "opentelemetry", capsys) == "2 log events"

    finding, end = (entry.log_record for entry in kept.get_finished_logs())
    assert (finding.event_name, finding.severity_text) == ("stethoscope.finding", "ERROR")
    assert finding.attributes["stethoscope.rule"] == RULE
    assert finding.attributes["code.line.number"] > 0
    assert end.attributes["stethoscope.steps"] == 40
    assert end.attributes["final.training loss"] > 0
    assert end.attributes["stethoscope.report"].endswith("report.html")


def test_histograms_are_of_the_values_that_were_sampled(recorded: Run) -> None:
    (weight,) = (n for n, one in enumerate(recorded.history.parameters) if one.name == "0.weight")
    rms = recorded.history.telemetry.parameter("weight_rms")[0, weight]
    first = recorded.history.octaves[0]
    counts, limits = first.of("weight", weight)[:BROKEN], edges()

    assert counts.sum() == 32
    squares = np.sort([limits[:-1] ** 2, limits[1:] ** 2], axis=0)  # least and largest of each bin
    assert counts @ squares[0] <= 32 * rms**2 <= counts @ squares[1]
    assert {name for name, *_ in histograms_of(recorded.history, ["0"], [])} == {
        OUTPUT, "layers/0/output_gradient", GRADIENT, "parameters/0.weight/weight", "parameters/0.bias/gradient",
        "parameters/0.bias/weight",
    }  # fmt: skip


def test_a_missing_package_is_a_sentence(recorded: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for name in TRACKERS:
        if name != "tensorboard":
            with pytest.MonkeyPatch.context() as patch:
                for package in ("wandb", "mlflow", "trackio", "comet_ml", "aim", "opentelemetry", "opentelemetry.sdk",
                                "opentelemetry.exporter.otlp.proto.http._log_exporter"):  # fmt: skip
                    patch.setitem(sys.modules, package, None)
                publish([name], api.diagnose(recorded), recorded.record, recorded.history, recorded.path)
            said = capsys.readouterr().err
            assert said.startswith(f"stethoscope: to tell {name} of a run, "), said
            assert len(said.splitlines()) == 1
            assert "pip install" in said


def test_a_folder_that_cannot_be_written_is_a_sentence(
    recorded: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").write_text("")
    monkeypatch.setenv("STETHOSCOPE_TENSORBOARD", "file")
    publish(["tensorboard"], api.diagnose(recorded), recorded.record, recorded.history, recorded.path)
    said = capsys.readouterr().err
    assert said.startswith("stethoscope: tensorboard could not be told of the run (")
    assert len(said.splitlines()) == 1


def test_a_tracker_that_raises_leaves_the_others(
    recorded: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = trackers.open_tracker

    def broken(name: str, record: Any) -> Any:
        if name == "wandb":
            raise RuntimeError("no network")
        return opened(name, record)

    monkeypatch.setattr(trackers, "open_tracker", broken)
    publish(["wandb", "tensorboard"], api.diagnose(recorded), recorded.record, recorded.history, recorded.path)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "stethoscope: wandb could not be told of the run (RuntimeError: no network)"
    assert second.startswith("stethoscope: tensorboard has the run")


def test_a_missing_package_is_known_before_the_script_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "NEEDED", trackers.NEEDED | {"mlflow": "no_such_package.part", "wandb": "json"})

    assert trackers.not_installed(["tensorboard", "wandb", "mlflow"]) == [
        "to tell mlflow of a run, no_such_package is needed: pip install no_such_package"
    ]


def test_each_tracker_says_what_it_needs() -> None:
    assert set(trackers.NEEDED) == set(TRACKERS) - {"tensorboard"}


def test_an_unknown_tracker_is_said_before_the_script_runs(tmp_path: Path) -> None:
    ended = started(tmp_path, "--to", "notebook")
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "there is no tracker 'notebook'; there are tensorboard, wandb" in ended.stderr
    with pytest.raises(UsageError):
        trackers.check_trackers(["notebook"])
