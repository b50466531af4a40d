"""Findings about a Keras run name Keras's things, and findings about any other run are left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stethoscope.diagnosing.run import diagnose
from stethoscope.facts.code import Site
from stethoscope.facts.training import FitCall, History, LossCall, Optimizer
from stethoscope.rules import all_rules, rule_named
from stethoscope.rules.examples import flat, run
from stethoscope.rules.keras_words import FIXES, in_keras_words


def _keras(history: History, line: str, kind: str = "Adam") -> History:
    made = Optimizer(kind, Site("train.py", 9, "", line), groups=({"lr": 1.0},), steps=200)
    return replace(history, framework="keras", optimizers=(made,))


@pytest.mark.parametrize(
    ("line", "fixed"),
    [
        ("opt = keras.optimizers.Adam(learning_rate=1.0)", "opt = keras.optimizers.Adam(learning_rate={})"),
        ("model.compile(Adam(1.0), loss='mse')", "model.compile(Adam({}), loss='mse')"),
        ("model.compile('adam', 'mse')", "model.compile(keras.optimizers.Adam(learning_rate={}), 'mse')"),
        ("model.compile(", "keras.optimizers.Adam(learning_rate={})"),
    ],
)
def test_a_rate_is_changed_in_the_line_that_sets_it(line: str, fixed: str) -> None:
    history = _keras(run(flat(2.36), updates=0.18, rate=1.0, kind="Adam"), line)
    (finding,) = diagnose(history, rules=[rule_named("learning-rate-too-high")]).findings
    assert fixed.format("0.02") in finding.fixes[0].text


def test_a_loss_has_the_name_that_the_script_gave_it() -> None:
    loss = LossCall(
        "cross_entropy", training_calls=9, watched=9, produced_by="softmax", output_shape=(32, 10),
        called="sparse_categorical_crossentropy", expects="logits",
    )  # fmt: skip
    history = History(steps=100, framework="keras", losses=(loss,))
    (finding,) = diagnose(history, rules=[rule_named("softmax-before-cross-entropy")]).findings
    assert "`sparse_categorical_crossentropy`" in finding.title
    assert "F.cross_entropy" not in "".join(fix.text for fix in finding.fixes)


def test_no_fix_for_keras_speaks_of_torch() -> None:
    fit = FitCall(site=Site("train.py", 12, "", "model.fit(x, y, shuffle=False)"), shuffle=False)
    for rule in all_rules():
        if rule.name not in FIXES:
            continue
        for facts in (one for one in rule.bad.values() if isinstance(one, History)):
            made = tuple(replace(each, site=None) for each in facts.optimizers)  # the examples' lines are torch's
            history = replace(facts, framework="keras", fits=(fit,), optimizers=made)
            for finding in diagnose(history, rules=[rule]).findings:
                text = "".join(each.text for each in finding.fixes)
                assert not any(word in text for word in ("torch.", "nn.", "F.", "optimizer.step")), (rule.name, text)


def test_a_rule_that_is_not_in_the_table_keeps_its_words() -> None:
    rule = rule_named("missing-zero-grad")
    facts = next(iter(rule.bad.values()))
    (finding, *_) = diagnose(facts, rules=[rule]).findings
    assert in_keras_words(finding, facts).fixes == finding.fixes
