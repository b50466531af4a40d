"""Findings that the user allowed, for a reason."""

from __future__ import annotations

import pytest
from made_up import finding

from stethoscope.diagnosing.suppress import Suppressions, allowed_in_script, allowed_in_settings, suppress

NAME = "missing-zero-grad"


def test_a_comment_with_a_reason_is_honoured() -> None:
    text = f"x = 1  # stethoscope: allow {NAME} -- the gradients are summed on purpose\n"
    assert allowed_in_script(text, "train.py").reasons == {NAME: "the gradients are summed on purpose"}


def test_several_rules_share_a_reason() -> None:
    allowed = allowed_in_script(f"# stethoscope: allow {NAME}, missing-backward -- a test\n", "train.py")
    assert set(allowed.reasons) == {NAME, "missing-backward"}


@pytest.mark.parametrize("ending", ["", " --", " --   "])
def test_a_comment_without_a_reason_is_not_honoured_and_says_so(ending: str) -> None:
    allowed = allowed_in_script(f"\n# stethoscope: allow {NAME}{ending}\n", "train.py")
    assert not allowed.reasons
    assert allowed.notices[0].startswith(f"train.py:2 allows {NAME} without a reason")


def test_a_text_in_the_script_is_no_comment() -> None:
    assert allowed_in_script(f'print("# stethoscope: allow {NAME} -- no")\n', "train.py") == Suppressions()


def test_an_unknown_rule_is_told() -> None:
    allowed = allowed_in_script("# stethoscope: allow missing-zero -- why not\n", "train.py")
    assert "did you mean `missing-zero-grad`" in allowed.notices[0]


def test_a_script_that_is_no_python_allows_what_was_read_so_far() -> None:
    text = f"# stethoscope: allow {NAME} -- here\nx = (\n"
    assert allowed_in_script(text, "train.py").reasons == {NAME: "here"}


def test_settings_give_a_reason_for_each_rule() -> None:
    allowed = allowed_in_settings({NAME: "summed", "missing-backward": ""})
    assert allowed.reasons == {NAME: "summed"}
    assert allowed.notices[0].startswith("pyproject.toml allows missing-backward without a reason")


def test_both_places_count() -> None:
    both = Suppressions({"a": "one"}, ("first",)) | Suppressions({"b": "two"}, ("second",))
    assert both == Suppressions({"a": "one", "b": "two"}, ("first", "second"))


def test_silenced_findings_are_kept() -> None:
    stay, silenced = suppress((finding("a"), finding("b")), Suppressions({"a": "fine"}))
    assert [f.rule for f in stay] == ["b"]
    assert [f.rule for f in silenced] == ["a"]
