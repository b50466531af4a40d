"""A context manager of torch's that is made and never entered."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Call, Code
from stethoscope.facts.things import literal
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

_CONTEXTS = frozenset({
    "torch.no_grad", "torch.inference_mode", "torch.enable_grad", "torch.autocast", "torch.amp.autocast",
    "torch.cuda.amp.autocast", "torch.autograd.detect_anomaly", "torch.autograd.set_detect_anomaly_mode",
    "torch.device", "torch.random.fork_rng", "torch.autograd.profiler.profile", "torch.backends.cudnn.flags",
})  # fmt: skip


class ContextNotEntered(Rule):
    """`torch.no_grad()` stands there as a statement, without `with`, and does nothing.

    ## What it sees
    `torch.no_grad()`, `torch.autocast(...)`, `torch.device(...)` and their like as a statement of its own.
    ## Why it hurts
    The call only makes a context manager, which is dropped. Graphs go on being built and memory grows; or all
    is computed in full precision, or on the processor.
    ## How to fix it
    `with torch.no_grad():` around the lines that are meant.
    ## When it is not a fault
    `torch.set_grad_enabled(False)`, which acts when it is called, or the last line of a notebook's cell, which displays
    a device. Neither is reported.
    ## Sources
    PyTorch documentation, `torch.no_grad`: "Context-manager that disables gradient calculation".
    """

    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for such calls that are statements."""
        for bare in file.bare:
            call = bare.value
            if not isinstance(call, Call) or call.name not in _CONTEXTS or bare.displayed:
                continue
            first = call.argument(0) if call.name.endswith(("profile", "autocast", "anomaly")) else None
            if False in (literal(file, call.keyword("enabled")), literal(file, first)):
                continue  # asked to be off, which it is
            if any(
                here.kind in ("try", "with") and _is_there_to_fail(here.value) for here in file.around(bare.context)
            ):
                continue
            text = file.text(call.at)
            yield self.finding(
                fitting(f"`{text}` is made, and never entered", "a context is made, and never entered"),
                # Without a profiler nothing is lost but its table, which who asks for it will miss.
                sureness=Sureness.POSSIBLE if call.name.endswith(".profile") else Sureness.CERTAIN,
                place=place_in(file, call.at),
                evidence=[Evidence(f"lines that `{call.name}` on {line_of(file, call.at)} holds for", 0, "1 or more")],
                cause="Without `with` the context manager is dropped, and the lines behind it run as before.",
                fixes=["Put the lines that are meant inside of it:\n" + code(f"with {text}:", "    ...")],
            )

    bad_code = {
        "an evaluation": """
            def evaluate(model, loader):
                model.eval()
                torch.no_grad()  # bad
                return [model(x).argmax(1) for x, _ in loader]
            """,
        "mixed precision": """
            def train(model, x, y):
                torch.autocast("cuda", dtype=torch.float16)  # bad
                return F.cross_entropy(model(x), y)
            """,
    }
    good_code = {
        "asked to be off": """
            torch.autograd.profiler.profile(False)
            torch.autocast("cuda", enabled=False)
            """,
        "entered": """
            def evaluate(model, loader):
                torch.set_grad_enabled(False)
                with torch.no_grad():
                    return [model(x).argmax(1) for x, _ in loader]
            """,
        "a decorator, and one that is kept": """
            quiet = torch.no_grad()

            @torch.no_grad()
            def evaluate(model, x, stack):
                stack.enter_context(torch.autocast("cuda"))
                return model(x)
            """,
    }


def _is_there_to_fail(value: object) -> bool:
    return value is None or (
        isinstance(value, Call) and value.name in ("pytest.raises", "pytest.warns", ".assertRaises")
    )
