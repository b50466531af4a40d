"""Folders of pictures: planted faults are found, and real ones without are left in peace."""

from __future__ import annotations

import io
import os
import shutil
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL")
pytest.importorskip("sklearn")

from picture_sets import PHOTOS, bomb, crops, crops_apart, digits, photo_of
from PIL import Image, ImageFilter

from stethoscope.core.errors import BadFile, UsageError
from stethoscope.core.finding import Finding, Severity
from stethoscope.core.settings import Settings
from stethoscope.inspecting import Inspection, inspect_data
from stethoscope.observe.data.likeness import alike_pairs, perceptual
from stethoscope.observe.data.picture_files import read_file
from stethoscope.observe.data.picture_sources import is_pictures
from stethoscope.observe.data.sharpness import sharpness_and_focus

SEEDS = (0, 1, 2)


def inspect(train: object, test: object = None) -> Inspection:
    """Without the settings of the folder that the tests run in."""
    return inspect_data(train, test, settings=Settings())


def of(seen: Inspection, rule: str, words: str = "") -> Finding:
    """The finding of a rule whose title has these words."""
    return next(one for one in seen.diagnosis.findings if one.rule == rule and words in one.title)


def files(found: Finding) -> set[str]:
    """The files of a finding, without their folders."""
    return {os.path.basename(dict(row.values)["file"]) for row in found.suspects}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return crops(tmp_path / "train")


@pytest.mark.parametrize("seed", SEEDS)
def test_two_halves_of_real_pictures_raise_no_warning(tmp_path: Path, seed: int) -> None:
    for make, train, test in (
        ("photos", *crops_apart(tmp_path / "a", tmp_path / "b", seed)),
        ("digits", digits(tmp_path / "c", 0, 500, seed), digits(tmp_path / "d", 500, 1000, seed)),
    ):
        seen = inspect(train, test)
        loud = [one.title for one in seen.diagnosis.findings if one.severity is not Severity.NOTE]
        assert not loud, make
        assert not [one for one in seen.diagnosis.findings if one.rule in ("duplicate-samples", "broken-files")]
        assert not seen.diagnosis.broken


@pytest.mark.parametrize("seed", SEEDS)
def test_odd_pictures_are_told_with_their_files(tmp_path: Path, seed: int) -> None:
    root = digits(tmp_path / "train", 0, 300, seed)
    one = Image.open(next((root / "3").iterdir()))
    Image.new("L", (32, 32), 40).save(root / "3" / "blank.png")
    Image.fromarray((np.asarray(one) * 0.04).astype(np.uint8)).save(root / "3" / "dark.png")
    Image.fromarray((255 - (255 - np.asarray(one, float)) * 0.03).astype(np.uint8)).save(root / "3" / "light.png")
    one.filter(ImageFilter.GaussianBlur(5)).save(root / "3" / "blurred.png")
    one.resize((6, 6)).save(root / "3" / "tiny.png")
    one.resize((300, 32)).save(root / "3" / "long.png")
    seen = inspect(root)

    assert files(of(seen, "odd-images", "single colour")) == {"blank.png"}
    assert "dark.png" in files(of(seen, "odd-images", "black"))
    assert "light.png" in files(of(seen, "odd-images", "white"))
    assert "blurred.png" in files(of(seen, "odd-images", "blurred"))
    assert files(of(seen, "odd-images", "smaller")) == {"tiny.png"}
    assert files(of(seen, "odd-images", "longer")) == {"long.png"}


def test_a_gray_picture_among_pictures_in_colours_is_told(folder: Path) -> None:
    photo_of(folder, 4).convert("L").convert("RGB").save(folder / "china" / "gray.png")

    assert files(of(inspect(folder), "odd-images", "gray")) == {"gray.png"}


@pytest.mark.parametrize("seed", SEEDS)
def test_copies_are_found_exact_and_near_and_across_classes(tmp_path: Path, seed: int) -> None:
    root = crops(tmp_path / "train", 120, seed)
    shutil.copy(root / "china" / "0010.jpg", root / "china" / "copy.jpg")
    shutil.copy(root / "china" / "0012.jpg", root / "flower" / "other class.jpg")
    for place in range(20, 40):
        photo_of(root, place).resize((96, 96)).save(root / PHOTOS[place % 2] / f"{place} larger.jpg", quality=60)
    seen = inspect(root)

    assert files(of(seen, "duplicate-samples", "repeat")) == {"0010.jpg", "copy.jpg", "0012.jpg", "other class.jpg"}
    alike = files(of(seen, "duplicate-samples", "same as another"))
    assert len(alike & {f"{place} larger.jpg" for place in range(20, 40)}) >= 16
    assert (
        not alike - {f"{place} larger.jpg" for place in range(20, 40)} - {f"{place:04d}.jpg" for place in range(20, 40)}
    )
    assert files(of(seen, "conflicting-labels")) == {"0012.jpg", "other class.jpg"}


@pytest.mark.parametrize("seed", SEEDS)
def test_pictures_of_the_first_set_in_the_second_are_found(tmp_path: Path, seed: int) -> None:
    train, test = crops(tmp_path / "a", 100, seed), crops(tmp_path / "b", 60, seed + 50)
    for place in range(0, 20, 2):
        shutil.copy(train / "china" / f"{place:04d}.jpg", test / "china" / f"known {place}.jpg")
        photo_of(train, place + 20).resize((50, 50)).save(test / "china" / f"like {place}.png")
    seen = inspect(train, test)

    exact = of(seen, "train-test-overlap", "in the first")
    assert exact.severity is Severity.ERROR
    assert files(exact) == {f"known {place}.jpg" for place in range(0, 20, 2)}
    alike = files(of(seen, "train-test-overlap", "look like"))
    assert len(alike & {f"like {place}.png" for place in range(0, 20, 2)}) >= 8


def test_files_that_cannot_be_read_are_listed_each_with_its_reason(folder: Path) -> None:
    china = folder / "china"
    whole = (china / "0000.jpg").read_bytes()
    (china / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (china / "empty.jpg").write_bytes(b"")
    (china / "page.jpg").write_text("<!DOCTYPE html><html>404")
    (china / "pointer.png").write_text("version https://git-lfs.github.com/spec/v1")
    (china / "noise.png").write_bytes(bytes(range(256)))
    (china / "bomb.png").write_bytes(bomb(50_000, 50_000))
    (china / "large.png").write_bytes(bomb(12_000, 9_000))
    photo_of(folder, 6).save(china / "wrong.jpg", format="PNG")
    seen = inspect(folder)
    why = {dict(row.values)["file"].split("/")[-1]: row.why for row in of(seen, "broken-files", "read").suspects}

    assert why["cut.jpg"] == "is cut off"
    assert why["empty.jpg"] == "is empty"
    assert why["page.jpg"] == "holds a page of HTML, no picture"
    assert why["pointer.png"] == "holds a pointer of Git LFS, no picture"
    assert why["noise.png"] == "holds no picture that can be read"
    assert "more than" in why["bomb.png"]
    assert why["large.png"] == "would unpack to 12,000 x 9,000 pixels"
    assert files(of(seen, "broken-files", "another format")) == {"wrong.jpg"}


def test_a_bomb_takes_neither_time_nor_memory(tmp_path: Path) -> None:
    import resource

    (tmp_path / "bomb.png").write_bytes(bomb(9_400, 9_400))
    (tmp_path / "larger.png").write_bytes(bomb(20_000, 20_000))
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()

    assert isinstance(read_file(str(tmp_path / "larger.png")), str)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    assert time.perf_counter() - began < 2


def test_a_large_picture_of_16_bits_is_reduced_before_it_is_converted(tmp_path: Path) -> None:
    pixels = np.zeros((4000, 4000), np.uint16)
    pixels[:, 2000:] = 40_000
    Image.fromarray(pixels).save(tmp_path / "large.png", compress_level=1)
    tracemalloc.start()
    seen = read_file(str(tmp_path / "large.png"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert not isinstance(seen, str)
    assert seen.size == (4000, 4000)
    assert peak < 4 * pixels.nbytes
    assert seen.pixels[10, 10, 0] == 0
    assert abs(int(seen.pixels[10, -10, 0]) - 156) <= 1


@pytest.mark.skipif(sys.platform != "linux", reason="names of bytes that are no UTF-8")
def test_links_pipes_and_strange_names_do_no_harm(folder: Path) -> None:
    os.symlink("/nonexistent", folder / "china" / "link.jpg")
    os.mkfifo(folder / "china" / "pipe.jpg")
    os.symlink(folder, folder / "china" / "loop")
    strange = os.path.join(os.fsencode(folder), b"china", b"caf\xe9<b>\x1b[31m.jpg")
    photo_of(folder, 8).save(buffer := io.BytesIO(), "JPEG", quality=30)
    Path(os.fsdecode(strange)).write_bytes(buffer.getvalue())
    seen = inspect(folder)
    page = seen.to_html()
    seen.show(out := io.StringIO())

    assert len(of(seen, "broken-files").suspects) == 2
    assert "\x1b[31m" not in out.getvalue()
    assert "<b>.jpg" not in page
    page.encode()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_a_closed_folder_is_told(folder: Path) -> None:
    (folder / "closed").mkdir(mode=0)
    try:
        assert "closed" in files(of(inspect(folder), "broken-files"))
    finally:
        (folder / "closed").chmod(0o700)


def test_modes_turned_and_animated_pictures_are_told(folder: Path) -> None:
    china = folder / "china"
    photo_of(folder, 0).convert("CMYK").save(china / "inks.jpg")
    photo_of(folder, 2).quantize(16).save(china / "palette.png")
    photo_of(folder, 4).convert("RGBA").save(china / "clear.png")
    gray = np.asarray(photo_of(folder, 6).convert("L")).astype(np.uint16)
    Image.fromarray(gray * 257).save(china / "deep.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    photo_of(folder, 8).save(china / "turned.jpg", exif=turned)
    photo_of(folder, 10).save(china / "moving.gif", save_all=True, append_images=[photo_of(folder, 12)])
    seen = inspect(folder)

    mixed = of(seen, "mixed-image-modes", "another way")
    assert mixed.severity is Severity.WARNING
    assert files(mixed) == {"inks.jpg", "palette.png", "clear.png", "deep.png", "moving.gif"}
    assert files(of(seen, "mixed-image-modes", "turned")) == {"turned.jpg"}
    assert files(of(seen, "mixed-image-modes", "frames")) == {"moving.gif"}


def test_sixteen_bits_are_measured_by_their_depth(tmp_path: Path) -> None:
    gray = np.tile(np.arange(64, dtype=np.uint16) * 4, (64, 1))
    Image.fromarray(gray * 257).save(tmp_path / "deep.png")
    Image.fromarray(gray.astype(np.uint8)).save(tmp_path / "plain.png")
    deep, plain = (read_file(str(tmp_path / name)) for name in ("deep.png", "plain.png"))

    assert not isinstance(deep, str)
    assert not isinstance(plain, str)
    assert np.abs(deep.pixels.astype(int) - plain.pixels).max() <= 1


def test_a_size_that_tells_the_class_is_a_shortcut(tmp_path: Path) -> None:
    root = crops(tmp_path / "train", 200)
    rng = np.random.default_rng(0)
    for place in range(200):
        size = int(rng.integers(40, 60)) + 30 * (place % 2)
        photo_of(root, place).resize((size, size)).save(root / ("china", "flower")[place % 2] / f"{place:04d}.jpg")
    found = of(inspect(root), "shortcut-feature")

    assert found.severity is Severity.WARNING
    assert found.title.startswith(("width", "height"))


def test_brightness_of_digits_is_no_shortcut(tmp_path: Path) -> None:
    seen = inspect(digits(tmp_path / "train", 0, 500))

    assert not [one for one in seen.diagnosis.findings if one.rule == "shortcut-feature"]


def test_a_folder_of_one_class_has_no_target(tmp_path: Path) -> None:
    seen = inspect(crops(tmp_path / "train", 60) / "china")

    assert not seen.data.target
    assert "shortcut-feature" in {one.rule for one in seen.diagnosis.not_checked}


def test_a_rare_class_is_told(tmp_path: Path) -> None:
    root = digits(tmp_path / "train", 0, 500)
    for file in sorted((root / "7").iterdir())[3:]:
        file.unlink()

    assert "`7`" in of(inspect(root), "class-imbalance").title


def test_a_folder_of_several_sets_is_named(tmp_path: Path) -> None:
    crops(tmp_path / "images" / "train", 20)
    crops(tmp_path / "images" / "val", 20)

    with pytest.raises(UsageError, match=r"holds several sets: give .*train, and --test .*val"):
        inspect(tmp_path / "images")


def test_a_folder_without_a_readable_picture_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(BadFile, match=r"holds no picture that can be read: a\.png is empty"):
        inspect(tmp_path)


def test_the_statistics_for_normalization_are_those_of_all_pixels(tmp_path: Path) -> None:
    root = crops(tmp_path / "train", 40)
    pixels = np.stack([np.asarray(Image.open(file)) for file in sorted(root.rglob("*.jpg"))]) / 255
    images = inspect(root).data.train.images

    assert images is not None
    np.testing.assert_allclose(images.channel_means, pixels.mean((0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(images.channel_stds, pixels.std((0, 1, 2)), atol=1e-4)


def test_the_page_shows_suspects_and_examples_and_stays_small(folder: Path) -> None:
    for place in range(0, 60, 2):
        shutil.copy(folder / "china" / f"{place:04d}.jpg", folder / "china" / f"copy {place}.jpg")
    page = inspect(folder).to_html()

    assert 20 <= page.count("<img ") <= 110
    assert page.count("data:image/jpeg;base64,") <= 110
    assert len(page.encode()) < 500_000
    assert 'class="gallery"' in page
    assert "Normalize(mean=[" in page


def test_arrays_that_count_to_255_and_to_1_are_told(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (80, 16, 16, 3), dtype=np.uint8)

    found = of(inspect(array[:40] / 255, array[40:]), "inconsistent-preprocessing")
    assert "count to 255" in found.title


@pytest.mark.parametrize(
    "source",
    [np.zeros((10, 3)), np.zeros((10, 5, 2)), [1, 2], "missing", {"a": [1]}, [np.zeros((3, 32, 32))], None],
    ids=["matrix", "series", "list", "path", "dict", "list of arrays", "none"],
)
def test_other_data_are_no_pictures(source: object) -> None:
    assert not is_pictures(source)


def test_a_folder_of_tables_is_no_folder_of_pictures(tmp_path: Path) -> None:
    (tmp_path / "part.parquet").write_bytes(b"PAR1")
    (tmp_path / "logo.png").write_bytes(b"")

    assert not is_pictures(tmp_path)


def test_likeness_is_not_quadratic_and_finds_what_is_near() -> None:
    rng = np.random.default_rng(0)
    count = 20_000
    small = rng.integers(0, 256, (count, 256), dtype=np.uint8)
    small[1] = np.clip(small[0].astype(int) + rng.integers(-2, 3, 256), 0, 255)
    hashes = np.array([perceptual(one.reshape(16, 16)[::2, :9].astype(float)) for one in small], np.uint64)
    began = time.process_time()
    found = alike_pairs(hashes, small, range(count))

    assert found == [(0, 1)]
    assert time.process_time() - began < 20


def test_all_equal_hashes_do_not_stop_the_search() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (5000, 256), dtype=np.uint8)
    began = time.process_time()

    assert alike_pairs(np.zeros(5000, np.uint64), small, range(5000)) == []
    assert time.process_time() - began < 20


def test_pictures_that_a_table_lists_are_looked_at_with_its_rows_and_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pd = pytest.importorskip("pandas")
    root = crops(tmp_path / "files", 100)
    shutil.copy(root / "china" / "0010.jpg", root / "flower" / "copy.jpg")
    names = [str(file.relative_to(tmp_path)) for file in sorted(root.rglob("*.jpg"))]
    frame = pd.DataFrame(
        {"file": ["files/missing.jpg", *names], "kind": ["china", *(one.split("/")[1] for one in names)]}
    )
    monkeypatch.chdir(tmp_path)
    seen = inspect_data(frame, target="kind", settings=Settings())

    assert dict(of(seen, "broken-files").suspects[0].values) == {"file": "files/missing.jpg"}
    conflict = of(seen, "conflicting-labels", "pixels")
    assert {row.row for row in conflict.suspects} == {
        1 + names.index(one) for one in names if "copy" in one or "0010" in one
    }
    assert "data:image/jpeg" in seen.to_html()


def darkened(root: Path) -> Path:
    """The same folder with half of the light."""
    for file in root.rglob("*.jpg"):
        Image.open(file).point(lambda value: int(value * 0.5)).save(file, quality=90)
    return root


def swapped(root: Path) -> Path:
    """The same folder with red and blue exchanged."""
    for file in root.rglob("*.jpg"):
        Image.fromarray(np.asarray(Image.open(file))[:, :, ::-1].copy()).save(file, quality=90)
    return root


@pytest.mark.parametrize("seed", SEEDS)
def test_a_darker_second_set_is_named_as_such(tmp_path: Path, seed: int) -> None:
    train, test = crops_apart(tmp_path / "a", tmp_path / "b", seed)
    found = of(inspect(train, darkened(test)), "distribution-shift")

    assert found.place.columns is not None
    assert "brightness" in found.place.columns
    assert "darker" in found.cause


@pytest.mark.parametrize("seed", SEEDS)
def test_red_and_blue_that_changed_places_are_named(tmp_path: Path, seed: int) -> None:
    train, test = crops_apart(tmp_path / "a", tmp_path / "b", seed)
    found = inspect(train / "flower", swapped(test / "flower"))

    assert "red and blue" in of(found, "inconsistent-preprocessing").title


@pytest.mark.parametrize("seed", SEEDS)
def test_one_cause_of_channels_sizes_or_light_is_one_finding_with_its_name(tmp_path: Path, seed: int) -> None:
    train, test = crops_apart(tmp_path / "a", tmp_path / "b", seed)
    for change, part, rule, title in (
        (swapped, "flower", "inconsistent-preprocessing", "red and blue"),
        (halved, "flower", "distribution-shift", "are smaller: 32 pixels wide, were 64"),
        (dimmed, "flower", "distribution-shift", "darker"),
        (softened, "china", "distribution-shift", "less sharp"),
    ):
        other = Path(shutil.copytree(test / part, tmp_path / change.__name__))
        said = inspect(train / part, change(other)).diagnosis.findings
        loud = [one for one in said if one.severity is not Severity.NOTE]
        assert [one.rule for one in loud] == [rule], change.__name__
        assert title in loud[0].title


def halved(root: Path) -> Path:
    """The same folder at half the size."""
    return _each(root, lambda image: image.resize((image.width // 2, image.height // 2)))


def dimmed(root: Path) -> Path:
    """The same folder with three quarters of the light."""
    return _each(root, lambda image: image.point(lambda value: int(value * 0.75)))


def softened(root: Path) -> Path:
    """The same folder a little out of focus."""
    return _each(root, lambda image: image.filter(ImageFilter.GaussianBlur(1)))


def _each(root: Path, change: Callable[[Image.Image], Image.Image], names: str = "*.jpg") -> Path:
    for file in root.rglob(names):
        change(Image.open(file)).save(file, quality=90)
    return root


@pytest.mark.parametrize("seed", SEEDS)
def test_a_photo_out_of_focus_or_badly_exposed_is_told_among_pieces_of_a_photo(tmp_path: Path, seed: int) -> None:
    root = crops(tmp_path / "train", 240, seed) / "china"  # half of the flower is out of focus by itself
    whole = sorted(root.iterdir(), key=lambda file: -np.asarray(Image.open(file)).std())[:2]  # and sky is no photo
    for file, name in zip(whole, ("blurred.jpg", "dark.jpg"), strict=True):
        shutil.copy(file, root / name)
    _each(root, lambda image: image.filter(ImageFilter.GaussianBlur(2)), "blurred.jpg")
    _each(root, lambda image: image.point(lambda value: int(value * 0.25)), "dark.jpg")
    seen = inspect(root)

    assert files(of(seen, "odd-images", "blurred")) == {"blurred.jpg"}
    assert files(of(seen, "odd-images", "darker")) == {"dark.jpg"}


def focus(grays: np.ndarray) -> float:
    """The second of the two measures."""
    return sharpness_and_focus(grays)[1]


@pytest.mark.parametrize("width", [3, 7, 16, 64])
def test_focus_falls_with_blur_alone(width: int) -> None:
    rng = np.random.default_rng(0)
    for contrast in (1.0, 0.2):
        steps = np.repeat(np.repeat(rng.integers(0, 256, (16, 16)), width, 0), width, 1)  # a drawing of squares
        clear = Image.fromarray((128 + contrast * (steps - 128)).astype(np.uint8))
        soft = clear.filter(ImageFilter.GaussianBlur(2))
        sharp, blurred = (focus(np.asarray(one, np.float32) / 255) for one in (clear, soft))
        assert sharp > 0.25
        assert blurred < 0.16


def test_focus_is_not_known_of_what_shows_nothing() -> None:
    assert focus(np.full((64, 64), 0.5, np.float32)) == 1
    assert focus(np.zeros((3, 3), np.float32)) == 1
    faint = np.random.default_rng(0).integers(100, 102, (64, 64)).astype(np.float32) / 255
    assert focus(faint) >= 0.16
