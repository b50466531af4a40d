"""The step of JAX that `stethoscope.watch_jax` gives back. Importing it needs JAX and PyTorch."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from stethoscope.api import Watch
from stethoscope.core.errors import MissingPiece
from stethoscope.recording import Recording

try:
    import jax

    from stethoscope.observe.arrays.jax_steps import JaxSteps
    from stethoscope.observe.arrays.probe import Unreadable
    from stethoscope.observe.arrays.session import ArraySession
    from stethoscope.observe.training.sites import spot
except ImportError as error:
    raise MissingPiece(
        "watching JAX needs JAX, and PyTorch on the CPU for its arithmetic; install them with `pip install jax torch`"
    ) from error


try:
    from jax._src.core import trace_state_clean as _is_at_top
except ImportError:  # it is no part of what JAX promises
    _is_at_top = None


class WatchedStep(Watch):
    """A step function that is listened to: called as before, it returns what it returned before.

    Example:
        >>> train_step = stethoscope.watch_jax(train_step)
        >>> for batch in batches:
        ...     loss = train_step(model, optimizer, batch)
        >>> train_step.report()
    """

    def __init__(self, step: Callable[..., Any], recording: Recording, session: ArraySession) -> None:
        super().__init__(recording)
        functools.update_wrapper(self, step)
        self._step = step
        self._session = session
        self._steps: JaxSteps | None = JaxSteps(step, session, rehearses=recording.proves)

    def __getattr__(self, name: str) -> Any:
        """What the step has besides being called, as `lower` and `clear_cache` of a jitted one."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._step, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the step."""
        steps = self._steps
        if steps is None or _is_traced(args, kwargs):
            return self._step(*args, **kwargs)
        place = spot(2)
        began = self._session.begin_own()
        if looks := self._session.wants:
            with _unwarned():
                self._careful(steps.begins, args, kwargs, place)
        self._session.end_own(began)
        result = self._step(*args, **kwargs)
        began = self._session.begin_own()
        with _unwarned() if looks else _NOTHING:
            self._careful(steps.ended, result, place)
        self._session.end_own(began)
        return result

    def evaluated(self, loss: Any, accuracy: Any = float("nan")) -> None:
        """Say what a pass over the validation data gave, so that overfitting and the like can be judged."""
        self._session.validated(float(loss), float(accuracy))

    def stop(self) -> None:
        """Stop listening; what was heard stays."""
        self._steps = None
        super().stop()

    def __exit__(self, *error: Any) -> None:
        self._steps = None
        super().__exit__(*error)

    def _careful(self, ear: Callable[..., None], *args: Any) -> None:
        """Our own code: should it fail, looking ends, once, with a word about it; training goes on."""
        state = self._session.state
        try:
            ear(*args)
        except Unreadable as why:
            state.off.add("looks")
            state.blind["jax"] = f"only the losses that the step returns were heard, since {why}"
        except Exception as error:
            if "looks" in state.off:
                self._steps = None
            state.give_up("looks", error)


@contextlib.contextmanager
def _unwarned() -> Iterator[None]:
    """Without warnings of ours, or of the user's code while it is traced for us.

    `warnings.catch_warnings` would make Python forget which warnings it has shown: the user's would come in each step.
    """
    ours = ("ignore", None, Warning, None, 0)
    filters: list[Any] = warnings.filters  # type: ignore[assignment]
    filters.insert(0, ours)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the user has set all filters anew
            filters.remove(ours)


_NOTHING = contextlib.nullcontext()


def _is_traced(args: Any, kwargs: Any) -> bool:
    """Whether another transformation is going through it: then there are no values."""
    if _is_at_top is not None and _is_at_top():
        return False
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree_util.tree_leaves((args, kwargs)))
