"""The same samples in training and in validation or test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Severity
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.data import Data
from stethoscope.facts.flow import Stream
from stethoscope.facts.samples import HeldOut, Samples
from stethoscope.facts.training import Batches, History, ValidationPass
from stethoscope.rules import overlapping, pictures, texts
from stethoscope.rules.sites import at, code, place_at

ALL = 0.98
"""Share of rows found in training from which a pass counts as made of training rows."""
LEAST_EXPECTED = 5.0
"""A forward pass in which fewer hits are expected says nothing about whether hits are spread evenly."""
UNSEEN_TWINS = 3
"""Pairs of equal rows that may exist where none was seen (95 % bound)."""
WITHIN = 0.15
"""Share of a forward that has to be of either kind for an edge to lie within it."""
FEWEST_OF_A_FORWARD = 20
STATIC = 0.7
"""Share of familiar rows from which training rows come again as they were, not with new noise each time."""
SPLIT_FIRST = ("x_train, x_val, y_train, y_val = train_test_split(x, y)", "x_train = augmented(x_train)")
BY_SOURCE = "GroupShuffleSplit(1).split(x, y, groups=source)"
PARTIAL = 0.9
"""A share of hits below this part of the share of rows that are known is not what training rows alone would give."""


def _pass(hits: tuple[int, ...], sizes: tuple[int, ...], covered: float, **facts: Any) -> HeldOut:
    usual: dict[str, Any] = {
        "model": 0, "step": 90, "rows": sum(sizes), "whole": True, "in_training": sum(hits), "sizes": sizes,
        "hits": hits, "training_rows": 1400, "covered": covered, "familiar": 1.0, "pairs": 150_000,
    }  # fmt: skip
    return HeldOut(**(usual | facts))


def _near(lookalikes: int, expected: float = 0.1, familiar: float = 1.0) -> HeldOut:
    """A separate set, so many of whose rows are nearly training rows."""
    near = {"looked_at": 400, "lookalikes": lookalikes, "lookalikes_expected": expected, "familiar": familiar}
    return _pass((0,) * 4, (100,) * 4, 0.0, **near)


def _run(
    *passes: HeldOut,
    steps: int = 400,
    validated: int = 5,
    compared: Samples | None = None,
    streams: tuple[Stream, ...] = (),
) -> History:
    every = tuple(ValidationPass(45 * i, 4, 0, samples=400) for i in range(1, validated + 1))
    samples = (compared,) if compared is not None else ()
    batches = Batches(sizes=np.full(20, 32))
    return History(steps=steps, held_out=passes, validation=every, batches=batches, samples=samples, streams=streams)


def _known(seen: History, each: HeldOut) -> HeldOut:
    """A pass at which every row of the loader's data set had been trained on knows them all, before one comes again."""
    samples = max((stream.samples for stream in seen.streams if stream.use == "training"), default=0)
    return replace(each, familiar=1.0) if samples and each.training_rows >= ALL * samples else each


def _natural_twins(seen: History) -> float:
    """Upper bound of the share of pairs that are equal by nature: as many at least differ in one or two values."""
    compared = max(seen.samples, key=lambda each: each.pairs, default=Samples())
    return (compared.near_pairs + UNSEEN_TWINS) / compared.pairs if compared.pairs else 1.0


def _nearly(rule: Rule, each: HeldOut) -> Finding:
    return rule.finding(
        f"{each.lookalikes:,} of {each.looked_at:,} validation samples are nearly training samples",
        severity=Severity.WARNING,
        place=place_at(each.site, steps=(each.step, each.step)),
        evidence=[
            Evidence(
                "validation rows far nearer to one training row than to the tenth nearest",
                f"{each.lookalikes:,} of {each.looked_at:,} ({each.lookalikes / each.looked_at:.0%})",
                f"{each.lookalikes_expected:.1f}",
                "at a quarter of the distance; expected in as many dimensions as the rows spread in",
            ),
            Evidence("rows of the pass that are equal to training rows", f"{each.in_training:,}", "0"),
        ],
        cause=f"Samples measured at {at(each.site)} are training samples with small changes: copies with noise, "
        "neighbouring windows or frames, or several measurements of one thing, split after they were made.",
        fixes=[
            Fix("Split first, and make copies of training samples alone:\n" + code(*SPLIT_FIRST)),
            Fix("Split by what the samples were made of:\n" + code(BY_SOURCE)),
        ],
        unless="new samples will be as near to training samples.",
    )


def _begins_within(each: HeldOut) -> bool:
    """Whether training rows begin or end in the middle of a forward, as where two slices of one set overlap.

    Training rows that are measured on purpose fill forwards of their own, but for rows that were not seen yet.
    """
    if each.familiar < ALL:
        return False
    parts = [hits / size for hits, size in zip(each.hits, each.sizes, strict=True) if size >= FEWEST_OF_A_FORWARD]
    return sum(WITHIN <= part <= 1 - WITHIN for part in parts) == 1 and any(part > 1 - WITHIN for part in parts)


_mixed = _pass((80, 79, 81, 80), (100,) * 4, 0.23)
_subset = _pass((100,) * 4, (100,) * 4, 0.28)


class TrainTestOverlap(Rule):
    """Samples on which the network is validated are also among those that it is trained on.

    ## What it sees
    Of two data sets: rows of the second that are in the first, equal in all columns or in all inputs, and nearly equal
    ones; entities (patients, users) that both have; a second set that lies before the first in time, or among it. Rows
    of few and coarse columns are equal by nature, which is allowed for.

    In a run: a checksum of each input row, in training and in passes without gradients, and which rows of a pass were
    trained on before it. How often two different samples are equal by nature is counted, and allowed for: where equal
    rows are common and rows that differ in one or two values are not, they are copies. And rows that lie far nearer to
    one training row than to the tenth nearest, more of them than as many dimensions give by chance.
    ## Why it hurts
    The network is graded on answers that it has seen. The validation score rises as it memorizes and says little
    about new samples; the best checkpoint chosen by it is the one that memorized most.
    ## How to fix it
    Shuffle once, cut once, and use the two pieces of the same shuffle. Remove duplicates before the cut, and
    oversample after it.
    ## When it is not a fault
    Measuring the training score on purpose. A pass over all training rows is taken for that, and so are training rows
    beside a second, separate set.
    ## Sources
    S. Kapoor and A. Narayanan, "Leakage and the reproducibility crisis in machine-learning-based science", 2023.
    B. Barz and J. Denzler, "Do we train on test data? Purging CIFAR of near-duplicates", 2020.
    """

    explains = ("overfitting",)
    reads = ("samples", "validation", "batches")

    share = Limit(0.05, unit="share of validation rows found in training", why="a few duplicates are in many data sets")
    fewest_hits = Limit(12, unit="validation rows found in training", why="fewer are soon met by chance")
    over_chance = Limit(
        3, unit="rows found / most that chance explains", why="tables of few distinct values repeat rows by nature"
    )
    unevenness = Limit(
        4,
        unit="variance of the hits from forward to forward / variance of a random mix",
        why="training rows measured on purpose beside a separate set come in forwards of their own",
    )
    known = Limit(0.5, unit="share of the training rows that are known", why="of rows not seen nothing can be said")
    covered = Limit(
        0.6, unit="share of the training rows that a pass goes through", why="a pass over them all is on purpose"
    )
    fewest_rows = Limit(50, unit="rows in a pass", why="a handful of training rows is shown, not measured")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge what comparing the rows of two sets has shown."""
        if seen.test is None:
            yield self.cannot_tell("there is only one data set")
        elif seen.overlap is None and seen.shared_images is None:
            yield self.cannot_tell("the rows of the two sets were not compared")
        yield from overlapping.overlaps(self, seen, self.share)
        yield from pictures.overlap(self, seen, self.share)
        yield from texts.overlap(self, seen, self.share)
        yield from texts.near_overlap(self, seen)

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the pass that most rows of training were known at."""
        passes = [_known(seen, each) for each in seen.held_out if each.whole and each.rows >= self.fewest_rows]
        judged = [each for each in passes if each.familiar >= self.known and each.pairs]
        if not judged:
            yield self.cannot_tell("no validation pass could be compared row by row with rows that come again")
            return
        batch = float(np.median(seen.batches.sizes)) if seen.batches.sizes.size else 0.0
        twins = _natural_twins(seen)
        for each in sorted(judged, key=lambda each: -each.in_training / each.rows):
            if not self._too_many(each, twins) or each.covered >= self.covered:
                continue
            if self._is_mixed(each) or _begins_within(each):
                yield self._report(seen, each)
                return
            if each.in_training >= ALL * each.familiar * each.rows and self._stands_alone(seen, passes, each, batch):
                yield self._report(seen, each, all_of_it=True)
                return
        yield from self._by_distance(judged)

    def _by_distance(self, passes: list[HeldOut]) -> Iterator[Finding]:
        """Judge rows that are nearly training rows, where training rows come again as they were."""
        for each in passes:
            most = max(self.share * each.looked_at, self.over_chance * each.lookalikes_expected, self.fewest_hits)
            if each.familiar >= STATIC and each.lookalikes >= most:
                yield _nearly(self, each)
                return

    def _too_many(self, each: HeldOut, twins: float) -> bool:
        """Whether more rows were found than natural twins explain; `twins` bounds the share of pairs that are such."""
        share = min((each.equal_pairs + UNSEEN_TWINS) / each.pairs, twins)
        by_chance = share * each.rows * each.training_rows
        # Where all rows are found the bound cannot be exceeded by much; without a single twin it need not be.
        bound = self.over_chance * by_chance if each.equal_pairs else min(by_chance, 0.5 * each.rows)
        few = each.in_training < self.fewest_hits or each.in_training < self.share * each.rows
        return not few and each.in_training > bound

    def _is_mixed(self, each: HeldOut) -> bool:
        """Whether rows seen in training and others are mixed in the same forwards, in about the same shares."""
        share = each.in_training / each.rows
        # With some training rows unknown, a pass over training rows has hits and misses, too.
        error = (share * (1 - share) / each.rows) ** 0.5
        if share >= PARTIAL * each.familiar - 3 * error:
            return False
        sizes, hits = np.array(each.sizes, float), np.array(each.hits, float)
        large = sizes * share >= min(LEAST_EXPECTED, float((sizes * share).max()))
        spread = (hits[large] - sizes[large] * share) ** 2 / (sizes[large] * share * (1 - share))
        if spread.size == 1:
            return True
        return bool(spread.sum() <= self.unevenness * (spread.size - 1))

    def _stands_alone(self, seen: History, passes: list[HeldOut], each: HeldOut, batch: float) -> bool:
        """Whether these training rows are all that was ever measured: no single batch, and no second set."""
        others = [p for p in passes if p.model == each.model and p.in_training < 0.5 * p.familiar * p.rows]
        every = sum(p.model == each.model for p in seen.validation)
        return not others and each.rows > 2 * batch and every <= 0.1 * seen.steps

    def _report(self, seen: History, each: HeldOut, *, all_of_it: bool = False) -> Finding:
        return self.finding(
            f"{each.in_training:,} of {each.rows:,} validation samples are training samples",
            severity=Severity.WARNING if all_of_it else None,
            place=place_at(each.site, steps=(each.step, each.step)),
            evidence=[
                Evidence(
                    f"rows of the validation pass at step {each.step:,} that were trained on",
                    f"{each.in_training:,} of {each.rows:,} ({each.in_training / each.rows:.0%})",
                    "0",
                    "equal in all values looked at",
                ),
                Evidence("training rows that the pass goes through", f"{each.covered:.0%}", "none, or all on purpose"),
                Evidence(
                    "equal rows by nature: pairs in a batch or pass",
                    f"{each.equal_pairs:,} of {each.pairs:,}",
                    "about 0",
                ),
            ],
            cause=f"The set measured at {at(each.site)} and the training set overlap"
            + (", and nothing else was ever measured." if all_of_it else "; what they share raises the score."),
            fixes=[
                Fix(
                    "Cut one shuffle in two:\n"
                    + code(
                        "order = torch.randperm(len(x))",
                        "train, held_out = order[:cut], order[cut:]",
                        "x_train, x_val = x[train], x[held_out]",
                    )
                ),
                Fix("Remove duplicates before the cut, oversample after it:\n" + code("x = torch.unique(x, dim=0)")),
            ],
            unless="the score on training samples is what is meant to be measured." if all_of_it else "",
        )

    bad = Examples(
        lambda: {
            "the same pictures": pictures.two_folders(exact=10, near=10),
            "nearly the same texts": texts.two_texts(
                texts.a_text_set(), texts.a_text_set(name="test.csv", near_known=((1, 2), (3, 4), (5, 6)))
            ),
            "the same texts": texts.two_texts(
                texts.a_text_set(), texts.a_text_set(name="test.csv", known=((1, 2), (3, 4), (5, 6)))
            ),
            "one picture": pictures.two_folders(200, exact=1),
            "pictures that look the same": pictures.two_folders(near=3),
            "a second shuffle": _run(_mixed),
            "a second shuffle, in one forward": _run(_pass((320,), (400,), 0.23)),
            "a piece of the training set, and nothing else": _run(_subset),
            "a piece of the training set, parts of which are unknown": _run(_pass((280,), (400,), 0.2, familiar=0.7)),
            "a share next to the limit": _run(_pass((21,), (400,), 0.015, pairs=10_000_000)),
            "as few hits as can tell": _run(_pass((12,), (100,), 0.01, pairs=10_000_000)),
            "as few rows as can tell": _run(_pass((30,), (50,), 0.02, pairs=10_000_000)),
            "copies, of which none differ a little": _run(
                _pass((320,), (400,), 0.23, equal_pairs=400), compared=Samples(pairs=500_000)
            ),
            "copies with noise": _run(_near(60)),
            "copies with noise, as few as can tell": _run(_near(20)),
            "copies with noise, and a little by chance": _run(_near(60, expected=19.9)),
            "a loader of which every row was trained on": _run(
                _pass((320,), (400,), 0.23, familiar=0.0), streams=(Stream(0, "training", "train", samples=1420),)
            ),
            "more than twins explain": _run(_pass((320,), (400,), 0.23, equal_pairs=25)),
            "half of the training rows are known": _run(_pass((120,), (400,), 0.23, familiar=0.51)),
            "a pass next to the limit": _run(_pass((320,), (400,), 0.59)),
            "two slices of one set": _run(_pass((100, 40, 0, 0), (100,) * 4, 0.1)),
            "a little uneven": _run(_pass((87, 73, 86, 74), (100,) * 4, 0.23)),
            **overlapping.bad(),
        }
    )
    good = Examples(
        lambda: {
            "as alike as the first set itself": texts.two_texts(
                texts.a_text_set(alike=((1, 2), (3, 4))), texts.a_text_set(name="test.csv", near_known=((1, 2), (3, 4)))
            ),
            "other pictures": pictures.two_folders(),
            "as alike as within a set": pictures.two_folders(near=3, alike=((1, 2),)),
            "separate sets": _run(_pass((0, 0, 0, 0), (100,) * 4, 0.0)),
            "the training score, on purpose": _run(_pass((100,) * 14, (100,) * 14, 1.0)),
            "some training rows, and a separate set": _run(_pass((100, 100, 0, 0), (100,) * 4, 0.14)),
            "a piece of the training set, and a second set": _run(_subset, _pass((0,) * 4, (100,) * 4, 0.0)),
            "a training batch at each step": _run(_pass((64,), (64,), 0.05), validated=300),
            "a share just below the limit": _run(_pass((19,), (400,), 0.015, pairs=10_000_000)),
            "eleven hits": _run(_pass((11,), (100,), 0.01, pairs=10_000_000)),
            "49 rows": _run(_pass((30,), (49,), 0.02, pairs=10_000_000)),
            "equal by nature, and as many nearly": _run(
                _pass((320,), (400,), 0.23, equal_pairs=400), compared=Samples(pairs=500_000, near_pairs=2000)
            ),
            "no rows that are near": _run(_near(0)),
            "too few that are near": _run(_near(19)),
            "as near by chance": _run(_near(60, expected=20.1)),
            "training rows that change each time": _run(_near(60, familiar=0.69)),
            "a loader of which not every row was trained on": _run(
                _pass((320,), (400,), 0.23, familiar=0.0), streams=(Stream(0, "training", "train", samples=1440),)
            ),
            "twins explain it": _run(_pass((320,), (400,), 0.23, equal_pairs=27)),
            "less than half of the training rows are known": _run(_pass((120,), (400,), 0.23, familiar=0.49)),
            "a pass just above the limit": _run(_pass((320,), (400,), 0.61)),
            "training rows, not all of them known": _run(_pass((100, 60, 0, 0), (100,) * 4, 0.1, familiar=0.9)),
            "training rows that end with a forward": _run(_pass((100, 95, 0, 0), (100,) * 4, 0.14)),
            "too uneven": _run(_pass((88, 72, 87, 73), (100,) * 4, 0.23)),
            "not all of it was seen": _run(replace(_mixed, whole=False)),
            **overlapping.good(),
        }
    )
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32) / 16
        labels = torch.tensor(data.target)
        order = torch.randperm(len(images))
        train = order[:1400]
        held_out = torch.randperm(len(images))[1400:]  # fix: held_out = order[1400:]
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images[train], labels[train]), batch_size=32, shuffle=True
        )
        model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

        for epoch in range(8):
            model.train()
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                score = nn.functional.cross_entropy(model(images[held_out]), labels[held_out]).item()
        print(f"loss {score:.4f}")
        """)
