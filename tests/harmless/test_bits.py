"""Training is the same to the last bit with and without us, looked at in every step."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from pairs import Pair

KINDS = (
    "mlp_sgd",
    "cnn_adam",
    "transformer",
    "lstm",
    "gan",
    "lbfgs",
    "mixed_precision",
    "checkpointed",
    "loader_workers",
    "compiled",
    "augmentation",
    "saving",
    "functional",
    "accelerate_fit",
    "fabric_fit",
    "ignite_fit",
    "keras_fit",
    "lightning_fit",
    "peft_fit",
    "skorch_fit",
    "transformers_fit",
)
PACKAGES = {"fabric": "lightning"}
"""What a program needs, where that is not named like the beginning of its own name."""
IN_PROCESSES_OF_THEIR_OWN = ("mlp_sgd", "keras_fit")
"""Kinds for which Python is started twice, as people do; the others are forks that have imported torch already."""
WITH_A_CALLBACK = ("accelerate", "ignite", "keras", "lightning", "skorch", "transformers")


def skip_without(kind: str) -> None:
    """Skip where a framework's program has no framework."""
    framework, _, fit = kind.partition("_")
    package = PACKAGES.get(framework, framework)
    if fit == "fit" and find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_run_is_the_same_to_the_last_bit(kind: str, pair: Pair, programs: Path) -> None:
    skip_without(kind)
    pair = pair if kind in IN_PROCESSES_OF_THEIR_OWN else pair.forked
    _, listened = pair.both(programs / f"{kind}.py", options=("--every", "1"))
    assert b"weights: " in listened.stdout
    assert "heard" in listened.stderr


@pytest.mark.parametrize("framework", WITH_A_CALLBACK)
def test_a_fit_with_our_callback_is_the_same_to_the_last_bit(framework: str, pair: Pair, programs: Path) -> None:
    skip_without(f"{framework}_fit")
    program = programs / f"{framework}_fit.py"
    plain, watched = pair.plainly(program), pair.plainly(program, "watched")
    assert plain.exit_code == watched.exit_code == 0, watched.stderr
    assert b"weights: " in plain.stdout
    assert watched.stdout == plain.stdout


def test_every_program_that_prints_checksums_is_compared(programs: Path) -> None:
    helpers = {"callbacks_of", "fingerprint", "of_a_stall", "of_two_ranks"}
    assert {path.stem for path in programs.glob("*.py")} == {*KINDS, *helpers}


@pytest.mark.parametrize(
    ("right", "changed"),
    [
        ("0.1, momentum", "0.1000001, momentum"),
        ("print_fingerprints(models", "torch.rand(1); print_fingerprints(models"),
        ("print_fingerprints(models", "model.train(); print_fingerprints(models"),
    ],
    ids=["a rate changed by a millionth", "one random number drawn", "a mode changed"],
)
def test_the_checksums_notice(right: str, changed: str, pair: Pair, programs: Path) -> None:
    text = (programs / "mlp_sgd.py").read_text()
    assert right in text
    pair = pair.forked
    pair.write((programs / "fingerprint.py").read_text(), "fingerprint.py")
    plain = pair.plainly(pair.write(text))
    assert pair.plainly(pair.write(text.replace(right, changed), "changed.py")).stdout != plain.stdout
