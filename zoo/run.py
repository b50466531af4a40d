"""The zoo: how often we name the right fault of real programs, and how often we alarm without a fault.

    python zoo/run.py                             everything, three seeds each, an hour and more; writes docs/zoo.md
    python zoo/run.py --what pairs --half develop pairs for work on the rules
    python zoo/run.py --seeds 1 --only gan        what has `gan` in its name, once
    python zoo/run.py --hurts                     check only that the faults hurt, by plain training without us
    python zoo/run.py --only gan --page gan.md    write the figures to a page as well
    python zoo/run.py --check                     `stethoscope check` in the place of `run`
    python zoo/run.py --keep kept                 keep what was said; the same again goes on where it was broken off

*Rules* are the rules' own bug programs, *pairs* are faulty programs with their twins in `zoo/programs/pairs`, written
without a look at the rules, *healthy* programs are in `zoo/programs/healthy`. A program is *detected* when anything
graver than a note is said of it; the right cause is *first* when the first finding is, or folds, an accepted name; its
fix is *proven* when an experiment on a copy cured or helped. Anything graver than a note on a twin or on a healthy
program is a false alarm. Files are parted by a hash of their name into a half to *develop* with and a half to *report*
from. Exit code 1 when a bug program is not named, a twin of one is not silent, a healthy program is not clean, a
program fails, or, with `--hurts`, when a fault does not hurt.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import report
from collection import Pair, Program, bug_programs, half_of, healthy, left_out, missing, pairs
from hurting import Hurt, hurt_all
from listening import BEFORE_TRAINING, Tally, listen_to_all
from report import MEASURES, Judged

PAGE = Path(__file__).parent.parent / "docs" / "zoo.md"


@dataclass(frozen=True)
class Heard:
    """Everything that was listened to."""

    rules: tuple[Judged, ...]
    pairs: tuple[Judged, ...]
    healthy: tuple[Program, ...]
    tallies: tuple[Tally, ...]
    """What was said of the healthy programs, in the same order."""


def main() -> int:
    """Run what was asked for and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="run each program with seeds 0 to N - 1")
    parser.add_argument("--only", default="", metavar="NAME", help="programs with NAME in their name or fault")
    parser.add_argument("--half", choices=("develop", "report", "all"), default="all", help="which half of the files")
    parser.add_argument("--what", choices=("rules", "pairs", "healthy", "all"), default="all")
    parser.add_argument("--jobs", type=int, default=2, help="how many programs at a time")
    parser.add_argument("--hurts", action="store_true", help="only check that the faults hurt, without us")
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FOLDER",
        help="keep what each program printed, and its findings; what is there is not run again",
    )
    parser.add_argument("--check", action="store_true", help="check them before they train, those where that can tell")
    parser.add_argument("--page", type=Path, help="write the figures to this page; docs/zoo.md after a whole run")
    options = parser.parse_args()
    for path in left_out():
        print(f"left out: {path.stem} (it needs {', '.join(missing(path))})", file=sys.stderr)
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)

    def chosen(kind: str, found: Sequence[Pair]) -> list[Pair]:
        asked = options.what in (kind, "all")
        return [each for each in found if asked and options.only in " ".join((each.name, *each.faults))]

    of_rules = chosen("rules", bug_programs())
    of_pairs = [each for each in chosen("pairs", pairs()) if options.half in ("all", half_of(each.name))]
    if options.check:
        of_rules = [each for each in of_rules if each.faults[0] in BEFORE_TRAINING]
        of_pairs = [each for each in of_pairs if each.faults[0] in BEFORE_TRAINING]
    if options.hurts:
        return print_hurts(of_pairs, hurt_all(of_pairs, options.seeds, options.jobs))
    well = [
        each
        for each in healthy()
        if options.what in ("healthy", "all")
        and options.only in each.name
        and options.half in ("all", half_of(each.name))
    ]
    heard = listen(
        of_rules,
        of_pairs,
        well,
        options.seeds,
        options.jobs,
        options.keep,
        "check --simplify" if options.check else "run",
    )
    wrong = print_rules(heard, options.seeds) + print_pairs(heard) + print_healthy(heard)
    whole = options.what == options.half == "all" and not options.only
    if where := options.page or (PAGE if whole else None):
        where.write_text(page(heard), "utf-8")
    return min(wrong, 1)


def listen(
    rules: list[Pair], of_pairs: list[Pair], well: list[Program], seeds: int, jobs: int, keep: Path | None, verb: str
) -> Heard:
    """Run them all."""
    both = [*rules, *of_pairs]
    programs = [*(each.faulty for each in both), *(each.twin for each in both), *well]
    tallies = listen_to_all(programs, seeds, jobs, keep, verb)
    count = len(both)
    judged = [Judged(*each) for each in zip(both, tallies[:count], tallies[count : 2 * count], strict=True)]
    return Heard(tuple(judged[: len(rules)]), tuple(judged[len(rules) :]), tuple(well), tuple(tallies[2 * count :]))


def print_hurts(found: list[Pair], hurts: list[Hurt]) -> int:
    """A row for each pair; returns 1 when some fault does not hurt."""
    rows = [
        (
            pair.name,
            pair.faults[0],
            ", ".join(f"{each.value:.4g}" for each in hurt.faulty),
            ", ".join(f"{each.value:.4g}" for each in hurt.twin),
            f"{max(each.seconds for each in (*hurt.faulty, *hurt.twin)):.0f} s",
            hurt.verdict,
        )
        for pair, hurt in zip(found, hurts, strict=True)
    ]
    print(report.table(("pair", "fault", "faulty", "twin", "CPU", "verdict"), rows))
    bad = [hurt for hurt in hurts if hurt.verdict != "hurts"]
    print(f"\n{len(hurts) - len(bad)} of {len(hurts)} faults hurt")
    return int(bool(bad))


def print_rules(heard: Heard, seeds: int) -> int:
    """The rules' own bug programs; returns how many were not named, not silent, or failed."""
    if not heard.rules:
        return 0
    print("The rules' own bug programs")
    print(report.table(report.PAIR_HEAD, report.pair_rows(heard.rules)))
    _print_totals(heard.rules)
    return sum(each.right_in_three.hits < seeds or each.twin_alarms.hits > 0 for each in heard.rules)


def print_pairs(heard: Heard) -> int:
    """Pairs: each half, rule by rule; pair by pair for the half to develop with. Returns how many twins failed."""
    for half in ("develop", "report"):
        judged = report.of_half(heard.pairs, half)
        if not judged:
            continue
        print(f"\nPairs of the half to {half} {'with' if half == 'develop' else 'from'}")
        if half == "develop":
            print(report.table(report.PAIR_HEAD, report.pair_rows(judged)))
        print(report.table(report.RULE_HEAD, report.rule_rows(judged)))
        _print_totals(judged)
    return sum(bool(each.failure) for judged in heard.pairs for each in judged.twin.heard)


def print_healthy(heard: Heard) -> int:
    """Healthy programs of which something was said; returns in how many runs there was a false alarm."""
    if not heard.healthy:
        return 0
    print("\nHealthy programs: errors and warnings (notes in brackets), or failed")
    print(report.table(("program", "said"), report.healthy_rows(heard.healthy, heard.tallies)))
    alarms = report.healthy_alarms(heard.tallies)
    print(f"runs with a false alarm: {alarms}")
    return alarms.hits


def _print_totals(judged: Sequence[Judged]) -> None:
    print()
    for name, measure in MEASURES:
        print(f"{name}: {report.total(judged, measure)}")


def _seeds(judged: Sequence[Judged]) -> str:
    counts = sorted({len(each.faulty.heard) for each in judged})
    return "1 seed" if counts == [1] else f"{' or '.join(map(str, counts))} seeds"


def page(heard: Heard) -> str:
    """The figures as a page; single programs only of the half to develop with."""
    parts = [
        "# The zoo",
        "",
        "Made by `python zoo/run.py`. A pair is a faulty program and its repaired twin (`zoo/programs/pairs`); that",
        "its fault hurts is checked without us. A hash of the file's name parts the pairs: one half to develop with,",
        "the other to report from.",
        "A cause counts as first when the first finding is an accepted name of the fault or folds one, and is an error",
        "or a warning. Intervals are Wilson's at 95 %, over runs; the runs of one program are alike, so the true",
        "intervals are wider.",
    ]
    for half in ("report", "develop"):
        judged = report.of_half(heard.pairs, half)
        if judged:
            parts += ["", f"## Pairs, half to {half}", "", f"{len(judged)} pairs, {_seeds(judged)} each.", ""]
            parts += [f"- {name}: {report.total(judged, measure)}" for name, measure in MEASURES]
            parts += ["", report.markdown(report.RULE_HEAD, report.rule_rows(judged))]
    develop = report.of_half(heard.pairs, "develop")
    if develop:
        parts += ["", "## Pair by pair, half to develop", ""]
        parts += [report.markdown(report.PAIR_HEAD, report.pair_rows(develop))]
    if heard.rules:
        parts += ["", "## The rules' own bug programs", ""]
        parts += [f"- {name}: {report.total(heard.rules, measure)}" for name, measure in MEASURES]
    if heard.healthy:
        alarms = report.healthy_alarms(heard.tallies)
        parts += ["", "## Healthy programs", "", f"{len(heard.healthy)} programs. Runs with a false alarm: {alarms}."]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
