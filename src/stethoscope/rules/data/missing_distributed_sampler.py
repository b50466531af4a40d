"""Workers of one distributed training that all go through the whole data set."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Call, Code
from stethoscope.facts.loops import Loop, loops_of
from stethoscope.facts.origins import bases, thing_of
from stethoscope.facts.things import iterated
from stethoscope.rules.lines import line_of, place_in
from stethoscope.rules.sites import code

_WRAPS = ("torch.nn.parallel.DistributedDataParallel", "apex.parallel.DistributedDataParallel")
_SHARED = re.compile(
    r"[Ss]ampler|shard|split_by|split_between|\.prepare\(|\brank *:|rank\]|[/%]+ *\(?\w*world_size|partition"
    r"|[Ii]terable"
)
"""Words of data that is dealt out to the workers in some other way."""
_OWN_ORDER = ("sampler", "batch_sampler")


class MissingDistributedSampler(Rule):
    """A model is trained by several processes, and each of them goes through all of the data.

    ## What it sees
    `DistributedDataParallel`, and a training loop over a `DataLoader` without a sampler, in a file that deals its data
    out in no other way.
    ## Why it hurts
    Every process loads every sample: eight of them do the work of one pass eight times, and where they are seeded
    alike all compute the same gradients. An epoch is not what it is called, and the learning rate is tuned to the
    wrong number of steps.
    ## How to fix it
    `DataLoader(data, sampler=DistributedSampler(data))`, and `sampler.set_epoch(epoch)` in each epoch.
    ## When it is not a fault
    Data that each process makes for itself, or that is cut by rank before. Where the file says so, it is not reported.
    ## Sources
    PyTorch tutorial, "Getting Started with Distributed Data Parallel"; `torch.utils.data.distributed`.
    """

    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at the loaders of training loops in files that train with several processes."""
        wraps = file.calls_of(*_WRAPS)
        if not wraps or file.matches(_SHARED) or file.linked.match(_SHARED):
            return
        told = set()
        for loop in loops_of(file):
            made = _plain_loader(file, loop)
            if made is not None and made.number not in told:
                told.add(made.number)
                yield self._read(file, loop, made, wraps[0])

    def _read(self, file: Code, loop: Loop, made: Call, wrap: Call) -> Finding:
        return self.finding(
            "each process goes through all of the data",
            sureness=Sureness.LIKELY,
            place=place_in(file, made.at),
            evidence=[
                Evidence(
                    f"samplers that deal out the data of the loop on {line_of(file, loop.at)}", 0, "1",
                )
            ],
            cause="The loader knows nothing of the other processes: each of them loads every sample.",
            fixes=[
                "Deal the samples out:\n"
                + code(
                    "sampler = torch.utils.data.DistributedSampler(data)",
                    "loader = DataLoader(data, batch_size=32, sampler=sampler)",
                )
            ],
            unless="each process makes or reads data of its own.",
            chain=[
                Link(place_in(file, wrap.at), "the model is trained by several processes"),
                Link(place_in(file, made.at), "the loader gives all samples to each"),
                Link(place_in(file, loop.at), "the training loop goes over it"),
            ],
        )  # fmt: skip

    bad_code = {
        "all of it": """
            def main(data):
                torch.distributed.init_process_group("nccl")
                model = nn.parallel.DistributedDataParallel(nn.Linear(3, 2).cuda())
                loader = DataLoader(data, batch_size=32, shuffle=True)  # bad
                optimizer = torch.optim.Adam(model.parameters())
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
    }
    good_code = {
        "dealt out": """
            from torch.utils.data.distributed import DistributedSampler

            def main(data):
                model = nn.parallel.DistributedDataParallel(nn.Linear(3, 2).cuda())
                loader = DataLoader(data, batch_size=32, sampler=DistributedSampler(data))
                optimizer = torch.optim.Adam(model.parameters())
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
        "cut by rank": """
            def main(data, rank, world_size):
                model = nn.parallel.DistributedDataParallel(nn.Linear(3, 2).cuda())
                loader = DataLoader(data[rank::world_size], batch_size=32)
                optimizer = torch.optim.Adam(model.parameters())
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
        "one process": """
            def main(data):
                model = nn.DataParallel(nn.Linear(3, 2).cuda())
                loader = DataLoader(data, batch_size=32)
                optimizer = torch.optim.Adam(model.parameters())
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
    }


def _plain_loader(file: Code, loop: Loop) -> Call | None:
    """The construction of the loader that a training loop goes over, where it gives all samples."""
    source, _ = iterated(file, file.contexts[loop.context].value)
    loader = thing_of(file, source)
    made = loader.made
    if loader.kind != "loader" or made is None or loader.made_in is not file or made.is_open:
        return None
    if made.name != "torch.utils.data.DataLoader" or any(made.keyword(name) for name in _OWN_ORDER):
        return None
    data = thing_of(file, made.argument(0, "dataset"))
    unknown = any("Iterable" in name or name == "?" for name in bases(data))
    return None if unknown or len(made.arguments) > 3 or not loop.of("step") else made
