"""Columns of texts: planted faults are found in real prose, and the prose itself is left in peace."""

from __future__ import annotations

import importlib
import inspect as python
import io
from functools import cache

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("narwhals")
pytest.importorskip("scipy")

from stethoscope.core.finding import Finding, Severity  # noqa: E402
from stethoscope.core.settings import Settings  # noqa: E402
from stethoscope.facts.data import Rows  # noqa: E402
from stethoscope.inspecting import Inspection, inspect_data  # noqa: E402
from stethoscope.observe.data.languages import language_of, script_of  # noqa: E402
from stethoscope.observe.data.texts import look  # noqa: E402

SEEDS = (0, 1, 2)
MODULES = ("numpy", "numpy.linalg", "scipy.stats", "scipy.signal", "scipy.optimize", "pandas")
GERMAN = (
    "Der Zug ist heute wieder nicht pünktlich, und auf dem Bahnsteig stehen viele, die mit den Kindern in die Stadt "
    "wollen; es ist kalt, aber nicht so sehr wie am Tag davor, als wir noch länger warten mussten."
)
RUSSIAN = "Сегодня поезд снова опоздал, и на платформе стояло много людей с детьми."


@cache
def paragraphs() -> tuple[str, ...]:
    """Different paragraphs of prose from the documentation of some libraries, of thirty words or more."""
    found: dict[str, None] = {}
    for name in MODULES:
        for one in vars(importlib.import_module(name)).values():
            for part in (python.getdoc(one) or "").split("\n\n") if callable(one) else ():
                text = " ".join(part.split())
                if len(text.split()) >= 30 and text[0].isupper() and text.endswith(".") and ">>>" not in text:
                    found[text] = None
    return tuple(sorted(found))


def table(count: int = 400, seed: int = 0, start: int = 0) -> pd.DataFrame:
    """Paragraphs with labels that have nothing to do with them."""
    rng = np.random.default_rng(seed)
    texts = [paragraphs()[i] for i in np.random.default_rng(7).permutation(len(paragraphs()))[start : start + count]]
    assert len(texts) == count, len(paragraphs())
    return pd.DataFrame({"body": texts, "label": rng.choice(["good", "bad"], count)})


def inspect(train: object, test: object = None) -> Inspection:
    """The texts, with their labels."""
    return inspect_data(train, test, target="label", text="body", settings=Settings())


def of(seen: Inspection, rule: str, words: str = "") -> Finding:
    """The finding of a rule whose title has these words."""
    return next(one for one in seen.diagnosis.findings if one.rule == rule and words in one.title)


def rows(found: Finding) -> set[int]:
    """The rows of a finding."""
    return {row.row for row in found.suspects}


@pytest.mark.parametrize("seed", SEEDS)
def test_two_halves_of_real_prose_raise_no_warning(seed: int) -> None:
    seen = inspect(table(350, seed), table(250, seed + 9, start=350))
    loud = [one.title for one in seen.diagnosis.findings if one.severity is not Severity.NOTE]
    noted = {one.rule for one in seen.diagnosis.findings if "nearly" not in one.title}  # which some paragraphs are

    assert not loud
    assert not noted & {"damaged-text", "mixed-languages", "unknown-words", "label-in-text", "duplicate-samples"}
    assert not seen.diagnosis.broken


def test_the_column_of_texts_is_found_by_itself() -> None:
    seen = inspect_data(table(), target="label", settings=Settings())

    assert seen.data.train.texts is not None
    assert seen.data.train.texts.column == "body"


@pytest.mark.parametrize("seed", SEEDS)
def test_unknown_words_of_new_texts_are_as_many_as_the_first_set_has_itself(seed: int) -> None:
    order = np.random.default_rng(seed).permutation(600)
    both = table(600)
    seen = inspect(both.iloc[order[:400]], both.iloc[order[400:]])
    texts = [one.texts for one in seen.data.sets]

    assert texts[0] is not None
    assert texts[1] is not None
    assert abs(texts[0].of("unknown words").mean() - texts[1].of("unknown words").mean()) < 0.02


def test_damage_and_remains_of_html_are_told_with_their_rows() -> None:
    frame = table()
    for row in range(5, 400, 40):
        frame.loc[row, "body"] = (frame.loc[row, "body"] + " It’s a café.").encode().decode("cp1252", "replace")
        frame.loc[row + 1, "body"] += " <br /> Tom &amp; Ann"
    seen = inspect(frame)

    assert rows(of(seen, "damaged-text", "encoding")) == set(range(5, 400, 40))
    assert rows(of(seen, "damaged-text", "HTML")) == set(range(6, 401, 40))


def test_empty_and_far_longer_texts_are_told() -> None:
    frame = table()
    frame.loc[[3, 33, 44, 55], "body"] = ["", "  ", "\t", "\n"]
    frame.loc[70, "body"] = " ".join(paragraphs()[:300])
    seen = inspect(frame)

    assert of(seen, "odd-texts", "empty").severity is Severity.WARNING
    assert rows(of(seen, "odd-texts", "empty")) == {3, 33, 44, 55}
    assert rows(of(seen, "odd-texts", "longer")) == {70}


def test_copies_but_for_case_and_spacing_are_told_and_short_texts_are_not() -> None:
    frame = table()
    for row in range(0, 20, 2):
        frame.loc[row + 100, "body"] = "  " + frame.loc[row, "body"].upper().replace(" ", "  ")
    frame.loc[200:240, "body"] = "Thank you!"
    found = of(inspect(frame), "duplicate-samples", "texts")

    assert rows(found) == set(range(100, 120, 2))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_word_that_came_with_the_label_is_told(seed: int) -> None:
    frame = table(400, seed)
    bad = frame.index[frame.label == "bad"]
    marked = np.random.default_rng(seed).choice(bad, int(0.6 * len(bad)), replace=False)
    frame.loc[marked, "body"] += " xj-tag."
    found = of(inspect(frame), "label-in-text")

    assert "`xj`" in found.title or "`tag`" in found.title
    assert "`bad`" in found.cause


@pytest.mark.parametrize("seed", SEEDS)
def test_the_name_of_the_label_in_its_texts_is_told(seed: int) -> None:
    frame = table(600, seed)
    good = frame.index[frame.label == "good"]
    frame["body"] = frame["body"].str.replace("good", "fine", case=False)
    marked = np.random.default_rng(seed).choice(good, int(0.2 * len(good)), replace=False)
    frame.loc[marked, "body"] += " (good)"

    assert "`good`" in of(inspect(frame), "label-in-text").title


def test_a_few_texts_in_another_language_or_script_are_told() -> None:
    frame = table()
    frame.loc[[10, 20, 30, 40], "body"] = [f"{GERMAN} {i}" for i in range(4)]
    frame.loc[[11, 21, 31], "body"] = [f"{RUSSIAN} {i}" for i in range(3)]
    found = of(inspect(frame), "mixed-languages")

    assert rows(found) == {10, 20, 30, 40, 11, 21, 31}
    assert {row.why for row in found.suspects} == {"German", "Cyrillic"}


def test_a_sentence_that_stands_in_many_texts_is_told() -> None:
    frame = table()
    frame.loc[::5, "body"] += " Sent from the mobile telephone of our company."

    assert "80 of 400" in of(inspect(frame), "odd-texts", "one sentence").title


def test_words_of_another_preparation_are_unknown() -> None:
    test = table(200, start=400)
    test["body"] = test["body"].str.replace(r"(?<=\w{3})\w+", "", regex=True)  # cut to four letters
    found = of(inspect(table(), test), "unknown-words")

    assert found.severity is Severity.WARNING


def test_texts_of_the_first_set_in_the_second_are_told() -> None:
    train, test = table(), table(200, start=400)
    test.loc[:19, "body"] = train.loc[:19, "body"].str.lower().to_numpy()
    found = of(inspect(train, test), "train-test-overlap", "texts")

    assert set(range(20)) <= rows(found)
    assert found.severity is Severity.ERROR


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (GERMAN, "German"),
        ("Le train est encore en retard, et sur le quai il y a des gens qui attendent avec les enfants.", "French"),
        ("El tren llega otra vez tarde y en el andén hay muchas personas que esperan con los niños.", "Spanish"),
        ("The train is late again and on the platform there are many who wait with their children.", "English"),
        ("Il treno è di nuovo in ritardo e sul binario ci sono molte persone che aspettano con i bambini.", "Italian"),
        ("De trein is weer te laat en op het perron staan veel mensen die met de kinderen wachten.", "Dutch"),
        ("too short", ""),
        ("Miss ya, need ya, want ya, love ya.", ""),
        ("Dunno dat's wat he told me. Ok then lor", ""),
        ("x = f(y) + g(z) * h(w) - a b c d e f g", ""),
    ],
)
def test_a_language_is_known_by_its_small_words(text: str, language: str) -> None:
    assert language_of(text.lower().replace(".", "").replace(",", "").split()) == language


@pytest.mark.parametrize(
    ("text", "script"),
    [
        (RUSSIAN, "Cyrillic"), ("plain", "Latin"), ("これは日本語です", "Kana"), ("这是中文", "Han"),
        ("한국어", "Hangul"), ("مرحبا", "Arabic"), ("123 ...", ""), ("naïve café", "Latin"),
    ],
)  # fmt: skip
def test_a_script_is_known_by_its_letters(text: str, script: str) -> None:
    assert script_of(text) == script


@pytest.mark.parametrize("texts", [[], [None, None], ["", " "], ["a"], ["\x00\ud800"]], ids=repr)
def test_hardly_any_text_does_no_harm(texts: list[str | None]) -> None:
    values = np.empty(len(texts), object)
    values[:] = texts
    seen, _ = look("a", Rows(np.arange(len(texts)), {"a": values}), None)

    assert np.isfinite(seen.values).all()


def test_html_and_control_characters_in_texts_are_shown_as_they_are() -> None:
    frame = table(100)
    frame.loc[5, "body"] = "\x1b[31m<script>alert(1)</script> cafÃ© " + frame.loc[5, "body"]
    seen = inspect(frame)
    seen.show(out := io.StringIO())

    assert "\x1b[31m<" not in out.getvalue()
    assert "<script>alert" not in seen.to_html()


@pytest.mark.parametrize("seed", SEEDS)
def test_texts_that_stand_for_none_are_told_and_what_people_say_is_not(seed: int) -> None:
    frame = table(400, seed)
    spelled, said = ["[deleted]", "[removed]"], ["(no text)", "No content.", "-----", "no comment", *["{{review}}"] * 4]
    frame.loc[range(0, 50, 5), "body"] = spelled + said
    frame.loc[[101, 111, 121, 131], "body"] = [":-)", "?!", "[sic] indeed", "Thank you!"]
    seen = inspect(frame)
    found = of(seen, "odd-texts", "stand for one")

    assert rows(found) == set(range(10, 50, 5))
    assert found.severity is Severity.WARNING
    assert dict(seen.data.train.profile.column("body").words.missing) == {"[deleted]": 1, "[removed]": 1}


@pytest.mark.parametrize("seed", SEEDS)
def test_texts_with_a_word_changed_are_told_in_one_set_and_in_two(seed: int) -> None:
    frame, test = without_templates(table(300, seed)), without_templates(table(100, seed, start=300))
    random = np.random.default_rng(seed)
    for row in range(10):
        test.loc[row, "body"] = changed(frame.loc[row + 20, "body"], random)
    known = of(inspect(frame, test), "train-test-overlap", "nearly")
    for row in range(10):
        frame.loc[row + 100, "body"] = changed(frame.loc[row, "body"], random)
    near = of(inspect(frame), "duplicate-samples", "nearly")

    assert rows(near) >= set(range(100, 110))
    assert near.severity is Severity.NOTE
    assert rows(known) >= set(range(10))
    assert known.severity is Severity.WARNING


def without_templates(frame: pd.DataFrame) -> pd.DataFrame:
    """Without the paragraph that each distribution of SciPy has with another name in it."""
    return frame[~frame.body.str.startswith("As an instance of")].reset_index(drop=True)


def changed(text: str, random: np.random.Generator) -> str:
    """With one other word."""
    words = text.split()
    words[int(random.integers(len(words)))] = "otherwise"
    return " ".join(words)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_length_that_tells_the_class_is_a_shortcut(seed: int) -> None:
    frame = table(400, seed)
    bad = frame.label == "bad"
    frame.loc[bad, "body"] = frame.loc[bad, "body"].str.slice(0, 140)
    found = of(inspect(frame), "shortcut-feature")

    assert found.severity is Severity.WARNING
    assert "length" in found.title or "words" in found.title


@pytest.mark.parametrize("seed", SEEDS)
def test_a_class_that_is_somewhat_longer_is_no_shortcut(seed: int) -> None:
    frame = table(400, seed)
    bad = frame.index[frame.label == "bad"]
    frame.loc[bad, "body"] += " And this is one more sentence of it."
    assert not [one for one in inspect(frame).diagnosis.findings if one.rule == "shortcut-feature"]


def test_a_text_far_shorter_than_all_others_is_told() -> None:
    frame = table(400)
    frame.loc[17, "body"] = "Ok"
    assert rows(of(inspect(frame), "odd-texts", "shorter")) == {17}
