"""Runs somebody's script as `python` would: same `__main__`, `sys.argv`, `sys.path`, exit code and tracebacks."""

from __future__ import annotations

import builtins
import contextlib
import dis
import importlib.machinery
import importlib.util
import io
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import CodeType, ModuleType, TracebackType

from stethoscope.core.errors import UsageError

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


@dataclass(frozen=True)
class Outcome:
    """How a script ended."""

    exit_code: int
    ended_by: str = ""
    """Name of the exception that ended it; empty when it ran to its end or called `sys.exit`."""
    interrupted: bool = False
    """Whether it was Ctrl-C: the caller raises `KeyboardInterrupt` again, so that the process dies of it."""
    error: BaseException | None = None
    """The exception that it did not catch."""


@dataclass(frozen=True)
class Script:
    """A script ready to run."""

    code: CodeType | None
    """None when it could not be compiled; `syntax_error` says why."""
    file: str
    argv: tuple[str, ...]
    path_entry: str
    """What Python would put first on `sys.path`."""
    spec: importlib.machinery.ModuleSpec | None = None
    """Given for `-m`."""
    syntax_error: SyntaxError | None = None


def prepare(target: str, args: Sequence[str], *, as_module: bool = False) -> Script:
    """Find and compile a script or, with `as_module`, what `python -m target` would run.

    Raises:
        UsageError: there is no such file or module.
    """
    return _prepare_module(target, args) if as_module else _prepare_file(target, args)


def _prepare_file(target: str, args: Sequence[str]) -> Script:
    path = os.path.join(target, "__main__.py") if os.path.isdir(target) else target
    try:
        with io.open_code(os.path.abspath(path)) as file:
            source = file.read()
    except OSError as error:
        raise UsageError(f"cannot open the script {target!r}: {error.strerror or error}") from error
    # Python resolves links for the path entry and makes `__file__` absolute, but keeps argv[0] as it was typed.
    entry = os.path.abspath(target) if os.path.isdir(target) else os.path.dirname(os.path.realpath(path))
    argv = (target, *args)
    file_name = os.path.join(os.getcwd(), path)
    try:
        code = compile(source, file_name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        if not isinstance(error, SyntaxError):  # null bytes
            error = SyntaxError(str(error), (file_name, 1, 0, "", 1, 0))
        return Script(None, file_name, argv, entry, syntax_error=error.with_traceback(None))
    return Script(code, file_name, argv, entry)


def _prepare_module(target: str, args: Sequence[str]) -> Script:
    entry = os.getcwd()
    sys.path.insert(0, entry)  # a package's __init__ may be imported to find the module, as Python does
    try:
        _, spec, code = runpy._get_module_details(target)  # type: ignore[attr-defined]  # what `python -m` uses
    except ImportError as error:
        raise UsageError(f"cannot find the module {target!r} that -m asks for: {error}") from error
    finally:
        sys.path.remove(entry)
    return Script(code, spec.origin, (spec.origin, *args), entry, spec)


def run(script: Script, leaving: Callable[[BaseException], None] = lambda error: None) -> Outcome:
    """Run a script in a `__main__` of its own, to its end.

    Args:
        script: ready to run.
        leaving: told of the exception that ends it before that is shown, and before what the script held is let go:
            either may take seconds.
    """
    sys.argv[:] = script.argv
    if sys.path and not sys.flags.safe_path:
        sys.path[0] = script.path_entry
    if script.syntax_error is not None:
        sys.excepthook(SyntaxError, script.syntax_error, None)
        return Outcome(1, "SyntaxError")
    assert script.code is not None
    main = ModuleType("__main__")
    main.__dict__.update({"__builtins__": builtins, "__file__": script.file, "__cached__": None, "__annotations__": {}})
    if script.spec is not None:
        main.__spec__ = script.spec
        main.__loader__ = script.spec.loader
        main.__package__ = script.spec.parent
        main.__dict__["__cached__"] = script.spec.cached
    else:
        main.__loader__ = importlib.machinery.SourceFileLoader("__main__", script.file)
        main.__package__ = None
    sys.modules["__main__"] = main
    try:
        exec(script.code, main.__dict__)
    except SystemExit as leave:
        leaving(leave)
        return _left(leave)
    except KeyboardInterrupt as stop:
        leaving(stop)
        _show(stop)
        return Outcome(130, "KeyboardInterrupt", interrupted=True)
    except BaseException as error:
        leaving(error)
        _show(error)
        return Outcome(1, type(error).__name__, error=error)
    return Outcome(0)


def _left(leave: SystemExit) -> Outcome:
    if leave.code is None:
        return Outcome(0)
    if isinstance(leave.code, int):
        return Outcome(leave.code & 0xFF if leave.code >= 0 else leave.code % 256)
    print(leave.code, file=sys.stderr)
    return Outcome(1)


def _show(error: BaseException) -> None:
    """Print an uncaught exception as Python does, without our frames, through the user's own hook if there is one."""
    try:
        clean_exception(error)
    except Exception as fault:  # what the user has to see is the exception, with our frames or without them
        print(f"stethoscope: the traceback shows our frames because of a fault of ours ({fault!r})", file=sys.stderr)
    with contextlib.suppress(ValueError, OSError):
        sys.stdout.flush()
    sys.excepthook(type(error), error, error.__traceback__)


def clean_exception(error: BaseException | None) -> None:
    """Take our frames, and those that our hooks cause in torch, out of an exception and of those it came from."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = _cleaned(one.__traceback__)
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions


def _cleaned(tb: TracebackType | None) -> TracebackType | None:
    frames = []
    while tb is not None:
        frames.append(tb)
        tb = tb.tb_next
    kept: TracebackType | None = None
    skip_caller_of_inner = False
    for entry in reversed(frames):
        code = entry.tb_frame.f_code
        module = entry.tb_frame.f_globals.get("__name__")
        if code.co_filename.startswith(_OURS) or str(module).startswith("stethoscope."):
            continue
        if code.co_name == "inner" and code.co_qualname.endswith("_call_impl.<locals>.inner"):
            skip_caller_of_inner = True
            continue
        # Not each instruction has a line: Ctrl-C may come at one that has none. Python marks it by -1.
        last, line = entry.tb_lasti, entry.tb_lineno or -1
        if skip_caller_of_inner and code.co_name == "_call_impl":
            last, line = _unhooked_call(code) or (last, line)
            skip_caller_of_inner = False
        kept = TracebackType(kept, entry.tb_frame, last, line)
    return kept


def _unhooked_call(code: CodeType) -> tuple[int, int] | None:
    """Where `Module._call_impl` calls `forward` when there are no hooks: instruction and line.

    With a hook set, a call takes another way through this function and shows one frame more; a traceback shall
    look as it would without us.
    """
    calls = [i for i in dis.get_instructions(code) if i.opname == "CALL_FUNCTION_EX" and i.positions is not None]
    if not calls or calls[0].positions is None or calls[0].positions.lineno is None:
        return None
    return calls[0].offset, calls[0].positions.lineno
