"""A script finds itself where Python would have put it."""

from __future__ import annotations

from pairs import Pair

WHO_AM_I = '''
"""A docstring."""
import inspect, logging, os, pickle, signal, sys, warnings
class Thing:
    def __init__(self, value): self.value = value
def function():
    return "the source of a function"
main = sys.modules["__main__"]
print(sys.argv, __name__, __file__, __doc__, type(__loader__).__name__)
print(__package__, __spec__ and __spec__.name)
print(os.getcwd(), sys.path[0], main.__dict__ is globals(), sorted(globals()))
print(inspect.getsource(function), inspect.getmodule(Thing) is main, inspect.getfile(Thing))
print(Thing.__module__, pickle.loads(pickle.dumps(Thing(3))).value, __builtins__ is sys.modules["builtins"])
print(sys.excepthook is sys.__excepthook__, sys.stdout is sys.__stdout__)
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, signal.getsignal(signal.SIGTERM))
print(logging.root.handlers, warnings.showwarning.__module__, sys.gettrace(), sys.getprofile(), sys.flags)
print(sorted(os.environ), "torch" in sys.modules, sys.getrecursionlimit(), sys.getswitchinterval())
'''


def test_a_script_sees_the_same_world(pair: Pair) -> None:
    program = pair.write(WHO_AM_I)
    pair.both(program, "--epochs", "3", "-x", "--", "--help")


def test_a_script_called_by_a_relative_path_sees_that_path(pair: Pair) -> None:
    pair.write("import sys, neighbour\nprint(sys.argv, __file__, sys.path[0])\n", "folder/program.py")
    pair.write("print(__name__)\n", "folder/neighbour.py")
    pair.both("../folder/program.py", "an argument")


def test_a_module_runs_as_with_python_m(pair: Pair) -> None:
    pair.write("print(__name__)\n", "package/__init__.py")
    pair.write("value = 5\n", "package/sibling.py")
    pair.write("from .sibling import value\n" + WHO_AM_I + "print(value)\n", "package/module.py")
    pair.both("-m", "package.module", "--epochs", "3")


def test_a_package_runs_its_main_file(pair: Pair) -> None:
    pair.write("", "package/__init__.py")
    pair.write("import sys\nprint(sys.argv, __name__, __package__, __spec__.name)\n", "package/__main__.py")
    pair.both("-m", "package", "1", "2")


def test_a_directory_runs_its_main_file(pair: Pair) -> None:
    main = pair.write("import sys\nprint(sys.argv, __name__, __file__, sys.path[0])\n", "folder/__main__.py")
    pair.both(main.parent)


def test_standard_input_reaches_the_script(pair: Pair) -> None:
    plain, _ = pair.both(
        pair.write("import sys\nprint(sys.stdin.buffer.readline(), sys.stdin.buffer.read())\n"),
        stdin=b"one\ntwo\xff\n",
    )
    assert plain.stdout == b"b'one\\n' b'two\\xff\\n'\n"


def test_bytes_that_are_no_text_are_printed_as_they_are(pair: Pair) -> None:
    plain, _ = pair.both(pair.write("import sys\nsys.stdout.buffer.write(bytes(range(256)))\n"))
    assert plain.stdout == bytes(range(256))


def test_a_script_may_redirect_its_output(pair: Pair) -> None:
    program = pair.write("""
import contextlib, io, sys
kept = io.StringIO()
with contextlib.redirect_stdout(kept):
    print("into the buffer")
print(len(kept.getvalue()))
sys.stdout = open("log.txt", "w")
print("into the file")
""")
    plain, listened = pair.both(program)
    assert (plain.directory / "log.txt").read_text() == (listened.directory / "log.txt").read_text()


def test_a_script_may_change_its_directory(pair: Pair) -> None:
    program = pair.write("import os, tempfile\nos.chdir(tempfile.gettempdir())\nprint(os.getcwd())\n")
    _, listened = pair.both(program)
    assert len(listened.runs) == 1


def test_pools_of_spawned_processes_find_the_functions_of_main(pair: Pair) -> None:
    pair.both(
        pair.write("""
import multiprocessing
print("imported as", __name__ if __name__ == "__main__" else "a child's main", flush=True)
def square(x):
    return x * x
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(square, range(5)), flush=True)
""")
    )


def test_a_forked_child_that_returns_from_the_script_reports_nothing(pair: Pair) -> None:
    _, listened = pair.both(
        pair.write("""
import os, sys
child = os.fork()
if child:
    os.waitpid(child, 0)
print("parent" if child else "child", flush=True)
""")
    )
    assert listened.stdout == b"child\nparent\n"
    assert listened.stderr.count("── stethoscope") == 1
    assert len(listened.runs) == 1


def test_importing_stethoscope_in_the_script_is_harmless(pair: Pair) -> None:
    pair.both(pair.write("import stethoscope\nprint(sorted(stethoscope.__all__))\n"))
