"""Processes of a distributed run that wait for one that never comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.code import Site
from stethoscope.facts.ranks import RankSummary, Standing
from stethoscope.facts.training import History
from stethoscope.rules.examples import falling, run
from stethoscope.rules.sites import at, code, place_at

OVER = ("finished", "failed", "lost")
"""States of a process that has come to its end by itself; who was interrupted might have come."""
MOST_TOLD = 4
"""Processes whose places are told."""
_BACKWARD = Site("train.py", 30, "", "loss.backward()")
_BARRIER = Site("train.py", 33, "", "dist.barrier()")
_LOADER = Site("train.py", 26, "", "for x, y in loader:")
_waiting = Standing(0, 12, 20.0, 20.0, 0.1, "backward", (_BACKWARD,), exchanges=25)
_at_the_end = Standing(1, 12, 20.0, 20.0, 0.1, "barrier", (_BARRIER,), exchanges=25)
_unfed = Standing(1, 12, 90.0, 90.0, 0.1, "", (_LOADER,), is_fed=True)


def _two(mine: Standing, *others: Standing, state: str = "running") -> History:
    """Processes that stand so; of process 1 that it is in this state."""
    ranks = (RankSummary(1, 12, state=state),)
    seen = run(falling(2.3, 0.3, steps=12))
    return replace(seen, process_group=2, finished=False, standings=(mine, *others), ranks=ranks)


def _begun(standing: Standing) -> int:
    """Steps that it has begun, as far as can be told: a forward or backward pass belongs to the next one."""
    return standing.steps + (standing.exchange in ("backward", "forward"))


class StalledRank(Rule):
    """A process of a distributed run waits for another one that never comes.

    ## What it sees
    Where each process stands that has made no step for a while: its line, the exchange in which it waits (an
    `all_reduce`, a `barrier`, the averaging of gradients in `backward()`), how many steps it has made. Looked at from
    beside the training, once a second; nothing is exchanged for it. Said while the run stands still, and kept with the
    run, however it is ended.
    ## Why it hurts
    An exchange ends when every process takes part in it. Where one has left the loop, the others wait until it times
    out, after 10 to 30 minutes unless told otherwise, and the run is lost.
    ## How to fix it
    Give all processes equally many batches (`DistributedSampler`, `drop_last=True`), or train within `join()`. Let
    every process take the same branches round forward passes, backward passes and exchanges.
    ## When it is not a fault
    One process saves or evaluates alone for longer than ever before, and the others wait for it.
    ## Sources
    PyTorch tutorial, "Distributed Training with Uneven Inputs Using the Join Context Manager"; PyTorch documentation,
    `torch.distributed`: "collective operations ... each process must call".
    """

    explains = ("forward-crash", "slow-rank")
    reads = ("loop",)

    gone = Limit(3, unit="seconds of waiting", why="one that has ended may still be about to close its connections")
    locked = Limit(10, unit="seconds of waiting", why="exchanges that do not fit never end; one may be slow to begin")
    busy = Limit(60, unit="seconds of waiting", why="one that saves or evaluates alone may take as long")
    patience = Limit(3, unit="times the longest step", why="a step with an evaluation in it has been waited for before")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Say who waits for whom."""
        size = max(seen.process_group, *(1 + rank.rank for rank in seen.ranks), 0) if seen.ranks else seen.process_group
        if size < 2:
            yield self.cannot_tell("no other process of a group was recorded")
            return
        posts = _posts(seen)
        waiting = [each for each in posts if each.exchange]
        if not waiting:
            return
        over = [each for each in posts if each.ended and not each.exchange]
        if len(waiting) == size:
            yield from self._locked(posts)
        elif over:
            yield from self._gone(posts, [each for each in waiting if not each.ended or each.failed], over)
        else:
            yield from self._busy(posts, waiting)

    def _is_long(self, waiting: Sequence[Standing], seconds: float) -> bool:
        """Whether all of these have waited this long, and well beyond what steps took; or an exchange gave up."""
        longest = max(each.longest for each in waiting)
        return any(each.failed for each in waiting) or (
            min(each.held for each in waiting) >= max(seconds, self.patience * longest)
        )

    def _locked(self, posts: Sequence[Standing]) -> Iterator[Finding]:
        """All wait, in exchanges that do not fit."""
        places = {(each.exchange, each.sites[:1], _begun(each)) for each in posts}
        if len(places) < 2 or not self._is_long(posts, self.locked):
            return
        behind = min(posts, key=lambda each: (_begun(each), each.exchange in ("backward", "forward"), -each.rank))
        other = next(each for each in posts if each is not behind)
        first, second = sorted((behind.rank, other.rank))
        title = f"processes {first} and {second} wait for each other, in exchanges that do not fit"
        if len(posts) > 2:
            title = f"all {len(posts)} processes wait, in exchanges that do not fit"
        yield self._report(posts, title, other, behind, Sureness.CERTAIN)

    def _gone(
        self, posts: Sequence[Standing], waiting: Sequence[Standing], over: Sequence[Standing]
    ) -> Iterator[Finding]:
        """Some wait for one that has ended."""
        behind = min(over, key=lambda each: (each.steps, each.rank))
        if waiting and self._is_long(waiting, self.gone):
            title = (
                f"process {waiting[0].rank} waits for process {behind.rank}, which ended after {behind.steps:,} steps"
            )
            yield self._report(posts, title, waiting[0], behind, Sureness.CERTAIN)

    def _busy(self, posts: Sequence[Standing], waiting: Sequence[Standing]) -> Iterator[Finding]:
        """Some wait for one that does something of its own and makes no step."""
        late = [each for each in posts if not each.exchange and not each.ended and (each.steps or each.is_fed)]
        behind = min(late, key=lambda each: (not each.is_fed, each.steps, each.rank), default=None)
        if behind is None or behind.steps > min(_begun(each) for each in waiting):
            return
        if not self._is_long(waiting, self.busy) or behind.waited < self.patience * behind.longest:
            return
        what = "which is given no batch" if behind.is_fed else "which makes no step"
        yield self._report(
            posts, f"process {waiting[0].rank} waits for process {behind.rank}, {what}", waiting[0], behind,
            Sureness.LIKELY, "it saves, evaluates or loads alone, for longer than ever before: training then goes on.",
        )  # fmt: skip

    def _report(
        self,
        posts: Sequence[Standing],
        title: str,
        waiting: Standing,
        behind: Standing,
        sureness: Sureness,
        unless: str = "",
    ) -> Finding:
        cause, fixes = _why(waiting, behind)
        guilty = behind if unless and behind.sites else waiting
        first = posts[:MOST_TOLD]
        evidence = [
            Evidence(f"process {each.rank}", _stands(each), "in the same exchange as the others") for each in first
        ]
        for what, numbers in (
            ("steps begun", [_begun(each) for each in first]),
            ("batches of an epoch", [each.batches for each in first]),
            ("exchanges begun", [each.exchanges for each in first]),
        ):
            if min(numbers) >= 0 and len(set(numbers)) > 1:
                who = ", ".join(str(each.rank) for each in first)
                evidence.append(Evidence(f"{what}, processes {who}", ", ".join(f"{n:,}" for n in numbers), "equal"))
        if waiting.failed:
            evidence.append(Evidence("what the exchange raised", f"1 exception: {waiting.failed}", "0"))
        return self.finding(
            title,
            severity=Severity.WARNING if unless else Severity.ERROR,
            sureness=sureness,
            place=place_at(guilty.sites[0] if guilty.sites else None, steps=(waiting.steps, waiting.steps)),
            evidence=evidence,
            cause=cause,
            fixes=fixes,
            unless=unless,
        )

    bad = Examples(
        lambda: {
            "one at the barrier behind the loop": _two(_waiting, _at_the_end),
            "a wait next to the limit": _two(replace(_waiting, held=10.1), _at_the_end),
            "equal steps and two exchanges": _two(replace(_waiting, exchange="all_reduce"), _at_the_end),
            "three times the longest step": _two(replace(_waiting, longest=6.6), _at_the_end),
            "timed out": _two(replace(_waiting, held=2.0, failed="Timed out waiting 2000ms", ended=True), _at_the_end),
            "loaders of different lengths": _two(replace(_waiting, batches=13), replace(_at_the_end, batches=12)),
            "equal loaders": _two(replace(_waiting, batches=13), replace(_at_the_end, batches=13)),
            "one has ended": _two(_waiting, Standing(1, 12, ended=True)),
            "one has ended, and left no word": _two(_waiting, state="finished"),
            "a short wait for one that has ended": _two(replace(_waiting, held=3.1), Standing(1, 12, ended=True)),
            "given no batch": _two(replace(_waiting, held=90.0), _unfed),
            "given no batch for a minute": _two(replace(_waiting, held=61.0), _unfed),
            "no step": _two(replace(_waiting, held=90.0), replace(_unfed, is_fed=False)),
        }
    )
    good = Examples(
        lambda: {
            "a wait just below the limit": _two(replace(_waiting, held=9.9), _at_the_end),
            "less than three times the longest step": _two(replace(_waiting, longest=6.7), _at_the_end),
            "the same exchange": _two(_waiting, replace(_waiting, rank=1)),
            "a moment after one has ended": _two(replace(_waiting, held=2.9), Standing(1, 12, ended=True)),
            "both have ended": _two(replace(_waiting, ended=True), Standing(1, 12, ended=True)),
            "given no batch for a while": _two(replace(_waiting, held=59.0), _unfed),
            "one prepares the data": _two(
                replace(_waiting, held=90.0, steps=0, exchange="barrier"), replace(_unfed, steps=0, is_fed=False)
            ),
            "it evaluates as it did before": _two(replace(_waiting, held=90.0), replace(_unfed, longest=40.0)),
            "nothing known of the other": _two(_waiting),
            "nobody waits": _two(replace(_unfed, rank=0), _unfed),
            "alone": replace(_two(_waiting), process_group=1, ranks=()),
        }
    )
    bug = Bug("""
        # torchrun --nproc_per_node 2 train.py
        from datetime import timedelta

        import torch
        import torch.distributed as dist
        from sklearn.datasets import load_digits
        from torch import nn

        dist.init_process_group("gloo", timeout=timedelta(seconds=12))
        rank, ranks = dist.get_rank(), dist.get_world_size()
        torch.manual_seed(SEED)
        raw = load_digits()
        images = torch.tensor((raw.data - 4.9) / 6.0, dtype=torch.float32)
        labels = torch.tensor(raw.target)
        order = torch.randperm(len(images))
        mine = order[rank::ranks][: 800 - 100 * rank]  # fix: mine = order[rank::ranks][:800]
        model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)))
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

        try:
            for epoch in range(6):
                for batch in mine[torch.randperm(len(mine))].split(25):
                    optimizer.zero_grad()
                    loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
                    loss.backward()
                    optimizer.step()
            dist.barrier()
        except RuntimeError as error:
            print(f"process {rank} gave up: {error}")
        if rank == 0:
            print(f"loss {loss.item():.4f}")
        """)


def _posts(seen: History) -> list[Standing]:
    """Where each process stands that stands still or has ended, by rank."""
    posts = {each.rank: each for each in seen.standings}
    for rank in seen.ranks:
        if rank.state in OVER:
            posts.setdefault(rank.rank, Standing(rank.rank, rank.steps, ended=True))
    if seen.finished:
        posts.setdefault(0, Standing(0, seen.steps, ended=True))
    return [posts[rank] for rank in sorted(posts)]


def _stands(standing: Standing) -> str:
    """Where it stands, in words."""
    where = at(standing.sites[0], otherwise="") if standing.sites else ""
    text = f" `{standing.sites[0].text}`" if standing.sites and standing.sites[0].text else ""
    place = f"at {where}{text}" if where else "at a line that is not known"
    if standing.ended and not standing.exchange:
        return f"ended after {standing.steps:,} steps"
    if standing.exchange:
        long = f" for {standing.held:.0f} s" if standing.held >= 1 else ""
        return f"waits in {standing.exchange}{long}, {place}, after {standing.steps:,} steps"
    if standing.is_fed and len(standing.sites) > 1:
        place += f", called from {standing.sites[1]} `{standing.sites[1].text}`"
    what = "is given a batch" if standing.is_fed else "does something of its own"
    return f"{what}, {place}, after {standing.steps:,} steps"


EVEN = "Deal the data out in equal shares, and drop what is left over:\n" + code(
    "sampler = DistributedSampler(data, drop_last=True)",
    "loader = DataLoader(data, batch_size=32, sampler=sampler, drop_last=True)",
)
JOIN = "Or let those that are done take part in the others' exchanges:\n" + code(
    "with model.join():", "    for x, y in loader:", "        ..."
)
SAME_WAY = (
    "Let every process take the same way round forward passes, backward passes and exchanges; instead of leaving a "
    "batch out, let it count nothing:\n" + code("loss = loss * 0.0 if skip else loss", "loss.backward()")
)
TOGETHER = "Let every process call an exchange, and one alone use what it gives:\n" + code(
    "dist.all_reduce(total)", "if rank == 0:", "    print(total)"
)
ALONE = "Draw the batches in that process alone, without training:\n" + code(
    "for number, batch in enumerate(loader):", "    print(rank, number)"
)
LATER = (
    "Move what one process does alone to the end; where the others shall wait for it, let them wait for longer:\n"
    + code('dist.init_process_group("gloo", timeout=timedelta(hours=2))')
)


def _why(waiting: Standing, behind: Standing) -> tuple[str, list[str]]:
    """The likely cause, and what to do."""
    number = behind.rank
    has_fewer = _begun(behind) < _begun(waiting)
    if not behind.exchange and not behind.ended:
        cause = f"An exchange ends when every process takes part in it, and process {number} "
        if behind.is_fed:
            source = "a sampler or dataset that never ends, a worker that hangs, or a source that is slow."
            return f"{cause}waits for its data: {source}", [ALONE]
        return f"{cause}does something that the others do not do.", [LATER]
    if 0 <= behind.batches < waiting.batches:
        cause = f"The data loader of process {number} gives {behind.batches:,} batches in an epoch, that of process "
        cause += (
            f"{waiting.rank} {waiting.batches:,}: one leaves the loop, and nothing answers the other's next exchange."
        )
        return cause, [EVEN, JOIN]
    if has_fewer and behind.steps == waiting.steps and behind.batches == waiting.batches >= 0:
        cause = (
            f"Both data loaders give {behind.batches:,} batches in an epoch: a branch that one process alone took left "
        )
        cause += (
            "a step out (`continue`, `break`, a condition on its batch), or has an exchange in it (`if rank == 0:`)."
        )
        return cause, [SAME_WAY, TOGETHER]
    if has_fewer:
        cause = f"Process {number} has begun fewer steps: its batches ran out first, or a branch that it alone took "
        return cause + "(`continue`, `break`) left one out.", [EVEN, JOIN, SAME_WAY]
    cause = (
        "They have come equally far and call different exchanges: a branch such as `if rank == 0:` has one in it, or "
    )
    return cause + "leaves one out.", [TOGETHER]
