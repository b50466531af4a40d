"""A distributed sampler that is never told the epoch."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Call, Code
from stethoscope.facts.loops import Loop, loops_of
from stethoscope.facts.origins import call_sites, thing_of
from stethoscope.facts.things import followed, iterated, literal
from stethoscope.rules.lines import line_of, place_in
from stethoscope.rules.sites import code

SAMPLER = "torch.utils.data.DistributedSampler"


class DistributedSamplerEpoch(Rule):
    """A `DistributedSampler` is not told the epoch, and gives the same order in each.

    ## What it sees
    A training loop inside of another, over a loader with a `DistributedSampler` that shuffles, and no `set_epoch` in
    this file nor in those that it imports.
    ## Why it hurts
    The sampler seeds its shuffling with the epoch's number, which stays 0: all epochs go through the same batches in
    the same order, on the same workers.
    ## How to fix it
    `sampler.set_epoch(epoch)` at the begin of each epoch.
    ## When it is not a fault
    A sampler with `shuffle=False`, or one epoch only. Neither is reported.
    ## Sources
    PyTorch documentation, `torch.utils.data.distributed.DistributedSampler`: "Otherwise, the same ordering will be
    always used".
    """

    on_trial = True
    severity = Severity.WARNING

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Follow the loader of each training loop to its sampler."""
        if not file.says("DistributedSampler") or any(one.says("set_epoch") for one in (file, *file.linked.values())):
            return
        told = set()
        for loop in loops_of(file):
            sampler = _sampler(file, loop)
            if sampler is None or sampler.number in told or not _is_repeated(file, loop):
                continue
            told.add(sampler.number)
            yield self.finding(
                "the distributed sampler is never told the epoch",
                sureness=Sureness.CERTAIN,
                place=place_in(file, sampler.at),
                evidence=[Evidence(f"calls of `set_epoch` for the loop on {line_of(file, loop.at)}", 0, "1 an epoch")],
                cause="It shuffles by the epoch's number, which stays 0: every epoch has the same order.",
                fixes=[
                    "Tell it at the begin of each epoch:\n"
                    + code("for epoch in range(epochs):", "    sampler.set_epoch(epoch)")
                ],
                chain=[
                    Link(place_in(file, sampler.at), "the sampler is made"),
                    Link(place_in(file, loop.at), "the loop goes over its loader, again in each epoch"),
                ],
            )

    bad_code = {
        "never told": """
            from torch.utils.data import DataLoader
            from torch.utils.data.distributed import DistributedSampler
            import torch.nn.functional as F

            def main(model, data, optimizer):
                sampler = DistributedSampler(data)  # bad
                loader = DataLoader(data, batch_size=32, sampler=sampler)
                for epoch in range(10):
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
    }
    good_code = {
        "told": """
            from torch.utils.data import DataLoader
            from torch.utils.data.distributed import DistributedSampler
            import torch.nn.functional as F

            def main(model, data, optimizer):
                sampler = DistributedSampler(data)
                loader = DataLoader(data, batch_size=32, sampler=sampler)
                for epoch in range(10):
                    sampler.set_epoch(epoch)
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
        "one epoch, or no shuffling": """
            from torch.utils.data import DataLoader
            from torch.utils.data.distributed import DistributedSampler
            import torch.nn.functional as F

            def once(model, data, optimizer):
                loader = DataLoader(data, batch_size=32, sampler=DistributedSampler(data))
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()

            def ordered(model, data, optimizer):
                loader = DataLoader(data, batch_size=32, sampler=DistributedSampler(data, shuffle=False))
                for epoch in range(10):
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
    }


def _sampler(file: Code, loop: Loop) -> Call | None:
    """The distributed sampler of what a loop goes over, where it shuffles."""
    source, _ = iterated(file, file.contexts[loop.context].value)
    loader = thing_of(file, source)
    if loader.kind != "loader" or loader.made is None or loader.made_in is not file:
        return None
    sampler, _ = followed(file, loader.made.keyword("sampler"))
    if not isinstance(sampler, Call) or sampler.name != SAMPLER or sampler.is_open:
        return None
    shuffles = sampler.argument(3, "shuffle")
    return sampler if shuffles is None or literal(file, shuffles) is True else None


def _is_repeated(file: Code, loop: Loop) -> bool:
    """Whether a loop stands in another, or its function is called in one."""
    homes = [file.contexts[loop.context].parent, *(call.context for call in call_sites(file, loop.function))]
    return any(_in_loop(file, home) for home in homes)


def _in_loop(file: Code, context: int) -> bool:
    for here in file.around(context):
        if here.kind == "function":
            return False
        if here.kind in ("for", "while"):
            return True
    return False
