"""Appoints who renders results in a notebook. Wires the rooms up, decides nothing."""

from __future__ import annotations

from stethoscope.core.display import Bundle, show_with


def _bundle(thing: object) -> Bundle:
    from stethoscope.render.notebook import bundle  # only when something is shown: rendering is not cheap to import

    return bundle(thing)


show_with(_bundle)
