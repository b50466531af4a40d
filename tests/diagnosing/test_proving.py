"""Experiments decide how sure a finding is, and which cause leads; the lab is made up here."""

from __future__ import annotations

from collections.abc import Mapping

from made_up import finding

from stethoscope.core.finding import Finding, Kind, Severity, Sureness
from stethoscope.core.treatment import Clip, NoDropout, ScaleLearningRate, ShuffleBatches, Treatment, Trial
from stethoscope.diagnosing.explain import explain
from stethoscope.diagnosing.prove import prove
from stethoscope.diagnosing.rank import rank
from stethoscope.facts.training import History

TREATMENTS: Mapping[str, tuple[Treatment, ...]] = {"a": (ShuffleBatches(),), "b": (NoDropout(),), "c": (Clip(1.0),)}
LOWER, LOWEST = ScaleLearningRate(0.1), ScaleLearningRate(0.01)


class MadeUpLab:
    """Ends with the losses that it is told for each treatment; 2.3 for others."""

    def __init__(self, ends: Mapping[tuple[Treatment, ...], float], only_longer: bool = False) -> None:
        self.ends, self.only_longer = ends, only_longer
        self.tried: list[tuple[tuple[Treatment, ...], bool]] = []

    def __call__(self, treatments: tuple[Treatment, ...], longer: bool) -> Trial:
        self.tried.append((treatments, longer))
        end = self.ends.get(treatments, 2.3) if longer or not self.only_longer else 2.3
        return Trial("it", 48, (2.3,) * 5, (end,) * 5, 2.3, 2.3)


def proven(
    findings: list[Finding],
    lab: MadeUpLab,
    explains: Mapping[str, tuple[str, ...]] | None = None,
    **more: tuple[Treatment, ...],
) -> dict[str, Finding]:
    """The findings by rule, after the lab was asked."""
    found = prove(findings, History(), explains or {}, {**TREATMENTS, **more}, lab)
    return {each.rule: each for each in found}


def test_a_cause_whose_cure_is_seen_is_certain() -> None:
    found = proven([finding("a")], MadeUpLab({(ShuffleBatches(),): 0.4}))["a"]

    assert found.proof is not None
    assert (found.proof.verdict, found.sureness, found.severity) == ("cured", Sureness.CERTAIN, Severity.ERROR)


def test_a_symptom_whose_cure_is_seen_is_no_cause() -> None:
    found = proven([finding("a", kind=Kind.SYMPTOM)], MadeUpLab({(ShuffleBatches(),): 0.4}))["a"]
    assert found.sureness is Sureness.LIKELY


def test_what_helps_makes_the_possible_likely() -> None:
    lab = MadeUpLab({(ShuffleBatches(),): 1.9})
    assert proven([finding("a", sureness=Sureness.POSSIBLE)], lab)["a"].sureness is Sureness.LIKELY


def test_a_cure_that_does_nothing_makes_a_note_of_it() -> None:
    lab = MadeUpLab({})
    found = proven([finding("a")], lab)["a"]

    assert (found.severity, found.sureness) == (Severity.NOTE, Sureness.POSSIBLE)
    assert lab.tried == [((ShuffleBatches(),), False), ((ShuffleBatches(),), True)]


def test_what_the_time_is_too_short_for_refutes_nothing() -> None:
    class HurriedLab(MadeUpLab):
        """Has no time for longer replays."""

        def __call__(self, treatments: tuple[Treatment, ...], longer: bool) -> Trial:
            return Trial("it", why_not="that would take too long") if longer else super().__call__(treatments, longer)

    found = proven([finding("a")], HurriedLab({}))["a"]

    assert found.proof is not None
    assert (found.severity, found.proof.verdict) == (Severity.ERROR, "not possible")
    assert found.proof.why == "the 48 steps that there was time for show nothing"


def test_what_is_certain_by_arithmetic_stays_an_error() -> None:
    found = proven([finding("a", sureness=Sureness.CERTAIN)], MadeUpLab({}))["a"]

    assert (found.severity, found.sureness) == (Severity.ERROR, Sureness.CERTAIN)
    assert found.proof is not None


def test_what_shows_in_longer_replays_only_is_found_there() -> None:
    lab = MadeUpLab({(ShuffleBatches(),): 0.4}, only_longer=True)
    assert proven([finding("a")], lab)["a"].sureness is Sureness.CERTAIN


def test_the_best_of_several_treatments_is_told() -> None:
    lab = MadeUpLab({(LOWER,): 1.0, (LOWEST,): 0.3})
    found = proven([finding("a")], lab, a=(LOWER, LOWEST))["a"]

    assert found.proof is not None
    assert found.proof.after == 0.3


def test_the_experiment_decides_which_of_two_causes_leads() -> None:
    explains = {"a": ("b",)}
    said = [finding("a"), finding("b")]
    assert [f.rule for f in rank(explain(said, explains, History()), History())] == ["a"]

    found = prove(said, History(), explains, TREATMENTS, MadeUpLab({(NoDropout(),): 0.4}))

    assert [f.rule for f in rank(explain(found, explains, History()), History())] == ["b", "a"]


def test_what_follows_from_a_proven_cause_is_not_tried() -> None:
    lab = MadeUpLab({(ShuffleBatches(),): 0.4})
    proven([finding("a"), finding("b")], lab, {"a": ("b",)})
    assert lab.tried == [((ShuffleBatches(),), False)]


def test_two_faults_that_hide_each_other_are_tried_together() -> None:
    lab = MadeUpLab({(ShuffleBatches(), NoDropout()): 0.4})
    found = proven([finding("a"), finding("b")], lab)

    assert {name: each.sureness for name, each in found.items()} == {"a": Sureness.CERTAIN, "b": Sureness.CERTAIN}


def test_a_finding_without_a_treatment_stays_as_it_is() -> None:
    lab = MadeUpLab({})
    assert proven([finding("z")], lab)["z"] == finding("z")
    assert not lab.tried


def test_what_follows_from_a_cause_without_a_treatment_is_not_tried() -> None:
    lab = MadeUpLab({(NoDropout(),): 0.4})
    proven([finding("y"), finding("b", kind=Kind.SYMPTOM)], lab, {"y": ("b",)})
    assert not lab.tried


def test_a_suspicion_that_an_experiment_confirms_is_said() -> None:
    lab = MadeUpLab({(ShuffleBatches(),): 0.4})
    assert proven([finding("a", sureness=Sureness.SUSPECTED)], lab)["a"].sureness is Sureness.CERTAIN


def test_a_suspicion_that_is_not_confirmed_is_dropped() -> None:
    assert not proven([finding("a", sureness=Sureness.SUSPECTED)], MadeUpLab({}))


def test_a_suspicion_is_not_tried_where_a_cause_is_beyond_doubt() -> None:
    lab = MadeUpLab({(ShuffleBatches(),): 0.4, (NoDropout(),): 0.4})
    found = proven([finding("a", sureness=Sureness.SUSPECTED), finding("b")], lab)
    assert set(found) == {"b"}
    assert lab.tried == [((NoDropout(),), False)]


def test_a_suspicion_is_tried_where_symptoms_have_no_cause() -> None:
    lab = MadeUpLab({(ShuffleBatches(),): 0.4})
    found = proven([finding("a", sureness=Sureness.SUSPECTED), finding("s", kind=Kind.SYMPTOM)], lab)
    assert set(found) == {"a", "s"}


def test_a_suspicion_that_is_confirmed_stands_beside_a_cause_that_nothing_proved() -> None:
    lab = MadeUpLab({(ShuffleBatches(),): 0.4})
    found = proven([finding("a", sureness=Sureness.SUSPECTED), finding("u")], lab, explains={"a": ("u",)})
    assert found["a"].sureness is Sureness.CERTAIN


def test_a_note_whose_cure_does_far_better_is_a_warning() -> None:
    lab = MadeUpLab({(ShuffleBatches(),): 0.4})
    found = proven([finding("a", severity=Severity.NOTE)], lab)["a"]
    assert (found.severity, found.sureness) == (Severity.WARNING, Sureness.CERTAIN)


def test_a_note_whose_cure_does_nothing_stays_as_it_is() -> None:
    found = proven([finding("a", severity=Severity.NOTE)], MadeUpLab({}))["a"]
    assert (found.severity, found.sureness, found.proof) == (Severity.NOTE, Sureness.LIKELY, None)
