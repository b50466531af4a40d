"""What a run was: its command, code, environment, settings and results. Kept beside the history, for comparison."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

RING_FORMAT = 1
"""Of the file that holds a run's captured steps; raised when it is written in another way."""
RING_OUTLINE = "ring"
"""The entry of that file's metadata that says what its tensors are, as JSON."""


@dataclass(frozen=True)
class RunRecord:
    """Everything that is needed to know, compare and repeat a run. All of it is plain JSON."""

    id: str = ""
    """The folder's name: date, time and two words, such as `2026-11-21_1405_quiet-otter`."""
    started: str = ""
    """ISO time with zone."""
    ended: str = ""
    """ISO time; empty while it runs."""
    state: str = "running"
    """`running`, `finished`, `failed`, `interrupted`, or `lost` (it stopped without a word: killed, power)."""
    exit_code: int | None = None
    command: tuple[str, ...] = ()
    """As the script saw `sys.argv`."""
    script: str = ""
    module: str = ""
    """What was run by `-m`; empty for a script."""
    max_steps: int = 0
    """Steps after which it was to be ended; 0 for none."""
    directory: str = ""
    """Working directory."""
    git: dict[str, Any] = field(default_factory=dict)
    """`commit`, `branch`, `dirty`, and `diff` of what was not committed (at most 1 MiB); empty outside git."""
    python: str = ""
    packages: dict[str, str] = field(default_factory=dict)
    """Version of every installed distribution."""
    hardware: dict[str, Any] = field(default_factory=dict)
    """`system`, `machine`, `processor`, `cores`, `memory_gib`, `accelerators`, `torch_threads`."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables that change results: CUDA_*, OMP_*, PYTHONHASHSEED, ... never secrets."""
    seeds: dict[str, int] = field(default_factory=dict)
    """`torch`, `numpy`, `python`: the seed set, where one was."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Namespaces that argparse returned."""
    optimizers: tuple[dict[str, Any], ...] = ()
    models: tuple[dict[str, Any], ...] = ()
    """Name, structure as text, parameter counts."""
    loaders: tuple[dict[str, Any], ...] = ()
    """Batch size, shuffle, workers, length, ... of each data loader that was iterated."""
    data_fingerprint: str = ""
    """Checksum over the training batches looked at, in order; equal runs on equal data have equal ones."""
    results: dict[str, float] = field(default_factory=dict)
    """`final training loss`, `best training loss`, `final validation loss`, `best validation accuracy`, ..."""
    steps: int = 0
    no_ring: str = ""
    """Why the captured steps were not kept for `stethoscope prove`, as a clause; empty where they were."""
    world_size: int = 1
    tool: dict[str, str] = field(default_factory=dict)
    """Name and version of the tool that recorded it."""
