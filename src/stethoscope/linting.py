"""Reviews source files without running them. Wires the rooms up, decides nothing."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stethoscope import displaying as displaying
from stethoscope.core.collecting import without_collecting
from stethoscope.core.errors import UsageError, describe
from stethoscope.core.finding import Finding
from stethoscope.core.review import FileReview, Level, Review
from stethoscope.core.rule import Rule
from stethoscope.core.settings import Settings, read_settings
from stethoscope.diagnosing.review import review
from stethoscope.diagnosing.scopes import Scopes
from stethoscope.diagnosing.select import Overrides, read_limits, select_with
from stethoscope.diagnosing.suppress import Suppressions, allowed_in_settings
from stethoscope.observe.code.finding import find
from stethoscope.observe.code.project import Project
from stethoscope.observe.code.reading import NOTEBOOK, Unreadable, read_bytes, source_of
from stethoscope.observe.code.relevant import is_relevant, is_said_in_code
from stethoscope.store.reviews import Kept, KeptReviews

FEW = 24
"""Files that are not worth starting another process for."""
CHUNK = 24
"""Files that a process gets at a time: those of one folder often import from each other."""


EXECUTED_S = 2.0
"""Most that the reading of the files of a run may take."""


@dataclass(frozen=True)
class _Asked:
    """What each file is asked; travels to the processes."""

    only: tuple[str, ...]
    without: tuple[str, ...]
    limits: Overrides
    suppressions: Suppressions
    remembers: bool = False
    """Whether what comes of it is kept for the next time, with the content of all files that it hangs on."""

    def rules(self) -> tuple[type[Rule], ...]:
        return select_with("in_code", self.only, self.without)


def lint(
    *paths: str | Path,
    possible: bool = False,
    notes: bool = False,
    settings: Settings | None = None,
    processes: int | None = None,
    cache: Path | None = None,
) -> Review:
    """Review Python files, folders and notebooks without running them, and say what will train badly.

    Args:
        paths: files, folders, globs; the working directory when there are none.
        possible: also findings that are only possible.
        notes: also what is only worth knowing.
        settings: limits and allowed rules; those of the nearest `pyproject.toml` when None.
        processes: that read files at the same time; as many as there are processors when None.
        cache: a file that remembers what came of unchanged files.

    Raises:
        UsageError: the settings name a rule or a limit that does not exist.
    """
    began = time.perf_counter()
    settings = settings or read_settings(Path.cwd())
    asked = _asked(settings)
    scopes = Scopes(settings.lint)
    found = find([str(path) for path in paths] or ["."])
    files = [path for path in found.files if not scopes.excludes(path)]
    kept = KeptReviews(cache, _question(asked)) if cache is not None else None
    reviews, left = _remembered(files, kept)
    asked = replace(asked, remembers=kept is not None)
    done = _all(left, asked, os.cpu_count() or 1 if processes is None else processes)
    for path, (one, uses, content) in done.items():
        reviews[path] = one
        if kept is not None and content:
            kept.keep(str(path), Kept(content, uses, one))
    if kept is not None:
        kept.save()
    unlisted = [FileReview(_name(folder), why) for folder, why in found.unreadable]
    unread = [path for path in files if reviews[path].why_not] + [folder for folder, _ in found.unreadable]
    return Review(
        files=(*_each_once(scopes.narrowed(reviews[path]) for path in files), *unlisted),
        level=Level(possible, notes),
        missing=tuple(found.missing),
        unread=tuple(_name(path) for path in unread if path in found.named),
        ignored=found.ignored,
        excluded=len(found.files) - len(files),
        took=time.perf_counter() - began,
    )


def lint_executed(files: Sequence[str], directory: Path, settings: Settings) -> tuple[Finding, ...]:
    """What is found in files that a program has executed, also what is only possible, as far as there is time for it.

    Args:
        files: the most important first.
        directory: where the program was started; places are named from there, as those of its run are.
        settings: limits and allowed rules.
    """
    until = time.perf_counter() + EXECUTED_S
    asked, project = _asked(settings), Project()
    rules = asked.rules()
    reviews = []
    with without_collecting():
        for file in files:
            if time.perf_counter() > until:
                break
            with contextlib.suppress(Unreadable):
                data = read_bytes(Path(file))
                reviews.append(_reviewed(project, Path(file), data, asked, rules, _name_from(directory, file))[0])
    names = {_name_from(directory, file) for file in files}
    found = (one for review in _each_once(reviews) for one in review.findings if Level(possible=True).shows(one))
    return tuple(one for one in found if one.place.file in names)


def lint_text(data: bytes, file: str, *, possible: bool = False, notes: bool = False, settings: Settings) -> Review:
    """Review a text that stands, or will stand, in a file: what an editor has open.

    Args:
        data: the text as bytes.
        file: its path; it need not exist.
        possible: also findings that are only possible.
        notes: also what is only worth knowing.
        settings: limits and allowed rules.
    """
    began = time.perf_counter()
    scopes = Scopes(settings.lint)
    if scopes.excludes(Path(file)):
        return Review((), Level(possible, notes), excluded=1)
    asked = _asked(settings)
    one, _ = _reviewed(Project(keeps=False), Path(file), data, asked, asked.rules())
    return Review((scopes.narrowed(one),), Level(possible, notes), took=time.perf_counter() - began)


def stamps(paths: Iterable[str | Path]) -> dict[str, tuple[int, int]]:
    """Of each file that `lint` would read, and of the settings, time of change and size: what tells of an edit."""
    found = find([str(path) for path in paths] or ["."])
    settings = (folder / "pyproject.toml" for folder in (Path.cwd(), *Path.cwd().parents))
    seen = {}
    for path in (*found.files, *settings):
        with contextlib.suppress(OSError):
            status = path.stat()
            seen[str(path)] = (status.st_mtime_ns, status.st_size)
    return seen


def _asked(settings: Settings) -> _Asked:
    select_with("in_code", settings.only, settings.without)  # whether there are such rules
    return _Asked(settings.only, settings.without, read_limits(settings.limits), allowed_in_settings(settings.allow))


def _name(path: Path) -> str:
    return path.as_posix()


def _name_from(directory: Path, file: str) -> str:
    """The path from a folder where the file lies below it, as the places of a run have it."""
    name = os.path.relpath(file, directory)
    return file if name.startswith("..") else name


def _all(
    files: Sequence[Path], asked: _Asked, processes: int
) -> dict[Path, tuple[FileReview, Mapping[str, str], str]]:  # fmt: skip
    """Each file's review, the project's files that it imports with their content, and its own content."""
    if processes > 1 and len(files) > FEW:
        from concurrent.futures import ProcessPoolExecutor  # what few files have no use for

        chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
        with contextlib.suppress(OSError, RuntimeError), ProcessPoolExecutor(min(processes, len(chunks))) as pool:
            parts = pool.map(_chunk, chunks, [asked] * len(chunks))
            return dict(zip(files, (one for part in parts for one in part), strict=True))
        # No processes are to be had here.
    return dict(zip(files, _chunk(files, asked), strict=True))


def _chunk(files: Sequence[Path], asked: _Asked) -> list[tuple[FileReview, Mapping[str, str], str]]:
    rules = asked.rules()
    project = Project()
    done: list[tuple[FileReview, Mapping[str, str], str]] = []
    with without_collecting():
        for path in files:
            try:
                data = read_bytes(path)
            except Unreadable as why:
                done.append((FileReview(_name(path), str(why)), {}, ""))
                continue
            one, uses = _reviewed(project, path, data, asked, rules)
            if asked.remembers:
                done.append((one, {use: _content(Path(use)) for use in uses}, _hash(data)))
            else:
                done.append((one, {}, ""))
        project.forget()  # while nothing looks for circles: else the collector goes through all of its facts first
    return done


def _reviewed(
    project: Project, path: Path, data: bytes, asked: _Asked, rules: Sequence[type[Rule]], name: str = ""
) -> tuple[FileReview, Iterable[str]]:
    """What came of one file; a bug of ours in it is a line about this file, and never the end of all."""
    name = name or _name(path)
    if not (is_relevant(data) if name.endswith(NOTEBOOK) else is_said_in_code(data)):
        return FileReview(name, is_relevant=False), []
    try:
        source = source_of(data, name)
        code = project.linked(source, path)
        one = review(code, rules=rules, overrides=asked.limits, suppressions=asked.suppressions)
        code.memo.clear()  # answers refer back to the file: without them nothing goes round in circles
        return one, project.used_files(code, path) if asked.remembers else ()
    except Unreadable as why:
        return FileReview(name, str(why)), []
    except Exception as error:
        return FileReview(name, f"a fault in stethoscope, please report it: {describe(error)}"), []


def _each_once(reviews: Iterable[FileReview]) -> Iterator[FileReview]:
    """The reviews, each finding in one of them only: what a file is told may lie in one that it imports. It stands
    where most is known of it, as where the loop around a step function is seen, and else in the first.
    """
    known = list(reviews)
    surest: dict[_Told, int] = {}
    for one in known:
        for finding in one.findings:
            surest[_key(finding)] = max(surest.get(_key(finding), 0), finding.sureness.strength)
    told: set[_Told] = set()
    silenced: set[_Told] = set()
    for one in known:
        sure = (finding for finding in one.findings if finding.sureness.strength == surest[_key(finding)])
        fresh = tuple(finding for finding in sure if _is_new(finding, told))
        kept = tuple((finding, why) for finding, why in one.silences if _is_new(finding, silenced))
        if len(fresh) < len(one.findings) or len(kept) < len(one.silenced):
            allowed, reasons = tuple(finding for finding, _ in kept), tuple(why for _, why in kept)
            one = replace(one, findings=fresh, silenced=allowed, reasons=reasons)
        yield one


_Told = tuple[str, str, int | None]


def _key(finding: Finding) -> _Told:
    return finding.rule, finding.place.source, finding.place.column


def _is_new(finding: Finding, seen: set[_Told]) -> bool:
    if _key(finding) in seen:
        return False
    seen.add(_key(finding))
    return True


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _content(path: Path) -> str:
    try:
        return _hash(path.read_bytes())
    except OSError:
        return ""


def _remembered(files: Sequence[Path], kept: KeptReviews | None) -> tuple[dict[Path, FileReview], list[Path]]:
    """The reviews of files that have not changed since, nor what they import; and the other files."""
    reviews: dict[Path, FileReview] = {}
    left = []
    contents: dict[str, str] = {}
    for path in files:
        entry = kept.get(str(path)) if kept is not None else None
        if entry is not None:
            for use in (str(path), *entry.uses):
                if use not in contents:
                    contents[use] = _content(Path(use))
            if contents[str(path)] == entry.content and all(contents[use] == was for use, was in entry.uses.items()):
                reviews[path] = entry.review
                continue
        left.append(path)
    return reviews, left


def _question(asked: _Asked) -> str:
    """A word that changes when a file may be judged otherwise: by other rules, other limits, or another version."""
    ours = sorted(Path(__file__).parent.rglob("*.py"))
    stamps = [f"{path.name} {status.st_size} {status.st_mtime_ns}" for path in ours for status in (path.stat(),)]
    said = [*stamps, repr(replace(asked, limits={})), repr(sorted(asked.limits.items()))]
    return _hash("\n".join(said).encode())


def check_names(review: Review) -> None:
    """Raises: UsageError when a name on the command line stands for no file."""
    if review.missing and not review.files:
        raise UsageError(f"there is no file or folder {review.missing[0]!r}")
