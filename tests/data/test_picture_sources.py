"""Pictures from arrays, data sets, loaders and streams."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("PIL")
pytest.importorskip("sklearn")

from picture_sets import digits
from PIL import Image

from stethoscope.core.errors import BadFile, UsageError
from stethoscope.core.settings import Settings
from stethoscope.inspecting import Inspection, inspect_data


def inspect(train: object) -> Inspection:
    """Without the settings of the folder that the tests run in."""
    return inspect_data(train, settings=Settings())


def test_arrays_and_data_sets_of_pictures_are_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    root = digits(tmp_path / "train", 0, 200)
    names = sorted(root.rglob("*.png"))
    array = np.stack([np.asarray(Image.open(name)) for name in names])
    labels = [int(name.parent.name) for name in names]
    tensors = torch.utils.data.TensorDataset(torch.tensor(array[:, None] / 255.0), torch.tensor(labels))
    of_folder = inspect(root).data.train.images
    given = ((array, labels), tensors, torch.utils.data.DataLoader(tensors, batch_size=8))
    for source in given:
        images = inspect(source).data.train.images
        assert images is not None
        assert of_folder is not None
        assert images.labels == of_folder.labels
        np.testing.assert_allclose(images.values, of_folder.values, atol=1e-9)


def test_samples_that_are_dicts_streams_of_them_and_data_sets_with_features_are_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    names = sorted(digits(tmp_path / "train", 0, 60).rglob("*.png"))
    made = [{"image": Image.open(name), "label": int(name.parent.name), "hour": 3} for name in names]
    arrays = [(torch.tensor(np.asarray(one["image"]))[None] / 255.0, one["label"]) for one in made]

    class Dicts(torch.utils.data.Dataset[object]):
        features = None

        def __len__(self) -> int:
            return len(made)

        def __getitem__(self, place: int | str) -> object:
            return made[place] if isinstance(place, int) else [one[place] for one in made]

    class Stream(torch.utils.data.IterableDataset[object]):
        def __iter__(self) -> Iterator[object]:
            return iter(arrays)

    class Featured(Dicts):  # as Hugging Face's are
        shape = (len(made), 2)
        features = {"label": SimpleNamespace(names=[f"digit {one}" for one in range(10)])}

    for source, first in (
        (Dicts(), "0"),
        (Stream(), "0"),
        (torch.utils.data.DataLoader(Stream()), "0"),
        (Featured(), "digit 0"),
    ):
        images = inspect(source).data.train.images
        assert images is not None
        assert len(images.files) == len(made)
        assert images.labels[0] == first
    assert inspect_data(Dicts(), target="label", settings=Settings()).data.target == "class"
    with pytest.raises(UsageError, match="did you mean 'label'"):
        inspect_data(Dicts(), target="lable", settings=Settings())


def test_a_sample_that_fails_is_named() -> None:
    class Failing:
        def __len__(self) -> int:
            return 50

        def __getitem__(self, place: int) -> object:
            if place == 7:
                raise OSError("the disk is gone")
            return [0.5, 0.2, 0.1], place % 2

    with pytest.raises(BadFile, match="sample 7 cannot be read: OSError: the disk is gone"):
        inspect(Failing())
