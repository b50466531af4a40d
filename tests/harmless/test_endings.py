"""However a script ends, it ends as it would without us."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pairs import PATIENCE_S, Pair, environment, listening

from stethoscope import load_run

TRAINING = """
import sys, time
import torch
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
def step():
    optimizer.zero_grad()
    inputs = torch.randn(8, 4)
    loss = torch.nn.functional.mse_loss(model(inputs), inputs.sum(1, keepdim=True) + torch.randn(8, 1) / 2)
    loss.backward()
    optimizer.step()
"""

ENDLESS = (
    TRAINING
    + """
began, told = time.monotonic(), False
while True:
    step()
    if not told and time.monotonic() - began > 2:
        print("trained for two seconds", flush=True)
        told = True
"""
)


@pytest.mark.parametrize(
    "ending",
    [
        "sys.exit(3)",
        "sys.exit()",
        "sys.exit('a last word')",
        "sys.exit(-1)",
        "raise SystemExit(300)",
        "import atexit; atexit.register(print, 'at exit'); sys.exit(4)",
        "import os; sys.stdout.flush(); os._exit(7)",
        "import os, signal; sys.stdout.flush(); os.kill(os.getpid(), signal.SIGTERM)",
        "sys.excepthook = lambda kind, error, tb: print('my hook', kind.__name__, error); 1 / 0",
        "raise KeyboardInterrupt",
        "import threading; threading.Thread(target=lambda: print('a thread that ends later')).start()",
        "sys.stdout.close()",
    ],
)  # fmt: skip
def test_exit_code_and_output_stay_the_same(ending: str, pair: Pair) -> None:
    pair.both(pair.write(f"import sys\nprint('so far')\n{ending}\n"))


def test_an_uncaught_exception_prints_the_same_traceback(pair: Pair) -> None:
    program = pair.write("""
class Thing:
    def fail(self):
        try:
            {}["missing"]
        except KeyError as error:
            raise ValueError("something is wrong") from error

def main():
    Thing().fail()

main()
""")
    plain, _ = pair.both(program)
    assert plain.exit_code == 1


@pytest.mark.parametrize("error", ["ValueError('wrong')", "KeyboardInterrupt"])
def test_an_instruction_without_a_line_is_shown_as_python_shows_it(error: str, pair: Pair) -> None:
    program = pair.write(
        TRAINING
        + f"""
def nowhere():
    raise {error}
nowhere.__code__ = nowhere.__code__.replace(co_linetable=b"")
for _ in range(3):
    step()
nowhere()
"""
    )
    plain, _ = pair.both(program)
    assert "line -1, in nowhere" in plain.stderr


@pytest.mark.parametrize(
    "failure",
    [
        "fragile(torch.randn(8, 4))",
        "torch.nn.functional.mse_loss(model(torch.randn(8, 4)), torch.randn(8, 1)).detach().backward()",
        "for p in model.parameters(): p.grad = torch.zeros(2, dtype=torch.long)",
    ],
    ids=["forward", "backward", "the gradients' assignment"],
)
def test_a_failure_within_torch_prints_the_same_traceback(failure: str, pair: Pair) -> None:
    program = pair.write(
        TRAINING
        + f"""
class Fragile(torch.nn.Module):
    def forward(self, x):
        return x @ torch.ones(5, 1)
fragile = torch.nn.Sequential(torch.nn.Linear(4, 4), Fragile())
for _ in range(3):
    step()
{failure}
"""
    )
    pair = pair if failure.startswith("fragile") else pair.forked  # one pair of processes is Python's own
    plain, _ = pair.both(program, options=("--every", "1"))
    assert plain.exit_code == 1
    assert plain.stderr.startswith('Traceback (most recent call last):\n  File "')


def test_an_exception_that_cannot_be_looked_into_is_still_shown(pair: Pair) -> None:
    program = pair.write("""
class Closed(Exception):
    @property
    def __cause__(self):
        raise AttributeError("nobody may know")
raise Closed("what the user has to see")
""")
    plain, listened = pair.plainly(program), pair.listened(program)
    assert listened.exit_code == plain.exit_code == 1
    assert "Closed: what the user has to see" in listened.stderr
    assert "because of a fault of ours" in listened.stderr


def test_a_script_with_a_syntax_error_fails_as_in_python(pair: Pair) -> None:
    plain, _ = pair.both(pair.write("print('never')\ndef broken(:\n    pass\n"))
    assert plain.exit_code == 1


def test_a_script_that_does_not_exist_is_said_in_one_sentence(pair: Pair) -> None:
    plain, listened = pair.plainly("missing.py"), pair.listened("missing.py")
    assert plain.exit_code == listened.exit_code == 2
    assert "missing.py" in listened.stderr
    assert len(listened.stderr.strip().splitlines()) == 1


def test_ctrl_c_ends_it_as_in_python_and_the_report_is_printed(pair: Pair) -> None:
    def interrupt(*command: str | Path) -> tuple[int, str]:
        with subprocess.Popen(
            command, cwd=pair.place("interrupted"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment(program.parent), text=True,
            # What a shell starts in the background ignores Ctrl-C, and so do its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process:  # fmt: skip
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=PATIENCE_S)
            return process.returncode, stderr

    program = pair.write(ENDLESS)
    code, stderr = interrupt(*listening(), program)
    # Python dies of the signal, unless something that the script imported keeps it from that.
    assert code == interrupt(sys.executable, program)[0] != 0
    traceback = stderr.partition("\nKeyboardInterrupt\n")[0]
    assert traceback.startswith("Traceback (most recent call last):\n")
    assert 'program.py", line' in traceback
    assert "heard" in stderr


def test_what_was_heard_before_kill_9_can_be_read(pair: Pair) -> None:
    program = pair.write(ENDLESS)
    directory = pair.place("killed")
    with subprocess.Popen(
        [*listening(), program], cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=environment(program.parent),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    (folder,) = (directory / "runs").glob("*/")
    run = load_run(folder)
    assert run.record.state == "lost"
    assert run.history.steps > 0
    assert run.history.telemetry.steps.size > 0
    loss = run.history.curve("loss")
    assert loss is not None
    assert loss.steps.size > 0


def test_a_script_that_leaves_by_os_exit_leaves_a_readable_run(pair: Pair) -> None:
    program = pair.write(TRAINING + "for _ in range(30): step()\nimport os; os._exit(7)\n")
    listened = pair.listened(program)
    assert listened.exit_code == 7
    (folder,) = listened.runs
    assert load_run(folder).record.state == "lost"
