"""A message between processes that nobody waits for."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Call, Code
from stethoscope.facts.things import literal
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

_PREFIX = "torch.distributed."
_ALWAYS = frozenset({"isend", "irecv"})
_ASKED = frozenset({
    "all_reduce", "all_gather", "all_gather_into_tensor", "broadcast", "reduce", "reduce_scatter", "gather", "scatter",
    "all_to_all", "all_to_all_single", "reduce_scatter_tensor",
})  # fmt: skip


class WaitMissing(Rule):
    """A tensor is sent or reduced in the background, and the handle to wait with is dropped.

    ## What it sees
    `dist.isend(...)`, `dist.irecv(...)`, or a collective with `async_op=True`, as a statement of its own.
    ## Why it hurts
    The call returns at once. Without `wait()` the tensor may be read before it has come, or written before it has been
    sent: the numbers are now those, now others.
    ## How to fix it
    Keep the handle and wait before the tensor is used: `work = dist.irecv(x); work.wait()`. Or use the call that waits
    by itself, `dist.recv(x)`.
    ## When it is not a fault
    Handles that are kept: what is done with them is not judged. A message whose arrival a barrier makes sure of.
    ## Sources
    PyTorch tutorial, "Writing Distributed Applications with PyTorch: Point-to-Point Communication"; the Semgrep
    rules of Trail of Bits.
    """

    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for such calls whose handle nobody takes."""
        for bare in file.bare:
            call = bare.value
            if not isinstance(call, Call) or not call.name.startswith(_PREFIX):
                continue
            name = call.name.removeprefix(_PREFIX)
            asked = name in _ASKED and literal(file, call.keyword("async_op")) is True
            if (name not in _ALWAYS and not asked) or (asked and _is_barred(file, call)):
                continue
            waits = name[1:] if name in _ALWAYS else name
            line = f"dist.{waits}(...)"
            yield self.finding(
                fitting(f"nothing waits for `{name}`", "nothing waits for a message"),
                sureness=Sureness.CERTAIN,
                place=place_in(file, call.at),
                evidence=[Evidence(f"handles of `{name}` on {line_of(file, call.at)} that are kept", 0, 1)],
                cause=f"`{name}` returns at once, and its handle, the only means to wait for it, is dropped.",
                fixes=[
                    "Keep the handle, and wait before the tensor is used:\n"
                    + code(f"work = {file.text(call.at)}", "work.wait()"),
                    "Or use the call that waits by itself:\n" + code(line),
                ],
            )

    bad_code = {
        "sent, received and reduced": """
            import torch
            import torch.distributed as dist

            def exchange(rank, x):
                if rank == 0:
                    dist.isend(x, dst=1)  # bad
                else:
                    dist.irecv(x, src=0)  # bad
                dist.all_reduce(x, async_op=True)  # bad
                return x
            """,
    }
    good_code = {
        "waited for": """
            import torch
            import torch.distributed as dist

            def exchange(rank, x):
                work = dist.isend(x, dst=1)
                work.wait()
                dist.irecv(x, src=0).wait()
                dist.all_reduce(x)
                handles = [dist.all_reduce(x, async_op=True)]
                return handles

            def gather(rank, size, parts):
                for source in range(size):
                    dist.broadcast(parts[source], src=source, async_op=True)
                dist.barrier()
                return parts
            """,
    }


def _is_barred(file: Code, call: Call) -> bool:
    """Whether a barrier follows in the same function: one of the same group waits for what was begun before it."""
    index = file.function_at(call.context)
    return any(
        other.number > call.number and file.function_at(other.context) == index
        for other in file.calls_of(_PREFIX + "barrier")
    )
