"""`stethoscope prove`: repeat an experiment on a recorded run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from stethoscope.core.settings import read_settings

SECONDS = 60.0


@click.command("prove")
@click.argument("run")
@click.argument("rule")
@click.option("--store", type=click.Path(path_type=Path), help="Folder of all runs.  [default: runs]")
@click.option("--seconds", type=click.FloatRange(1), default=SECONDS, help="Time for experiments.  [default: 60]")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the proof here; - is stdout.")
def command(run: str, rule: str, store: Path | None, seconds: float, json_file: Path | None) -> Callable[[], int]:
    """Try the cure of RULE on copies of RUN (a folder, an id, its beginning, or `last`), as at its end.

    The run's script is started again to make its model, and ended before its first captured step. What it prints
    goes to standard error. The exit code is 0 when the cure cured or helped, 1 when it did nothing or could not be
    tried, 2 when there is no such run or rule, the run kept no captured steps, or the script is no longer the one
    that ran.
    """
    from stethoscope.rules import rule_named
    from stethoscope.store.reader import find_run, read_record

    place = store or Path(read_settings(Path.cwd()).store)
    folder = Path(run) if Path(run).is_dir() else find_run(place, run)
    record, wanted = read_record(folder), rule_named(rule)
    target = json_file if json_file is None or str(json_file) == "-" else json_file.absolute()

    def experiment() -> int:
        from stethoscope.cli.writing import write_json
        from stethoscope.diagnosing.verdict import CURED, HELPED
        from stethoscope.proving import prove
        from stethoscope.render.json import proof_json
        from stethoscope.render.terminal import print_proof

        proven = prove(folder, record, wanted, seconds=seconds)
        if proven.interrupted:
            sys.excepthook = lambda *_: None  # Python has told of it
            raise KeyboardInterrupt
        print_proof(proven.proof, wanted.name, record.id, sys.stderr)
        if target is not None:
            write_json({"schema": 1, "run": record.id, "rule": wanted.name, "proof": proof_json(proven.proof)}, target)
        return 0 if proven.proof.verdict in (CURED, HELPED) else 1

    return experiment
