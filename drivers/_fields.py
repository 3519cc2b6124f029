"""Readers for fields of replies, on top of the tolerant ones of the kernel."""

from shedload.cgminer.values import number, word

LONGEST_TEXT = 100
"""Characters of a name, serial or version that are kept; a rig that says more is cut."""


def whole(told: object) -> int | None:
    """A count, or None."""
    if type(told) is int:
        return told
    value = number(told)
    return None if value is None else int(value)


def text(told: object) -> str | None:
    """A printable word of bounded length, or None where the rig says nothing or "unknown"."""
    found = word(told)
    if found is None:
        return None
    cut = found[:LONGEST_TEXT]
    return cut if cut.isprintable() else "".join(sign if sign.isprintable() else "?" for sign in cut)
