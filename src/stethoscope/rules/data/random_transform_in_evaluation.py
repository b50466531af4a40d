"""Random augmentation of the data that a model is judged by."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Call, Code, Group, Value
from stethoscope.facts.things import followed, literal
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

_RANDOM = frozenset({
    "RandomCrop", "RandomHorizontalFlip", "RandomVerticalFlip", "RandomResizedCrop", "RandomSizedCrop", "ColorJitter",
    "RandomRotation", "RandomAffine", "RandomPerspective", "RandomErasing", "AutoAugment", "RandAugment",
    "TrivialAugmentWide", "AugMix", "RandomGrayscale", "RandomPosterize", "RandomSolarize", "RandomInvert",
    "RandomAdjustSharpness", "RandomAutocontrast", "RandomEqualize", "ElasticTransform", "RandomPhotometricDistort",
})  # fmt: skip
_JOINED = frozenset({"Compose", "Sequential", "RandomApply", "RandomChoice", "RandomOrder"})
_PARTS = {"test": "test", "val": "validation", "valid": "validation", "validation": "validation"}


class RandomTransformInEvaluation(Rule):
    """The validation or test images are cropped, turned or coloured at random.

    ## What it sees
    A data set of torchvision with `train=False`, `split="test"` or `split="val"` whose transform holds a random one:
    `RandomCrop`, `RandomHorizontalFlip`, `ColorJitter` and their like.
    ## Why it hurts
    The score is that of distorted images: too low, and another one at each pass, so that two models, or two epochs,
    cannot be compared by it.
    ## How to fix it
    A transform without random parts for it: `Resize` and `CenterCrop` in place of `RandomResizedCrop`.
    ## When it is not a fault
    A mean over several random views of each test image, on purpose. In a run two passes over
    the validation data differ.
    ## Sources
    PyTorch tutorial, "Transfer Learning for Computer Vision": "data augmentation and normalization for training, only
    normalization for validation".
    """

    on_trial = True
    severity = Severity.WARNING

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look into the transforms of the data sets that are not for training."""
        for call in file.calls_named(lambda name: name.startswith("torchvision.datasets.")):
            if call.receiver is not None or call.is_open:
                continue
            part = _part(file, call)
            random = next(_random_in(file, call.keyword("transform")), None) if part else None
            if random is None:
                continue
            name = random.name.rpartition(".")[2]
            yield self.finding(
                fitting(f"the {part} images pass through `{name}`", f"the {part} images are changed at random"),
                sureness=Sureness.CERTAIN,
                place=place_in(file, call.at),
                evidence=[
                    Evidence(f"random transforms of the {part} data on {line_of(file, call.at)}", "1 or more", "0")
                ],
                cause=f"`{name}` changes each image at random, so the score is that of other images at each pass.",
                fixes=[
                    f"Give the {part} data a transform without random parts:\n"
                    + code("evaluation = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), "
                           "transforms.ToTensor()])")
                ],
                unless="several views of each image are averaged.",
                chain=[
                    Link(place_in(file, random.at), "changes images at random"),
                    Link(place_in(file, call.at), f"the {part} data uses it"),
                ],
            )  # fmt: skip

    bad_code = {
        "the transform of the training data": """
            import torch
            from torchvision import datasets, transforms
            from torch.utils.data import DataLoader

            transform = transforms.Compose([
                transforms.RandomCrop(32, padding=4),
                transforms.ToTensor(),
            ])
            train = datasets.CIFAR10("data", train=True, transform=transform)
            test = datasets.CIFAR10("data", train=False, transform=transform)  # bad
            other = datasets.CIFAR100("data", False, transform=transform)  # bad
            """,
        "a split by name": """
            from torchvision import datasets
            from torchvision.transforms import v2

            def data():
                steps = [v2.ToImage(), v2.ColorJitter(0.2)]
                return datasets.Food101("data", split="test", transform=v2.Compose(steps))  # bad
            """,
    }
    good_code = {
        "one for each": """
            from torchvision import datasets, transforms

            augment = transforms.Compose([transforms.RandomCrop(32, padding=4), transforms.ToTensor()])
            plain = transforms.Compose([transforms.Resize(32), transforms.CenterCrop(32), transforms.ToTensor()])
            train = datasets.CIFAR10("data", train=True, transform=augment)
            test = datasets.CIFAR10("data", train=False, transform=plain)
            flowers = datasets.Flowers102("data", split="train", transform=augment)
            """,
        "never applied": """
            from torchvision import datasets, transforms

            never = transforms.RandomHorizontalFlip(p=0)
            test = datasets.CIFAR10("data", train=False, transform=transforms.Compose([never]))
            """,
        "which is not known": """
            from torchvision import datasets, transforms

            def data(train):
                transform = transforms.RandomCrop(32)
                return datasets.CIFAR10("data", train=train, transform=transform)
            """,
    }


def _part(file: Code, call: Call) -> str:
    """`test` or `validation` where a data set is certainly that; empty otherwise."""
    train, split = call.keyword("train"), call.keyword("split") or call.keyword("image_set") or call.argument(1)
    if train is not None:
        return "test" if literal(file, train) is False else ""
    found = literal(file, split) if split is not None else None
    if found is False:
        return "test"
    return _PARTS.get(found, "") if isinstance(found, str) else ""


def _random_in(file: Code, value: Value | None, depth: int = 0) -> Iterator[Call]:
    """The random transforms that a transform is made of."""
    found, _ = followed(file, value)
    if depth > 5:
        return
    if isinstance(found, Group):
        for one in found.items:
            yield from _random_in(file, one, depth + 1)
    elif isinstance(found, Call) and found.receiver is None:
        library, _, name = found.name.rpartition(".")
        if name in _JOINED and library.startswith(("torchvision.", "torch.nn")):
            for one in found.arguments:
                yield from _random_in(file, one, depth + 1)
        elif name in _RANDOM and library.startswith("torchvision.transforms"):
            chance = found.keyword("p") or (found.argument(0) if name.endswith("Flip") else None)
            if literal(file, chance) != 0 if chance is not None else not found.is_open:
                yield found
