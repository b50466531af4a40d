"""Loader workers that draw the same random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.code import Call, Code, Site
from stethoscope.facts.flow import Stream
from stethoscope.facts.loaded import generators_of, seeded_alike
from stethoscope.facts.training import History
from stethoscope.facts.workers import WorkerDraws
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import at, code, place_at


def _run(*, use: str = "training", **facts: Any) -> History:
    usual: dict[str, Any] = {
        "source": 0,
        "workers": 4,
        "kind": "numpy.random.Generator",
        "owner": "RandomCrops",
        "name": "rng",
        "drawn_at": Site("train.py", 18, "RandomCrops.__getitem__", "top = self.rng.integers(4)"),
        "loader_site": Site("train.py", 40, "", "for x, y in loader:"),
    }
    streams = (Stream(0, use, "train", 1000, True),)
    return History(steps=200, streams=streams, worker_draws=(WorkerDraws(**(usual | facts)),))


_SEEDED: dict[str, Any] = {
    "how": "seeding",
    "kind": "numpy.random",
    "owner": "",
    "name": "init_worker",
    "seeded_at": Site("train.py", 30, "init_worker", "numpy.random.seed(0)"),
}


class DuplicatedWorkerRandomness(Rule):
    """The workers of a data loader draw the same random numbers.

    ## What it sees
    The number of workers, the generator objects (`numpy.random.Generator`, `RandomState`, `random.Random`,
    `torch.Generator`) that the data set, its transforms or its module keep, whether the code that makes a sample
    draws from them, and whether `worker_init_fn` gives all workers one seed.
    In code: a generator that a data set makes in `__init__` and draws from in `__getitem__`, with several workers; and
    a `worker_init_fn` with a seed that is written out.
    ## Why it hurts
    Each worker is a copy of the main process, the generator's state included. All of them then draw the same crops,
    noise or samples, and begin anew with each epoch unless they persist: of the variety that was asked for, a
    fraction arrives.
    ## How to fix it
    Draw from the global generators of torch, numpy or `random`, which torch seeds differently in each worker and
    epoch; or make the generator anew in `worker_init_fn` from the worker's own seed.
    ## When it is not a fault
    A generator that decides nothing about a sample's contents, or data that shall be the same in each epoch and at
    each worker. A data set that only validates is not judged.
    ## Sources
    PyTorch documentation, `torch.utils.data`, "Randomness in multi-process data loading". T. Parag, "Using PyTorch +
    NumPy? You're making a mistake", 2021.
    """

    on_trial = True
    severity = Severity.WARNING
    explains = ("overfitting",)
    reads = ("loop",)

    fewest_workers = Limit(2, unit="worker processes", why="a single worker has nobody to repeat")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the loaders that a model trains on."""
        training = {stream.source for stream in seen.streams if stream.use == "training" and stream.source >= 0}
        told: set[int] = set()
        for draws in seen.worker_draws:
            if draws.workers >= self.fewest_workers and draws.source in training and draws.source not in told:
                told.add(draws.source)
                yield self._report(draws, seen)

    def _report(self, draws: WorkerDraws, seen: History) -> Finding:
        evidence = [Evidence("workers that start from one state", f"{draws.workers} of {draws.workers}", "1 each")]
        if not draws.persistent:
            evidence.append(Evidence("epochs that begin with that state", "100%", "the first only"))
        every = "" if draws.persistent else ", and again in each epoch"
        if draws.how == "seeding":
            title = f"`{draws.name}` gives all {draws.workers} loader workers the same seed"
            cause = (
                f"`worker_init_fn` at {at(draws.seeded_at)} seeds `{draws.kind}` without regard to the worker's "
                f"number, so all {draws.workers} workers draw the same numbers{every}."
            )
        else:
            holder = f"`{draws.owner}.{draws.name}`" if draws.owner else f"`{draws.name}`"
            title = f"all {draws.workers} loader workers draw the same numbers from {holder}"
            cause = (
                f"Each worker gets a copy of {holder} (`{draws.kind}`), drawn from at {at(draws.drawn_at)}; the copies "
                f"all begin with the same state{every}."
            )
        return self.finding(
            title if len(title) <= 72 else f"all {draws.workers} loader workers draw the same random numbers",
            sureness=Sureness.CERTAIN,
            place=place_at(draws.seeded_at or draws.drawn_at, steps=(0, max(seen.steps - 1, 0))),
            evidence=evidence,
            cause=cause,
            fixes=_fixes(draws),
            unless="every worker and epoch shall draw the same numbers",
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for generators and seeds that all workers share."""
        for copied in generators_of(file):
            if copied.workers < self.fewest_workers:
                continue
            name = f"self.{copied.attribute}"
            yield self._alike(file, fitting(f"`{name}` is copied to all {copied.workers} workers of a loader",
                              "a generator is copied to all workers"), copied.drawn, copied.loader, copied.made,
                              "each worker gets a copy of this generator, in the same state")  # fmt: skip
        for loader, seed in seeded_alike(file):
            yield self._alike(file, "all workers of a loader get the same seed", seed, loader, seed,
                              "each worker is seeded with the same number")  # fmt: skip

    def _alike(self, file: Code, title: str, guilty: Call, loader: Call, made: Call, words: str) -> Finding:
        return self.finding(
            title,
            sureness=Sureness.CERTAIN,
            place=place_in(file, guilty.at),
            evidence=[Evidence(f"seeds that the workers of {line_of(file, loader.at)} have", 1, "1 for each worker")],
            cause=f"{words[0].upper()}{words[1:]}: all draw the same numbers, and the same again in each epoch.",
            fixes=["Draw from the global generators, which torch seeds apart in each worker:\n"
                   + code("torch.randn(...)  # or numpy.random.normal(...)")],
            chain=[Link(place_in(file, made.at), words), Link(place_in(file, loader.at), "the workers are started")],
        )  # fmt: skip

    bad = Examples(
        lambda: {
            "a generator of the data set": _run(),
            "two workers": _run(workers=2),
            "workers that live on": _run(persistent=True),
            "a generator of the module": _run(owner="", name="RNG", kind="random.Random"),
            "a torch generator with a long name": _run(owner="A" * 40, kind="torch.Generator"),
            "all workers seeded alike": _run(**_SEEDED),
        }
    )
    good = Examples(
        lambda: {
            "one worker": _run(workers=1),
            "a data set that only validates": _run(use="validation"),
            "workers that draw from nothing of the kind": History(steps=200, streams=_run().streams),
        }
    )
    bad_code = {
        "a generator of the data set": """
            import numpy as np
            from torch.utils.data import DataLoader, Dataset

            class Noisy(Dataset):
                def __init__(self, rows):
                    self.rows = rows
                    self.rng = np.random.default_rng(0)

                def __getitem__(self, index):
                    return self.rows[index] + self.rng.normal()  # bad

            def load(rows):
                return DataLoader(Noisy(rows), batch_size=8, num_workers=2)
            """,
        "one seed for all": """
            import numpy as np
            from torch.utils.data import DataLoader

            def seed(worker):
                np.random.seed(42)  # bad

            def load(data):
                return DataLoader(data, num_workers=4, worker_init_fn=seed)
            """,
    }
    good_code = {
        "a seed for each": """
            import numpy as np
            import torch
            from torch.utils.data import DataLoader

            def seed(worker):
                np.random.seed(torch.initial_seed() % 2**32)

            def load(data):
                return DataLoader(data, num_workers=4, worker_init_fn=seed)
            """,
        "one worker, or a generator that only orders": """
            import numpy as np
            from torch.utils.data import DataLoader, Dataset

            class Mixed(Dataset):
                def __init__(self, rows):
                    self.rng = np.random.default_rng(0)
                    self.rows = self.rng.permutation(rows)

                def __getitem__(self, index):
                    return self.rows[index]

            class Noisy(Mixed):
                def __getitem__(self, index):
                    return self.rows[index] + self.rng.normal()

            def load(rows):
                return DataLoader(Mixed(rows), num_workers=2), DataLoader(Noisy(rows), num_workers=1)
            """,
    }
    bug = Bug("""
        import numpy as np
        import torch
        from sklearn.datasets import load_digits
        from torch import nn
        from torch.utils.data import DataLoader, Dataset

        class RandomDigits(Dataset):
            def __init__(self, images, labels):
                self.images, self.labels = images, labels
                self.draws = np.random.default_rng(SEED)

            def __len__(self):
                return 256

            def __getitem__(self, index):
                number = self.draws.integers(len(self.images))  # fix: number = np.random.randint(len(self.images))
                return self.images[number], self.labels[number]

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor((data.data - 4.9) / 6.0, dtype=torch.float32)
        labels = torch.tensor(data.target)
        order = torch.randperm(len(images))
        train, val = order[:1400], order[1400:]
        loader = DataLoader(RandomDigits(images[train], labels[train]), batch_size=32, num_workers=4)
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

        for epoch in range(12):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            right = (model(images[val]).argmax(1) == labels[val]).float().mean()
        print(f"loss {loss.item():.3f}, accuracy on new digits {right:.3f}")
        """)


def _fixes(draws: WorkerDraws) -> list[str]:
    ready = "DataLoader(..., worker_init_fn=start_worker)"
    if draws.how == "seeding":
        seed = {"numpy.random": "numpy.random.seed(seed % 2**32)", "random": "random.seed(seed)"}.get(
            draws.kind, "torch.manual_seed(seed)"
        )
        name = draws.name if draws.name.isidentifier() else "start_worker"
        return [
            "Leave `worker_init_fn` out, since torch seeds each worker by itself; or seed it from the worker's own "
            "seed:\n"
            + code(f"def {name}(worker):", "    seed = torch.utils.data.get_worker_info().seed", f"    {seed}")
        ]
    make = {
        "torch.Generator": "torch.Generator().manual_seed(info.seed)",
        "random.Random": "random.Random(info.seed)",
        "numpy.random.RandomState": "numpy.random.RandomState(info.seed % 2**32)",
    }.get(draws.kind, "numpy.random.default_rng(info.seed)")
    if draws.owner:
        where = [f"    info.dataset.{draws.name} = {make}  # where `{draws.owner}` is"]
    else:
        where = [f"    global {draws.name}", f"    {draws.name} = {make}"]
    globally = {"torch.Generator": "torch", "random.Random": "random"}.get(draws.kind, "numpy.random")
    return [
        f"Draw from `{globally}` itself, which torch seeds differently in each worker and epoch, instead of "
        f"`{draws.name}`; or make the generator anew in each worker:\n"
        + code("def start_worker(worker):", "    info = torch.utils.data.get_worker_info()", *where, "", ready)
    ]
