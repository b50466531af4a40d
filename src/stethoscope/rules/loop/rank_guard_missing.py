"""A checkpoint that every process of a distributed training writes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Call, Code
from stethoscope.facts.origins import call_sites
from stethoscope.rules.lines import line_of, place_in
from stethoscope.rules.sites import code

_WRAPS = ("torch.nn.parallel.DistributedDataParallel", "apex.parallel.DistributedDataParallel")
_STARTS = ("torch.distributed.init_process_group",)
_GUARD = re.compile(r"rank|main|master|primary|chief|leader|is_first|proc|\b(?:gpu|device)\w*\s*[=!]=\s*0", re.I)
_IS_SCRIPT = re.compile(r"""__name__\s*==\s*["']__main__["']""")
_PER_PROCESS = re.compile(r"rank|proc|FSDP|full_tensor|fully_shard|distributed\.checkpoint")


class RankGuardMissing(Rule):
    """Every process of a distributed training writes the same checkpoint file.

    ## What it sees
    `torch.save` under no condition on the rank, in a file that starts a process group and wraps its model in
    `DistributedDataParallel`; the callers in the file have no such condition either.
    ## Why it hurts
    All processes write to one path at once. The file may be a mixture of several, or cut off when another process
    opens it again, and one that is read at that moment does not load.
    ## How to fix it
    `if dist.get_rank() == 0:` around it, and a `dist.barrier()` before others read it.
    ## When it is not a fault
    A path with the rank in it, or sharded models of which each process holds a part. Neither is reported.
    ## Sources
    PyTorch tutorial, "Getting Started with Distributed Data Parallel: Save and Load Checkpoints".
    """

    on_trial = True
    severity = Severity.WARNING

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at what is around each call that saves."""
        starts, wraps = file.calls_of(*_STARTS), file.calls_of(*_WRAPS)
        if not starts or not wraps:
            return
        for call in file.calls_of("torch.save"):
            path = call.argument(1, "f")
            if path is None or _PER_PROCESS.search(file.text(path.at)) or file.says("FSDP", "fully_shard"):
                continue
            if not _is_guarded(file, call, 0):
                yield self._read(file, call, wraps[0])

    def _read(self, file: Code, call: Call, wrap: Call) -> Finding:
        return self.finding(
            "every process writes the same checkpoint",
            sureness=Sureness.LIKELY,
            place=place_in(file, call.at),
            evidence=[Evidence(f"conditions on the rank around {line_of(file, call.at)}", 0, 1)],
            cause="All processes run this line and write to one path at the same time.",
            fixes=[
                "Let one process write it:\n" + code("if torch.distributed.get_rank() == 0:", "    torch.save(...)")
            ],
            unless="each process writes to a path or a disk of its own.",
            chain=[
                Link(place_in(file, wrap.at), "the model is trained by several processes"),
                Link(place_in(file, call.at), "each of them saves"),
            ],
        )

    bad_code = {
        "by the script's own function": """
            def main(data):
                torch.distributed.init_process_group("nccl")
                model = nn.parallel.DistributedDataParallel(nn.Linear(3, 2).cuda())
                model(data).sum().backward()
                torch.save(model.state_dict(), "last.pt")  # bad

            if __name__ == "__main__":
                main(torch.ones(2, 3))
            """,
        "after training": """
            def main(data):
                torch.distributed.init_process_group("nccl")
                model = nn.parallel.DistributedDataParallel(nn.Linear(3, 2).cuda())
                model(data).sum().backward()
                torch.save(model.state_dict(), "last.pt")  # bad
            """,
        "by a function": """
            def save(model, path):
                torch.save(model.state_dict(), path)  # bad

            def main(data):
                torch.distributed.init_process_group("nccl")
                model = nn.parallel.DistributedDataParallel(nn.Linear(3, 2).cuda())
                save(model, "last.pt")
            """,
    }
    good_code = {
        "the process of the first device": """
            import torch
            import torch.distributed as dist
            from torch import nn

            def main(gpu, data):
                dist.init_process_group("nccl")
                model = nn.parallel.DistributedDataParallel(nn.Linear(3, 2).cuda(gpu))
                if gpu == 0:
                    torch.save(model.state_dict(), "last.pt")
            """,
        "one process": """
            import torch.distributed as dist
            from torch import nn
            import torch

            def save(model, path):
                torch.save(model.state_dict(), path)

            def main(data):
                dist.init_process_group("nccl")
                model = nn.parallel.DistributedDataParallel(nn.Linear(3, 2).cuda())
                if dist.get_rank() == 0:
                    save(model, "last.pt")
                    torch.save(model.state_dict(), "other.pt")
            """,
        "the others have left": """
            def save(model, path, rank):
                if rank != 0:
                    return
                torch.save(model.state_dict(), path)

            def main(data, rank):
                torch.distributed.init_process_group("nccl")
                model = nn.parallel.DistributedDataParallel(nn.Linear(3, 2).cuda())
                save(model, "last.pt", rank)
            """,
        "a file for each": """
            def main(data, rank):
                torch.distributed.init_process_group("nccl")
                model = nn.parallel.DistributedDataParallel(nn.Linear(3, 2).cuda())
                torch.save(model.state_dict(), f"last-{rank}.pt")
            """,
        "one process of one": """
            def main(data):
                model = nn.DataParallel(nn.Linear(3, 2).cuda())
                torch.save(model.state_dict(), "last.pt")
            """,
    }


def _is_condition(line: str) -> bool:
    return line.lstrip().startswith(("if ", "elif ")) and not _IS_SCRIPT.search(line)


def _is_guarded(file: Code, call: Call, depth: int) -> bool:
    """Whether a condition that may be one on the rank is around a call, before it, or around its callers."""
    index = file.function_at(call.context)
    function = file.functions[index]
    for here in file.around(call.context):
        if here.kind in ("if", "else", "while", "try") and here.value is not None:
            text = file.text(here.value.at)
            if _IS_SCRIPT.search(text):
                continue  # all processes run the script
            if _GUARD.search(text) or re.fullmatch(r"(?:not )?[\w.]+(?:\(\))?", text):
                return True  # a flag may hold which process this is
        if here.kind == "function":
            break
    before = file.lines[function.at.line - 1 if index else 0 : call.at.line - 1]
    if any(_GUARD.search(line) and _is_condition(line) for line in before):
        return True
    sites = call_sites(file, index) if index else ()
    if index and not sites:  # who calls it is not known, but that each process runs what wraps the model
        return all(file.function_at(wrap.context) != index for wrap in file.calls_of(*_WRAPS))
    return depth < 3 and any(_is_guarded(file, site, depth + 1) for site in sites)
