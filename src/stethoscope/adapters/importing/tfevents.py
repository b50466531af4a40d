"""Event files of TensorBoard: a run for each folder, where `train` and `validation` below one belong to it."""

from __future__ import annotations

from pathlib import Path

from stethoscope.adapters.importing.logged import Logged, is_phase
from stethoscope.adapters.tfevents import Events, read_events
from stethoscope.core.errors import BadFile


def read(place: Path) -> list[Logged]:
    """The runs below a folder, or of one event file. Raises BadFile."""
    files = [place] if place.is_file() else [path for path in place.rglob("*tfevents*") if path.is_file()]
    if not files:
        raise BadFile(f"{place} holds no event files of TensorBoard (their names contain tfevents)")
    root = place.parent if place.is_file() else place
    groups: dict[Path, list[tuple[float, str, Events]]] = {}
    for file in sorted(files):
        folder = file.parent
        while folder != root and is_phase(folder.name):
            folder = folder.parent
        below = file.parent.relative_to(folder).as_posix()
        events = read_events(file)
        groups.setdefault(folder, []).append((events.first, "" if below == "." else f"{below}/", events))
    return [run for folder, parts in sorted(groups.items()) for run in _runs(folder, parts)]


def _runs(folder: Path, parts: list[tuple[float, str, Events]]) -> list[Logged]:
    """The files of a folder as runs: one that begins again where an earlier one began is a run of its own."""
    runs: list[Logged] = []
    for first, prefix, events in sorted(parts, key=lambda part: part[0]):
        if not runs or _begins_again(runs[-1], prefix, events):
            runs.append(Logged(folder.name, str(folder.absolute()), started=first))
        run = runs[-1]
        run.ended = max(run.ended, events.last)
        run.damage += events.damage
        for tag, points in events.scalars.items():
            run.series.setdefault(prefix + tag, []).extend(points)
    return runs


def _begins_again(run: Logged, prefix: str, events: Events) -> bool:
    for tag, points in events.scalars.items():
        before = run.series.get(prefix + tag, [])
        if before and points and points[0][0] <= before[0][0]:
            return True
    return False
