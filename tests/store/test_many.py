"""Several runs side by side, and which difference goes with the result."""

from __future__ import annotations

import numpy as np

from stethoscope.facts.run import RunRecord
from stethoscope.store.many import compare_many


def runs(rates: list[float], losses: list[float], **others: list[str]) -> list[RunRecord]:
    return [
        RunRecord(
            id=f"run{i}",
            arguments={"lr": rate, "same": 1} | {name: values[i] for name, values in others.items()},
            results={"best validation loss": loss},
        )
        for i, (rate, loss) in enumerate(zip(rates, losses, strict=True))
    ]


RATES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]


def test_a_setting_that_goes_with_the_result_is_named() -> None:
    found = compare_many(runs(RATES, [0.9, 0.8, 0.6, 0.5, 0.3, 0.2, 0.1]))

    assert found.result == "best validation loss"
    assert [(one.name, round(one.strength, 2)) for one in found.relations] == [("lr", -1.0)]


def test_a_setting_that_does_not_is_not() -> None:
    found = compare_many(runs(RATES, [0.3, 0.8, 0.2, 0.9, 0.1, 0.5, 0.4]))

    assert found.relations == ()


def test_words_are_compared_by_groups() -> None:
    words = ["adam", "sgd"] * 5
    losses = [0.1 + 0.3 * (word == "sgd") + 0.01 * i for i, word in enumerate(words)]
    shuffled = np.random.default_rng(0).permutation(10) / 10
    found = compare_many(runs(shuffled.tolist(), losses, optimizer=words))

    assert [one.name for one in found.relations] == ["optimizer"]


def test_what_is_equal_in_all_runs_is_not_shown() -> None:
    found = compare_many(runs(RATES[:3], [0.3, 0.2, 0.1]))

    assert [name for _, name, _ in found.settings] == ["lr"]


def test_too_few_runs_say_nothing_about_what_goes_together() -> None:
    assert compare_many(runs(RATES[:5], [0.5, 0.4, 0.3, 0.2, 0.1])).result == ""


def test_six_runs_in_perfect_order_are_enough() -> None:
    assert [one.name for one in compare_many(runs(RATES[:6], [0.6, 0.5, 0.4, 0.3, 0.2, 0.1])).relations] == ["lr"]
