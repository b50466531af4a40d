"""A transform that is set on one part of a split, and holds for all parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.attributes import attributes_set, variable_at
from stethoscope.facts.code import Binding, Call, Code, Value
from stethoscope.facts.things import binding_of, followed
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

_SPLIT = "torch.utils.data.random_split"


class _Setting(NamedTuple):
    binding: Binding
    name: str
    """The part, as it is written."""
    split: Call


class TransformSharedBySplit(Rule):
    """A transform is set on the data set behind one part of a split, and all parts share that data set.

    ## What it sees
    `part.dataset.transform = ...`, where `part` comes from `random_split`.
    ## Why it hurts
    The parts are lists of indices into one data set. What is set last holds for all: the validation images are
    augmented like the training images, or the training images no longer are.
    ## How to fix it
    Make the data set twice, with a transform each, and take the indices of the parts from the split.
    ## When it is not a fault
    One transform for all parts, set through one of them.
    ## Sources
    PyTorch documentation, `torch.utils.data.Subset`; PyTorch forums, "Changing transforms after creating a dataset".
    """

    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for such settings, and report the last for each data set."""
        last: dict[int, _Setting] = {}
        for number, binding in attributes_set(file, "transform", "transforms"):
            path = binding.name.rpartition(".")[0]
            name, _, attribute = path.rpartition(".")
            if attribute != "dataset" or "." in name:
                continue
            split = _split(file, variable_at(file, name, number))
            if split is not None:
                last[split.number] = _Setting(binding, name, split)
        for setting in last.values():
            yield self._read(file, setting)

    def _read(self, file: Code, setting: _Setting) -> Finding:
        return self.finding(
            fitting(f"all parts of the split get the transform of `{setting.name}`", "all parts get one transform"),
            sureness=Sureness.CERTAIN,
            place=place_in(file, setting.binding.at),
            evidence=[
                Evidence(
                    f"parts of the split on {line_of(file, setting.split.at)} that this changes", "all: 2 or more", "1"
                )
            ],
            cause="The parts share one data set, and a transform belongs to the data set: the one that is set last "
            "holds for training and validation alike.",
            fixes=[
                "Make the data set twice, and share the indices:\n"
                + code(
                    "train = Subset(Images(root, transform=augment), train_part.indices)",
                    "val = Subset(Images(root, transform=plain), val_part.indices)",
                )
            ],
            unless="one transform is meant for all parts.",
            chain=[
                Link(place_in(file, setting.split.at), "the parts are made, of one data set"),
                Link(place_in(file, setting.binding.at), "the transform of that data set is set"),
            ],
        )

    bad_code = {
        "one for each, as it seems": """
            from torch.utils.data import random_split

            def load(data, augment, plain):
                train, val = random_split(data, [0.8, 0.2])
                train.dataset.transform = augment
                val.dataset.transform = plain  # bad
                return train, val
            """,
        "one of them": """
            from torch.utils.data import DataLoader, random_split
            from torchvision import datasets, transforms

            data = datasets.ImageFolder("images", transform=transforms.ToTensor())
            train, val = random_split(data, [900, 100])
            train.dataset.transform = transforms.RandomHorizontalFlip()  # bad
            """,
    }
    good_code = {
        "a data set for each": """
            from torch.utils.data import Subset, random_split

            def load(make, augment, plain):
                first, second = random_split(make(plain), [0.8, 0.2])
                train = Subset(make(augment), first.indices)
                return train, second
            """,
        "the data set of a loader": """
            def load(loader, plain):
                loader.dataset.transform = plain
                return loader
            """,
    }


def _split(file: Code, value: Value | None) -> Call | None:
    """The `random_split` that a variable is a part of."""
    binding = binding_of(file, value)
    if binding is None or binding.how != "assign" or not binding.item:
        return None
    made, _ = followed(file, binding.value)
    return made if isinstance(made, Call) and made.name == _SPLIT else None
