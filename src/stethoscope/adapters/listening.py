"""What the callbacks for trainers share: a watch that begins with the fit and reports at its end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stethoscope.api import Watch, watch

if TYPE_CHECKING:
    from stethoscope.core.finding import Finding


class Listening:
    """Begins and ends one watch after the other; a fault of the trainer's ends it too.

    Args:
        report: print the diagnosis when a fit ends.
        every: look at every N-th step instead of keeping a budget, when above 0.
        budget: share of the training time that listening may take, 0..1; as the settings say when None.
        store: folder to keep the run in; None keeps it in memory only.
        proof: try cures on copies when the fit has ended; as the settings say when None.
    """

    def __init__(
        self,
        report: bool = True,
        every: int = 0,
        budget: float | None = None,
        store: str | Path | None = None,
        proof: bool | None = None,
    ) -> None:
        super().__init__()
        self.report = report
        self.every = every
        self.budget = budget
        self.store = store
        self.proof = proof
        self.heard: Watch | None = None
        """The watch of the fit that runs, or of the last one; None before the first."""
        self._listens = False

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong, as far as it is known; most important first."""
        return self.heard.findings if self.heard is not None else ()

    def begin(self, *things: object) -> None:
        """Listen from here on; to these models and optimizers."""
        if self._listens:  # the last fit ended without a word
            self.end()
        self.heard = watch(*things, every=self.every, budget=self.budget, store=self.store, proof=self.proof)
        self._listens = True

    def end(self, error: BaseException | None = None) -> None:
        """Stop listening, and report; the second call does nothing."""
        if self.heard is None or not self._listens:
            return
        self._listens = False
        self.heard.__exit__(type(error) if error is not None else None, error, None)
        if self.report:
            self.heard.report()

    def __getstate__(self) -> dict[str, Any]:
        """A copy, or what comes out of a pickle, has heard nothing yet."""
        return {**self.__dict__, "heard": None, "_listens": False}
