"""Random numbers of a data loader's worker processes."""

from __future__ import annotations

from dataclasses import dataclass

from stethoscope.facts.code import Site


@dataclass(frozen=True)
class WorkerDraws:
    """Random numbers that a loader's workers draw from a source that stands alike in all of them."""

    source: int = -1
    """Number of the data set, as in `facts.flow.Stream`."""
    workers: int = 0
    persistent: bool = False
    """Whether the workers live on from one epoch to the next."""
    how: str = "generator"
    """`generator`: each worker has a copy of a generator; `seeding`: `worker_init_fn` seeds all workers alike."""
    kind: str = ""
    """Class of the generator (`numpy.random.Generator`), or the library that is seeded (`numpy.random`)."""
    owner: str = ""
    """Class that keeps the generator; empty for one of a module, or when workers are seeded alike."""
    name: str = ""
    """Attribute or variable that holds the generator; or name of the `worker_init_fn`."""
    drawn_at: Site | None = None
    """The line that draws."""
    seeded_at: Site | None = None
    """The line that seeds all workers alike."""
    loader_site: Site | None = None
    """Where the loader was first iterated."""
