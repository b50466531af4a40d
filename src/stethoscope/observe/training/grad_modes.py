"""Taps on what switches gradients off: validation may begin there, so the hooks that ordinary steps lack go on."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Hashable
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from stethoscope.observe.training.forwards import ForwardEar
    from stethoscope.observe.training.state import State
    from stethoscope.observe.training.taps import Taps

PATIENCE = 20
"""A place that has switched gradients off so many times running without any forward pass before the next step is no
validation, but an average of weights, an accuracy or a part of a model."""
EVERY = 50
"""Of such a place, every so-manieth time is heard still: hooks that go on and off cost up to 0.1 ms, and a step of
Keras has five such places."""
MOST_PLACES = 1000

_TORCH = os.path.dirname(torch.__file__) + os.sep
_DECORATING = torch.no_grad.__call__.__code__.co_filename
"""Where torch's functions round one that is decorated with `@torch.no_grad()` stand."""
_is_compiling = torch.compiler.is_compiling


class _Place:
    """Where gradients are switched off, and what came of listening from there."""

    __slots__ = ("in_vain", "left_out", "step")

    def __init__(self) -> None:
        self.step = -1
        """At which it was listened to last."""
        self.in_vain = 0
        self.left_out = 0


class GradModeTaps:
    """Wakes the ear for forward passes where a script or a library, and not torch itself, switches gradients off."""

    def __init__(self, forwards: ForwardEar, state: State) -> None:
        self._forwards, self._state = forwards, state
        self._places: dict[Hashable, _Place] = {}
        self._torchs: set[str] = set()
        """Files of torch that were met: what they switch off is passed over at once."""

    def put_on(self, taps: Taps) -> None:
        """Put them in torch's place."""
        for context in (torch.no_grad, torch.inference_mode):
            taps.replace(context, "__enter__", self._entering)
        taps.replace(torch.set_grad_enabled, "__init__", self._setting)

    def _entering(self, original: Callable[..., Any]) -> Callable[..., Any]:
        forwards, state, torchs = self._forwards, self._state, self._torchs
        switched_off = state.guard("forward passes")(self._switched_off)

        @functools.wraps(original)
        def enter(context: Any) -> Any:
            if not forwards.hears and not (state.compiled and _is_compiling()):
                frame = sys._getframe(1)
                if frame.f_code.co_filename not in torchs:
                    switched_off(frame)
            return original(context)

        return enter

    def _setting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        forwards, torchs = self._forwards, self._torchs
        switched_off = self._state.guard("forward passes")(self._switched_off)

        @functools.wraps(original)
        def set_grad_enabled(context: Any, mode: bool) -> None:
            if not (mode or forwards.hears):
                frame = sys._getframe(1)
                if frame.f_code.co_filename not in torchs:
                    switched_off(frame)
            original(context, mode)

        return set_grad_enabled

    def _switched_off(self, frame: FrameType) -> None:
        """Gradients are about to be switched off by the code of this frame, while nothing is heard."""
        where = self._place_of(frame)
        if where is not None and self._is_worth_it(where):
            self._state.quiet = False
            self._forwards.wake()

    def _is_worth_it(self, where: Hashable) -> bool:
        place = self._places.get(where)
        if place is None:
            if len(self._places) >= MOST_PLACES:  # functions that are made anew again and again
                self._places.clear()
            place = self._places[where] = _Place()
        elif place.step >= 0:
            place.in_vain = 0 if self._forwards.without_gradients_at == place.step else place.in_vain + 1
            place.step = -1
        if place.in_vain >= PATIENCE:
            place.left_out += 1
            if place.left_out % EVERY:
                return False
        place.step = self._state.steps
        return True

    def _place_of(self, frame: FrameType | None) -> Hashable:
        """The line, or the decorated function, that switches gradients off; None where torch does so for itself.

        Clipping, the step of an optimizer and the contexts of torch that are made of one another are torch's own.
        """
        while frame is not None and frame.f_code.co_filename == contextlib.__file__:  # exit stacks
            frame = frame.f_back
        if frame is None:
            return None
        file = frame.f_code.co_filename
        if file == _DECORATING:
            decorated = frame.f_locals.get("func")
            code = getattr(decorated, "__code__", None)
            if code is None:  # a model, say: the line that calls it
                back = frame.f_back
                return None if back is None else (back.f_code, back.f_lineno)
            return None if (decorated.__module__ or "").startswith("torch.") else code
        if file.startswith(_TORCH):
            self._torchs.add(file)
            return None
        return frame.f_code, frame.f_lineno
