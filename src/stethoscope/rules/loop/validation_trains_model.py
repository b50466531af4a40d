"""Validation or test batches that reach an optimizer step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.code import Call, Code, Site
from stethoscope.facts.flow import Stream
from stethoscope.facts.keras_models import compiled_in
from stethoscope.facts.loaded import fed_by_loaders, keras_test_side, side_of, steps_a_model
from stethoscope.facts.training import History
from stethoscope.rules.lines import line_of, place_in, way_to
from stethoscope.rules.sites import at, code, place_at


def _stream(
    source: int,
    steps: Sequence[int],
    use: str = "training",
    mode: str = "train",
    prints: Sequence[int] = (),
    **facts: object,
) -> Stream:
    line = {"training": 20 + 10 * source, "validation": 50 + 10 * source}[use]
    usual = Stream(
        source,
        use,
        mode,
        samples=1000 // (source + 1) if source >= 0 else 0,
        loader_site=Site("train.py", line - 2, "", "for x, y in loader:") if source >= 0 else None,
        forward_site=Site("train.py", line, "", "output = model(x)"),
        backward_site=Site("train.py", line + 2, "", "loss.backward()") if use == "training" else None,
        steps=np.array(steps),
        fingerprints=np.array(prints if len(prints) else [source * 10_000 + s for s in steps]),
    )
    return replace(usual, **facts)  # type: ignore[arg-type]


def _epochs(*firsts: int, length: int = 10) -> list[int]:
    """Steps of several epochs, from their first steps."""
    return [first + i for first in firsts for i in range(length)]


def _run(*streams: Stream) -> History:
    return History(steps=200, streams=streams)


_TRAINED = _stream(0, _epochs(0, 14, 28, 42))
_REPEATED = [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4]
_HELD_OUT = _epochs(10, 24, 38, length=4)


class ValidationTrainsModel(Rule):
    """Validation or test batches reach an optimizer step.

    ## What it sees
    Which data set each batch came from, by the loader that yielded it, and what became of it. One that is run in eval
    mode between epochs, or that validation uses too, and on which optimizer steps are made all the same.
    In code: a loop with steps over the test side of a data set that has two (`train=False`), and `fit` on it.
    ## Why it hurts
    The model learns the very samples that it is judged by. The score rises with them and says nothing about new data:
    overfitting cannot be seen, and the comparison with any other model is void.
    ## How to fix it
    Keep `backward()` and `step()` out of the validation loop, and run it under `torch.no_grad()`.
    ## When it is not a fault
    Training on two data sets in turn, as long as neither is used for validation. A last training on all data, after
    everything has been decided, is not reported. Gradients for adversarial samples make no steps and do not count.
    ## Sources
    S. Kapoor and A. Narayanan, "Leakage and the reproducibility crisis in machine-learning-based science", Patterns
    2023, L1.
    """

    on_trial = True
    explains = ("training-in-eval-mode", "train-test-overlap")
    reads = ("loop", "batches")

    rounds = Limit(2, unit="stretches of steps, with training between them", why="a single one may be a last training")
    gap = Limit(
        4,
        unit="steps from one such batch to the next round",
        why="modes or data sets that change at each step are a method, such as semi-supervised training",
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Compare what trains with what validates."""
        trained = [stream for stream in seen.streams if stream.use == "training" and stream.steps.size]
        if not trained:
            yield self.cannot_tell("no training batches were watched")
            return
        for stream in trained:
            others = [other for other in trained if other is not stream and other.mode == "train"]
            own = [other for other in others if other.source != stream.source or stream.source < 0]
            between = np.concatenate([other.steps for other in own]) if own else np.zeros(0, np.int64)
            if self._rounds(stream, between) < self.rounds:
                continue
            if stream.mode == "eval" and self._is_apart(stream, own):
                yield self._report(stream, own[0], seen, "the model is in eval mode there")
                return
            validated = [v for v in seen.streams if v.use == "validation"]
            if stream.mode == "train" and self._is_validated(stream, own, validated):
                yield self._report(stream, own[0], seen, "validation passes use the same data set")
                return

    def _rounds(self, stream: Stream, between: np.ndarray) -> int:
        """Stretches of steps on this stream that begin after training steps on others."""
        if not between.size:
            return 0
        steps = np.unique(stream.steps)
        rounds = int(np.any(between < steps[0]))
        for last, step in pairwise(steps):
            rounds += bool(step - last >= self.gap and np.any((between > last) & (between < step)))
        return rounds

    def _is_apart(self, stream: Stream, others: Sequence[Stream]) -> bool:
        """Whether its batches are none of those that are trained on: another data set, or the same few each time."""
        if stream.source >= 0:
            return all(other.source >= 0 for other in others)
        mine = set(stream.fingerprints.tolist())
        repeated = len(mine) < stream.fingerprints.size
        return repeated and not any(mine & set(other.fingerprints.tolist()) for other in others)

    def _is_validated(self, stream: Stream, others: Sequence[Stream], validated: Sequence[Stream]) -> bool:
        """Whether validation uses this data set and none that is not trained on; one data set at least only trains."""
        sources = {v.source for v in validated}
        return stream.source >= 0 and sources == {stream.source} and any(o.source >= 0 for o in others)

    def _report(self, stream: Stream, other: Stream, seen: History, why: str) -> Finding:
        where = at(stream.loader_site or stream.forward_site)
        size = f" ({stream.samples:,} samples)" if stream.samples else ""
        steps = (int(stream.steps[0]), int(stream.steps[-1]))
        return self.finding(
            "validation batches train the model: optimizer steps are made on them",
            severity=Severity.ERROR,
            sureness=Sureness.LIKELY,
            place=place_at(stream.backward_site or stream.forward_site, steps=steps),
            evidence=[
                Evidence(
                    f"watched steps on the data read at {where}{size}; {why}",
                    f"{np.unique(stream.steps).size}, from step {steps[0]} to {steps[1]}",
                    "0",
                ),
                Evidence(
                    "watched steps on the training data"
                    + (f" read at {other.loader_site}" if other.loader_site else f", at {at(other.forward_site)}"),
                    int(np.unique(other.steps).size),
                    "all of them",
                ),
            ],
            cause=f"The loop at {where} backpropagates and steps as the training loop does, so the model learns the "
            "samples that it is judged by.",
            fixes=[
                "Leave `backward()` and `step()` out of validation:\n"
                + code("model.eval()", "with torch.no_grad():", "    loss = criterion(model(inputs), targets)")
            ],
            unless="this data is meant to be trained on as well.",
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at which side of a data set the training loops, or `fit`, are given."""
        for fed in fed_by_loaders(file):
            side = side_of(file, fed.data)
            if side is None or not side.is_test or not fed.loop.of("step") or not steps_a_model(file, fed.loop):
                continue
            yield self._trained_on(file, side.name, side.call, fed.loader, (
                Link(place_in(file, side.call.at), "the test data is taken"),
                *way_to(file, fed.loop.of("step")[0], "the optimizer steps"),
            ))  # fmt: skip
        names = {file.text(compiled.model.at) for compiled in compiled_in(file)}
        for call in file.calls_of(".fit"):
            if call.receiver is None or file.text(call.receiver.at) not in names:
                continue
            made = keras_test_side(file, call.argument(0, "x"))
            if made is not None:
                yield self._trained_on(file, made.name.split(".")[-2], made, call, (
                    Link(place_in(file, made.at), "the data is loaded"),
                    Link(place_in(file, call.at), "the model is fitted"),
                ))  # fmt: skip

    def _trained_on(self, file: Code, name: str, made: Call, used: Call, chain: tuple[Link, ...]) -> Finding:
        return self.finding(
            f"the model is trained on the test data of {name}",
            sureness=Sureness.CERTAIN,
            place=place_in(file, used.at),
            evidence=[
                Evidence(f"test rows, from {line_of(file, made.at)}, that are trained on", "100 %", "0 %")
            ],
            cause="What the model is judged by is what it learns: its score says nothing about new data.",
            fixes=["Train on the training side:\n" + code(f"{name}(root, train=True)")],
            chain=chain,
            unless="the test data is needed for nothing else.",
        )  # fmt: skip

    bad = Examples(
        lambda: {
            "a second loader in eval mode": _run(_TRAINED, _stream(1, _HELD_OUT, mode="eval")),
            "two epochs": _run(_stream(0, _epochs(0, 14)), _stream(1, _epochs(10, 24, length=4), mode="eval")),
            "batches cut by hand, the same each epoch": _run(
                _stream(-1, _epochs(0, 14, 28, 42)), _stream(-1, _HELD_OUT, mode="eval", prints=_REPEATED)
            ),
            "one full batch after every third step": _run(
                _stream(0, [s for s in range(100) if s % 4 < 3]), _stream(1, list(range(3, 100, 4)), mode="eval")
            ),
            "validated as well": _run(_TRAINED, _stream(1, _HELD_OUT), _stream(1, [14, 28, 42], "validation", "eval")),
        }
    )
    good = Examples(
        lambda: {
            "validated without steps": _run(_TRAINED, _stream(1, [14, 28, 42], "validation", "eval")),
            "two data sets in turn": _run(
                _TRAINED, _stream(1, _HELD_OUT), _stream(2, [14, 28, 42], "validation", "eval")
            ),
            "two data sets in turn, never validated": _run(_TRAINED, _stream(1, _HELD_OUT)),
            "two data sets, both looked at again": _run(
                _TRAINED,
                _stream(1, _HELD_OUT),
                _stream(1, [14, 28, 42], "validation", "eval"),
                _stream(0, [14, 28, 42], "validation", "eval"),
            ),
            "one last training in eval mode": _run(_TRAINED, _stream(1, _epochs(52, length=4), mode="eval")),
            "trained on at the end": _run(
                _TRAINED, _stream(1, _epochs(52)), _stream(1, [14, 28, 42], "validation", "eval")
            ),
            "modes that change at each step": _run(
                _stream(0, list(range(0, 100, 2))), _stream(1, list(range(1, 100, 2)), mode="eval")
            ),
            "modes that change at every third step": _run(
                _stream(0, [s for s in range(99) if s % 3 < 2]), _stream(1, list(range(2, 100, 3)), mode="eval")
            ),
            "the same batches in both modes": _run(
                _stream(-1, _HELD_OUT, prints=_REPEATED),
                _stream(-1, _epochs(14, 28, length=4), mode="eval", prints=[1, 2, 3, 4] * 2),
            ),
            "batches of an unknown order in eval mode": _run(
                _stream(-1, _epochs(0, 14, 28, 42)), _stream(-1, _HELD_OUT, mode="eval")
            ),
            "trained in eval mode alone": _run(_stream(0, _epochs(0, 14, 28), mode="eval")),
        }
    )
    bad_code = {
        "torchvision": """
            from torchvision import datasets
            import torch
            from torch import nn

            test = datasets.MNIST("data", train=False)
            loader = torch.utils.data.DataLoader(test, batch_size=64)  # bad
            model = nn.Linear(784, 10)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for x, y in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
            """,
        "Keras": """
            from tensorflow import keras

            (x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
            x_test = x_test.astype("float32") / 255
            model = keras.Sequential([keras.layers.Dense(10, activation="softmax")])
            model.compile("adam", "sparse_categorical_crossentropy")
            model.fit(x_test, y_test)  # bad
            """,
    }
    good_code = {
        "the training side, and a test": """
            from torchvision import datasets
            import torch
            from torch import nn

            loader = torch.utils.data.DataLoader(datasets.MNIST("data", train=True), batch_size=64)
            test = torch.utils.data.DataLoader(datasets.MNIST("data", train=False), batch_size=64)
            model = nn.Linear(784, 10)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for x, y in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
            for x, y in test:
                nn.functional.cross_entropy(model(x), y).item()
            """,
        "images that fool a model": """
            from torchvision import datasets
            import torch
            from torch import nn

            loader = torch.utils.data.DataLoader(datasets.MNIST("data", train=False), batch_size=1)

            def attack(model):
                for x, y in loader:
                    noise = torch.zeros_like(x, requires_grad=True)
                    optimizer = torch.optim.Adam([noise])
                    nn.functional.cross_entropy(model(x + noise), y).backward()
                    optimizer.step()
            """,
    }
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn
        from torch.utils.data import DataLoader, TensorDataset, random_split

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32)
        images = (images - images.mean()) / images.std()
        samples = TensorDataset(images, torch.tensor(data.target))
        few, held_out, new = random_split(samples, [150, 600, 1047])
        model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        def run_epoch(loader):
            total = 0.0
            for x, y in loader:
                loss = nn.functional.cross_entropy(model(x), y)
                if torch.is_grad_enabled():
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                total += loss.item()
            return total / len(loader)

        for epoch in range(15):
            model.train()
            run_epoch(DataLoader(few, batch_size=32, shuffle=True))
            model.eval()
            score = run_epoch(DataLoader(held_out, batch_size=32))  # fix: score = torch.no_grad()(run_epoch)(DataLoader(held_out, batch_size=32))
        model.eval()
        with torch.no_grad():
            unseen = torch.stack([x for x, _ in new])
            labels = torch.tensor([y for _, y in new])
            print(f"held out {score:.4f}, new {nn.functional.cross_entropy(model(unseen), labels).item():.4f}")
        """)  # noqa: E501
