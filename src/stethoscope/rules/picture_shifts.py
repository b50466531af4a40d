"""What has become of the pictures of a second set, in words: smaller, darker, blurred."""

from __future__ import annotations

from collections.abc import Sequence

from stethoscope.rules.columns import named
from stethoscope.rules.shifting import Shift, percent

OF_SIZE = ("width", "height", "aspect")
AS_MUCH = 0.9
"""Times the largest shift from which on one of size leads: resizing changes how sharp pictures are, and how many grays
they have, and nothing of these changes a size."""
OF_BLUR = ("focus", "sharpness")


def changed_pictures(found: Sequence[Shift]) -> tuple[str, str]:
    """A title, and what may be behind it; of the first shift where it has no word of its own.

    Args:
        found: the properties that shifted, most shifted first.
    """
    by_name = {shift.name: shift for shift in found}
    light = _light(by_name)
    sized = [by_name[name] for name in OF_SIZE if name in by_name and by_name[name].effect >= AS_MUCH * found[0].effect]
    if sized:
        return f"the pictures of the second set {_size(sized)}", light
    is_blurred = found[0].name in OF_BLUR and "focus" in by_name and _fell(by_name["focus"])
    if light and ("brightness" in by_name or not is_blurred):
        return f"the pictures of the second set are {'darker' if 'darker' in light else 'lighter'}", light
    if is_blurred:
        return "the pictures of the second set are less sharp", " They were blurred, enlarged, or packed more tightly."
    return f"the pictures have changed, most in {named(found[0].name)} ({percent(found[0].gap.size)} of rows)", ""


def _light(by_name: dict[str, Shift]) -> str:
    """That the pictures are darker or lighter, where they are: on the whole, or in what is lightest or darkest."""
    whole = by_name.get("brightness")
    for name, fell in (("highlights", True), ("shadows", False)):
        if whole is None and name in by_name and _fell(by_name[name]) is fell:
            whole = by_name[name]
    if whole is None:
        return ""
    return f" Its pictures are {'darker, as by night' if _fell(whole) else 'lighter, as by day'}."


def _size(sized: Sequence[Shift]) -> str:
    sides = [shift for shift in sized if shift.name != "aspect"]
    falls = {_fell(shift) for shift in sides}
    if len(falls) != 1:
        return "have another shape"
    first = sides[0]
    if first.one.numbers is None or first.other.numbers is None:
        return "have another size"
    was, now = (f"{one.quantile(0.5):,.0f}" for one in (first.one.numbers, first.other.numbers))
    way = "wide" if first.name == "width" else "high"
    return f"are {'smaller' if True in falls else 'larger'}: {now} pixels {way}, were {was}"


def _fell(shift: Shift) -> bool:
    one, other = shift.one.numbers, shift.other.numbers
    return one is not None and other is not None and other.mean < one.mean
