"""Wrong labels among pictures: planted ones are found and shown, and clean sets are left in peace."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL")
pytest.importorskip("sklearn")

from picture_sets import crops, digits
from PIL import Image

from stethoscope.core.finding import Finding
from stethoscope.core.settings import Settings
from stethoscope.inspecting import Inspection, inspect_data
from stethoscope.observe.data import pictures
from stethoscope.observe.data.picture_labels import CELLS, SIDE, look_of
from stethoscope.render.inspection import inspection_json


def inspect(train: object) -> Inspection:
    """Without the settings of the folder that the tests run in."""
    return inspect_data(train, settings=Settings())


def told(seen: Inspection) -> Finding | None:
    return next((one for one in seen.diagnosis.findings if one.rule == "label-errors"), None)


def misplaced(root: Path, share: float, seed: int = 0) -> set[str]:
    """Names of files that were moved to the folder of another class."""
    rng = np.random.default_rng(seed)
    classes = sorted(one.name for one in root.iterdir())
    moved = set()
    for file in sorted(root.glob("*/*")):
        if rng.random() < share:
            others = [name for name in classes if name != file.parent.name]
            name = f"moved-{file.name}"
            file.rename(root / str(rng.choice(others)) / name)
            moved.add(name)
    return moved


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_digits_in_the_wrong_folder_are_named_first(tmp_path: Path, share: float) -> None:
    moved = misplaced(digits(tmp_path, 0, 800), share)
    seen = inspect(str(tmp_path))
    finding = told(seen)

    assert finding is not None
    assert "probably wrong" in finding.title
    named = [Path(dict(row.values)["file"]).name for row in finding.suspects]
    assert len(moved & set(named)) >= 0.75 * len(moved)
    assert len(moved & set(named)) >= 0.85 * len(named)
    assert "like" in finding.suspects[0].why
    assert ".png" in finding.suspects[0].why
    assert "predicted" in seen.to_html()


def test_clean_digits_and_photos_are_left_in_peace(tmp_path: Path) -> None:
    assert told(inspect(str(digits(tmp_path / "digits", 0, 600)))) is None
    assert told(inspect(str(crops(tmp_path / "photos", 200)))) is None


def test_what_models_are_told_does_not_depend_on_light() -> None:
    rng = np.random.default_rng(0)
    grays, colours = rng.uniform(80, 120, (SIDE, SIDE)), rng.uniform(0, 255, (CELLS, CELLS, 3))
    one, lighter = look_of(grays, colours), look_of(grays + 60, colours)

    assert one.dtype == np.uint8
    assert np.array_equal(one, lighter)
    assert not np.array_equal(one, look_of(grays.T, colours))


def test_of_too_many_pictures_some_are_looked_at_and_the_report_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pictures, "MOST_PICTURES", 60)
    steps: list[float] = []
    seen = inspect_data(
        str(digits(tmp_path, 0, 200)), settings=Settings(), progress=lambda what, part: steps.append(part)
    )
    images = seen.data.train.images

    assert images is not None
    assert (len(images.files), images.left) == (60, 140)
    assert len(set(images.labels)) == 10
    assert steps == sorted(steps)
    seen.show(sys.stdout)
    assert "60 pictures of 200, drawn at random" in " ".join(capsys.readouterr().out.split())
    assert "60 of 200" in seen.to_html()
    assert "60 were drawn at random" in " ".join(seen.to_html().split())
    assert inspection_json(seen.diagnosis, seen.data)["data"]["sets"][0]["images_left"] == 140


def test_pictures_that_take_turns_are_all_among_those_that_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every second file a sample at even distances has one kind only."""
    monkeypatch.setattr(pictures, "MOST_PICTURES", 60)
    for place in range(120):
        noise = np.random.default_rng(place).integers(0, 40, (24, 24)) + (0 if place % 2 else 200)
        Image.fromarray(noise.astype(np.uint8)).save(tmp_path / f"{place:04d}_{'mask' if place % 2 else 'photo'}.png")
    images = inspect_data(str(tmp_path), settings=Settings()).data.train.images
    again = inspect_data(str(tmp_path), settings=Settings()).data.train.images

    assert images is not None
    assert again is not None
    assert images.files == again.files == tuple(sorted(images.files))
    kinds = [file.split("_")[1] for file in images.files]
    assert 20 <= kinds.count("mask.png") <= 40
    places = np.array([int(Path(file).name[:4]) for file in images.files])
    assert places.min() < 12
    assert places.max() > 108


def test_a_table_that_names_pictures_takes_what_knows_the_labels_better(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    moved = misplaced(digits(tmp_path, 0, 600), 0.1)
    files = sorted(tmp_path.glob("*/*"))
    frame = pd.DataFrame({
        "file": [str(one.relative_to(tmp_path)) for one in files],
        "digit": [f"d{one.parent.name}" for one in files],
    })  # fmt: skip
    table = tmp_path / "digits.csv"
    frame.sample(frac=1, random_state=0).to_csv(table, index=False)
    finding = told(inspect_data(str(table), target="digit", settings=Settings()))

    assert finding is not None
    named = [Path(dict(row.values)["file"]).name for row in finding.suspects]
    assert len(moved & set(named)) >= 0.6 * len(moved)


def test_a_set_without_classes_has_no_labels_to_judge(tmp_path: Path) -> None:
    for place, file in enumerate(sorted(digits(tmp_path / "by class", 0, 80).glob("*/*"))):
        file.rename(tmp_path / f"{place}.png")
    seen = inspect(str(tmp_path))

    assert seen.data.train.labels is None
    assert told(seen) is None
