"""Facts are packed when they are new, and only then."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from stethoscope.facts.training import Curve, History, Telemetry
from stethoscope.store.changes import FactsPacker


def test_only_the_fields_that_are_new_objects_are_packed(history: History) -> None:
    packer = FactsPacker()
    packer.changed(history)
    assert packer.changed(replace(history, steps=history.steps + 1)) == {"steps": str(history.steps + 1)}


def test_what_did_not_reach_the_disk_is_packed_again(history: History) -> None:
    packer = FactsPacker()
    first = packer.changed(history)
    packer.forget()
    assert packer.changed(history) == first


def test_what_has_a_table_of_its_own_is_left_out() -> None:
    curve = Curve("loss", "loss", "training", np.arange(9), np.ones(9))
    packed = FactsPacker().changed(History(curves=(curve,), telemetry=Telemetry(np.arange(9))))
    assert "telemetry" not in packed
    assert json.loads(packed["curves"])[0]["steps"]["shape"] == [0]
