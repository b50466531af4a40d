"""`stethoscope tag`: write tags and a note on recorded runs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from stethoscope.core.errors import UsageError
from stethoscope.core.settings import read_settings
from stethoscope.render.tables import print_line
from stethoscope.store.labels import Labels, read_labels, write_labels
from stethoscope.store.reader import find_run


@click.command("tag")
@click.argument("run")
@click.argument("tags", nargs=-1)
@click.option("--remove", "gone", multiple=True, metavar="TAG", help="Take this tag off (again for more).")
@click.option("--note", help="A sentence about the run; an empty one takes it off.")
@click.option("--store", type=click.Path(path_type=Path), help="Folder of all runs.  [default: runs]")
def command(run: str, tags: tuple[str, ...], gone: tuple[str, ...], note: str | None, store: Path | None) -> int:
    """Write TAGS on a recorded RUN: a folder, an id, the beginning of one, its two words, or `last`.

    \b
        stethoscope tag last baseline --note "before the new loader"
        stethoscope runs "tag == 'baseline'"
    """
    folder = Path(run) if Path(run).is_dir() else find_run(store or Path(read_settings(Path.cwd()).store), run)
    for tag in tags:
        if not tag.strip() or "," in tag:
            raise UsageError(f"{tag!r} is no tag: a tag is a word or two, without commas")
    old = read_labels(folder)
    kept = tuple(dict.fromkeys(tag for tag in (*old.tags, *tags) if tag not in gone))
    labels = Labels(kept, old.note if note is None else note)
    if labels != old:
        write_labels(folder, labels)
    words = f"{folder.name}: {', '.join(labels.tags) or 'no tags'}" + (f" ({labels.note})" if labels.note else "")
    print_line(words, sys.stdout)
    return 0
