"""How often `stethoscope lint` is right about code that nobody wrote for us: a Markdown table by rule and level.

    python bench/lint_precision.py fetch DIR     brings the packages of lint_packages.txt, and unpacks their sources
    python bench/lint_precision.py run DIR       reads them all, and writes DIR/findings.jsonl and DIR/packages.jsonl
    python bench/lint_precision.py table DIR     joins lint_verdicts.jsonl, and prints precision and what has no verdict

The packages are source archives of the package index, pinned by version and hash, and repositories, pinned by commit.
Nothing of them is run. `fetch` asks the index through `unearth` (`pip install unearth`), which follows pip's settings;
repositories are taken from bare clones in `--clones FOLDER`, each named `owner+name`, and left out where there is none.

Each package belongs to one of two halves, by a hash of its name. Rules were repaired with sight of the findings in the
first half, `develop`; the second, `held out`, was read when that was done, and rules were repaired again; so it went
with the parts from `later` to `thirty-seventh`, each read when the repairs before it stood. A finding that was wrong in
a part that is not `develop` stays wrong in the count when a repair has removed it, and is counted under `no longer
found`.

A verdict is what a person said who opened the file: `right` (it changes results), `waste` (bounded waste, or a fault
as the rule states it that costs little there), `moot` (it is as the finding says, and would be right or waste, but the
code around it cannot run as it stands for a reason of its own, or stands in a branch that nothing reaches), `harmless`
(the pattern is there, and does no harm or is meant), `false` (it is not as the finding says). Right are the first two;
right about the code are the first three: whoever repairs what keeps that code from running meets the fault. `moot` is
told apart since the thirty-third part, and was `harmless` before; both shares are printed.

The figures of the last run stand in `lint_precision.md`, those of rules on trial in `lint_trial.md`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import os
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stethoscope.core.finding import Finding
from stethoscope.core.review import FileReview, Level
from stethoscope.core.settings import Settings
from stethoscope.linting import lint
from stethoscope.rules import all_rules

HERE = Path(__file__).parent
PACKAGES = HERE / "lint_packages.txt"
VERDICTS = HERE / "lint_verdicts.jsonl"
RIGHT = ("right", "waste")
MOOT = "moot"
WRONG = (MOOT, "harmless", "false")
SUFFIXES = (".py", ".ipynb")
HALVES = ("develop", "held out")
PARTS = (
    *HALVES, "later", "last", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth",
    "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth",
    "nineteenth", "twentieth", "twenty-first", "twenty-second", "twenty-third", "twenty-fourth", "twenty-fifth",
    "twenty-sixth", "twenty-seventh", "twenty-eighth", "twenty-ninth", "thirtieth", "thirty-first", "thirty-second",
    "thirty-third", "thirty-fourth", "thirty-fifth", "thirty-sixth", "thirty-seventh", "thirty-eighth",
    "thirty-ninth", "fortieth", "forty-first", "forty-second", "forty-third", "forty-fourth", "forty-fifth",
    "forty-sixth",
)  # fmt: skip


@dataclass(frozen=True)
class Package:
    """Some code to read: an archive of the index, or a repository."""

    kind: str
    """`sdist`, `wheel` or `repository`."""
    name: str
    version: str
    """Of a repository, the commit."""
    sha256: str = ""
    """Of the archive."""
    since: str = ""
    """The part to which all packages of its section of the list belong; empty in the first section."""

    @property
    def part(self) -> str:
        """By the name alone, whatever else is in the list; those of later sections were not there at first."""
        return self.since or HALVES[hashlib.sha256(self.name.encode()).digest()[0] % 2]

    @property
    def folder(self) -> str:
        """Where it lies below `code`."""
        return self.name.replace("/", "+")


def packages() -> list[Package]:
    """Those of the list, in its order."""
    found, since = [], ""
    for line in PACKAGES.read_text().splitlines():
        since = line.split()[2] if line.startswith("# part ") else since
        if line and not line.startswith("#"):
            kind, name, version, *rest = line.split()
            found.append(Package(kind, name, version, *rest[:1], since=since))
    return found


def fetch(here: Path, clones: Path | None) -> None:
    """Bring and unpack what is not there yet; only Python files and notebooks are unpacked."""
    for package in packages():
        into = here / "code" / package.folder
        if into.exists():
            continue
        try:
            data = _commit(package, clones) if package.kind == "repository" else _archive(package, here / "archives")
            count = _unpack(data, into)
            if package.kind == "repository":
                (into / ".git").mkdir()  # by which the top of a project is known
        except (OSError, subprocess.CalledProcessError, tarfile.TarError, ValueError) as error:
            print(f"{package.name}: {error}", file=sys.stderr)
            continue
        print(f"{package.name} {package.version}: {count} files")


def _commit(package: Package, clones: Path | None) -> bytes:
    if clones is None:
        raise ValueError("no folder of clones was given")
    name = package.folder
    clone = next(
        (
            path
            for path in (clones / name / "repo/.git", clones / name / "repo", clones / name, clones / f"{name}.git")
            if path.exists()
        ),
        None,
    )
    if clone is None:
        raise ValueError(f"there is no {clones / name}")
    git = ["git", f"--git-dir={clone}"]
    listed = subprocess.run([*git, "ls-tree", "-r", "-z", package.version], check=True, capture_output=True, text=True)
    entries = [entry.split("\t", 1) for entry in listed.stdout.split("\0") if entry.endswith(SUFFIXES)]
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for kind, name in entries:
            mode, _, blob = kind.split()
            read = subprocess.run([*git, "cat-file", "blob", blob], capture_output=True)
            if mode.startswith("100") and read.returncode == 0:  # a clone may lack its largest files
                member = tarfile.TarInfo(name)
                member.size = len(read.stdout)
                archive.addfile(member, io.BytesIO(read.stdout))
    return made.getvalue()


def _archive(package: Package, archives: Path) -> bytes:
    archives.mkdir(parents=True, exist_ok=True)
    for path in archives.iterdir():
        if path.name.lower().replace("_", "-").replace(".", "-").startswith(package.name) and _is(
            package, path.read_bytes()
        ):
            return path.read_bytes()
    only = "--no-binary" if package.kind == "sdist" else "--only-binary"
    asked = [sys.executable, "-m", "unearth", only, "--link-only", f"{package.name}=={package.version}"]
    links = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()
    for link in links:
        link = link.split("#")[0]
        with urllib.request.urlopen(link, timeout=180) as answer:
            data: bytes = answer.read()
        if _is(package, data):
            (archives / link.rsplit("/", 1)[1]).write_bytes(data)
            return data
    raise ValueError(f"no archive of version {package.version} has the hash of the list")


def _is(package: Package, data: bytes) -> bool:
    return hashlib.sha256(data).hexdigest() == package.sha256


def _unpack(data: bytes, into: Path) -> int:
    """Python files and notebooks of an archive; links, devices and paths that lead elsewhere are refused."""
    into.mkdir(parents=True)
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as wheel:
            names = [name for name in wheel.namelist() if name.endswith(SUFFIXES)]
            wheel.extractall(into, names)
        return len(names)
    count = 0
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(SUFFIXES):
                archive.extract(member, into, filter="data")
                count += 1
    return count


def run(here: Path, part: str, only: str, again: bool) -> None:
    """Read the packages that are asked for, one after the other, and write down what was found in each."""
    found, told = _lines(here / "findings.jsonl"), _lines(here / "packages.jsonl")
    with_findings = {one["package"] for one in found}
    for package in packages():
        folder = here / "code" / package.folder
        asked = part in (package.part, "all") and only in package.name
        if not folder.is_dir() or not asked or (again and package.name not in with_findings):
            continue
        findings, summary = _read(package, folder)
        found = [*(one for one in found if one["package"] != package.name), *findings]
        told = [*(one for one in told if one["package"] != package.name), summary]
        _write(here / "findings.jsonl", found)
        _write(here / "packages.jsonl", told)
        print(f"{package.name}: {summary['files']} files, {len(findings)} findings", flush=True)


def _read(package: Package, folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    before = Path.cwd()
    os.chdir(folder)  # files are named from here, so that no word of a folder above counts
    try:
        review = lint(".", possible=True, settings=Settings())
    finally:
        os.chdir(before)
    found = [one for file in review.files for one in file.findings if Level(possible=True).shows(one)]
    marks = _fingerprints(package, folder, found)
    rows = [
        {
            "package": package.name,
            "part": package.part,
            "rule": one.rule,
            "level": "default" if Level().shows(one) else "all",
            "file": one.place.file,
            "cell": one.place.cell,
            "line": one.place.line,
            "text": one.place.text,
            "title": one.title,
            "fingerprint": mark,
        }
        for one, mark in zip(found, marks, strict=True)
    ]
    return rows, {"package": package.name, "part": package.part, **_sizes(review.files), "took": round(review.took, 2)}


def _fingerprints(package: Package, folder: Path, found: list[Finding]) -> list[str]:
    """What stays the same of each finding when lines move, or other findings go: the lines around it, and the rule."""
    seen: Counter[str] = Counter()
    marks = []
    for one in found:
        place = one.place
        near = _lines_near(folder / (place.file or ""), place.cell, place.line or 1)
        key = "\0".join((one.rule, package.name, _without_version(place.file or ""), str(place.column), *near))
        marks.append(hashlib.sha256(f"{key}\0{seen[key]}".encode("utf-8", "surrogatepass")).hexdigest()[:32])
        seen[key] += 1
    return marks


def _lines_near(path: Path, cell: int | None, line: int, reach: int = 4) -> list[str]:
    text = path.read_text("utf-8", "replace")
    if cell:
        source = json.loads(text)["cells"][cell - 1]["source"]
        text = source if isinstance(source, str) else "".join(source)
    return [near.strip() for near in text.split("\n")[max(0, line - 1 - reach) : line + reach]]


def _without_version(file: str) -> str:
    """A file of an archive without the archive's own folder, which has the version in its name."""
    first, _, rest = file.partition("/")
    return rest if rest and any(letter.isdigit() for letter in first) else file


def _sizes(files: Iterable[FileReview]) -> dict[str, int]:
    files = list(files)
    return {
        "files": len(files),
        "relevant": sum(file.is_relevant and not file.why_not for file in files),
        "not analysed": sum(bool(file.why_not) for file in files),
        "loops": sum(file.loops for file in files),
        "unclear": sum(len(file.unclear) for file in files),
        "broken": sum(len(file.broken) for file in files),
    }


def table(here: Path, left: bool) -> None:
    """Precision by rule and level, by half, and the findings that nobody has judged."""
    found = _lines(here / "findings.jsonl")
    verdicts = {(one["fingerprint"], one["rule"]): one for one in _lines(VERDICTS)}
    present = {(one["fingerprint"], one["rule"]) for one in found}
    judged = [(one, verdicts.get((one["fingerprint"], one["rule"]))) for one in found]
    # What was wrong in the half that is held out counts, though the rule was repaired since.
    gone = [one for key, one in verdicts.items() if key not in present and one["part"] != PARTS[0]]
    _sums(_lines(here / "packages.jsonl"), found)
    for level in ("default", "all"):
        for part in PARTS:
            print(f"\n### {'Default level' if level == 'default' else 'Only with --all'}, {part}\n")
            here_judged = [(one, verdict) for one, verdict in judged if one["level"] == level and one["part"] == part]
            old = [one for one in gone if one["level"] == level and one["part"] == part]
            _precision(here_judged, old)
    if left:
        print("\n### Without a verdict\n")
        for one, verdict in judged:
            if verdict is None:
                cell = f":cell {one['cell']}" if one["cell"] else ""
                print(f"{one['level']} {one['rule']} {one['package']}/{one['file']}{cell}:{one['line']} {one['title']}")


def _sums(told: list[dict[str, Any]], found: list[dict[str, Any]]) -> None:
    print("| part | packages | files | with training words | findings, default | per 1,000 files | findings, --all |"
          " loops | not understood |")  # fmt: skip
    print("| --- |" + " ---: |" * 8)
    for part in (*PARTS, "all"):
        of = [one for one in told if part in (one["part"], "all")]
        seen = Counter(one["level"] for one in found if part in (one["part"], "all"))
        sums = {key: sum(one[key] for one in of) for key in ("files", "relevant", "loops", "unclear")}
        share = f"{100 * sums['unclear'] / max(sums['loops'], 1):.0f} %"
        per = 1000 * seen["default"] / max(sums["files"], 1)
        cells = (part, len(of), sums["files"], sums["relevant"], seen["default"], f"{per:.1f}", seen.total(),
                 sums["loops"], share)  # fmt: skip
        print("| " + " | ".join(str(cell) for cell in cells) + " |")


def _precision(judged: list[tuple[dict[str, Any], dict[str, Any] | None]], gone: list[dict[str, Any]]) -> None:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for one, verdict in judged:
        counts[one["rule"]][verdict["verdict"] if verdict else "unread"] += 1
    for one in gone:
        counts[one["rule"]][one["verdict"]] += 1
        counts[one["rule"]]["gone"] += 1
    print("| rule | found | read | right | waste | moot | harmless | false | precision | 95 % interval "
          "| about the code | 95 % interval | no longer found |")  # fmt: skip
    print("| --- |" + " ---: |" * 12)
    total: Counter[str] = Counter()
    for rule in sorted(counts):
        print(_row(rule, counts[rule]))
        total += counts[rule]
    print(_row("**all**", total))


def _row(name: str, counts: Counter[str]) -> str:
    read = sum(counts[word] for word in (*RIGHT, *WRONG))
    right = sum(counts[word] for word in RIGHT)
    shares = (*_share(right, read), *_share(right + counts[MOOT], read))
    cells = (name, read + counts["unread"] - counts["gone"], read, counts["right"], counts["waste"], counts[MOOT],
             counts["harmless"], counts["false"], *shares, counts["gone"])  # fmt: skip
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _share(right: int, read: int) -> tuple[str, str]:
    """A share and its interval, in percent; empty where nothing was read."""
    low, high = wilson(right, read)
    return (f"{100 * right / read:.0f} %", f"{100 * low:.0f} to {100 * high:.0f}") if read else ("", "")


def wilson(right: int, read: int, z: float = 1.96) -> tuple[float, float]:
    """The interval in which the true share lies, with 95 %."""
    if not read:
        return 0.0, 1.0
    share = right / read
    middle = (share + z * z / (2 * read)) / (1 + z * z / read)
    half = z / (1 + z * z / read) * math.sqrt(share * (1 - share) / read + z * z / (4 * read * read))
    return max(0.0, middle - half), min(1.0, middle + half)


def judge(here: Path, who: str, when: str) -> None:
    """Add verdicts from standard input, a line each: number of the finding in findings.jsonl, verdict, reason."""
    found = _lines(here / "findings.jsonl")
    known = {(one["fingerprint"], one["rule"]) for one in _lines(VERDICTS)}
    rules = {rule.name for rule in all_rules()}
    with VERDICTS.open("a") as out:
        for line in sys.stdin:
            if not line.strip():
                continue
            number, verdict, reason = line.strip().split(" ", 2)
            one = found[int(number)]
            if verdict not in (*RIGHT, *WRONG) or one["rule"] not in rules:
                raise ValueError(f"not a verdict: {line}")
            if (one["fingerprint"], one["rule"]) in known:
                continue
            known.add((one["fingerprint"], one["rule"]))
            kept = {
                key: one[key] for key in ("fingerprint", "rule", "package", "part", "level", "file", "cell", "line")
            }
            out.write(json.dumps({**kept, "verdict": verdict, "reason": reason, "by": who, "on": when}) + "\n")


def _lines(path: Path) -> list[dict[str, Any]]:
    return list(_parsed(path)) if path.exists() else []


def _parsed(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text().splitlines():
        one: dict[str, Any] = json.loads(line)
        yield one


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("what", choices=("fetch", "run", "table", "judge"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clones", type=Path, help="a folder of bare clones of the repositories of the list")
    parser.add_argument("--part", choices=(*PARTS, "all"), default="all")
    parser.add_argument("--only", default="", help="packages with this in their names")
    parser.add_argument("--again", action="store_true", help="only packages in which something was found before")
    parser.add_argument("--left", action="store_true", help="list the findings that have no verdict")
    parser.add_argument("--by", default="", help="who judges")
    parser.add_argument("--on", default="", help="the date")
    given = parser.parse_args()
    if given.what == "fetch":
        fetch(given.folder, given.clones)
    elif given.what == "run":
        run(given.folder, given.part, given.only, given.again)
    elif given.what == "judge":
        judge(given.folder, given.by, given.on)
    else:
        table(given.folder, given.left)


if __name__ == "__main__":
    main()
