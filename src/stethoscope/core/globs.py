"""Patterns of paths, as git has them: `*` and `?` within a name, `**` over folders."""

from __future__ import annotations

import re


def expression(pattern: str) -> str:
    """A pattern as a regular expression."""
    out = ""
    place = 0
    while place < len(pattern):
        char = pattern[place]
        if pattern.startswith("**/", place):
            out += "(?:.*/)?"
            place += 3
            continue
        if pattern.startswith("**", place):
            out += ".*"
            place += 2
            continue
        if char == "[" and (end := pattern.find("]", place + 2)) > 0:
            body = pattern[place + 1 : end].replace("\\", "\\\\")
            out += f"[{'^' + body[1:] if body.startswith('!') else body}]"
            place = end + 1
            continue
        out += {"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char))
        place += 1
    return out
