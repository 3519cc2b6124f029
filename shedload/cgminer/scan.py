"""Where a JSON value ends: used by the reader of replies and by the repairs.

Some firmware keeps the socket open after its answer, other firmware sends bytes after the last brace, a slow
reader gets a reply without its end; all three need to know where brackets balance. Every byte is looked at once,
however the input was cut.
"""

import re

_STRUCTURE = re.compile(rb'"(?:[^"\\]++|\\.)*+("?)|[{}\[\]]', re.DOTALL)
"""A whole string, one that is still open (empty group), or one bracket. Possessive: no second look at any byte."""
_STRING_REST = re.compile(rb'(?:[^"\\]++|\\.)*+("?)', re.DOTALL)
_QUOTE = ord('"')
_CLOSER = {ord("{"): "}", ord("["): "]"}
_DEEPEST = 64
"""Replies nest five deep; a text that nests deeper than this is not salvaged."""


class ValueEnd:
    """Finds the end of the first balanced object or list in a growing buffer.

    Both kinds of bracket count alike: firmware that mixes them up is the business of the repairs.
    """

    __slots__ = ("_depth", "_in_string", "_position", "end")

    def __init__(self) -> None:
        self.end: int | None = None
        self._position = 0
        self._depth = 0
        self._in_string = False

    def scan(self, buffer: bytes | bytearray) -> int | None:
        """Look at what is new in the buffer; the end of the first value, or None while it is open."""
        if self.end is None and (not self._in_string or self._leave_string(buffer)):
            self._scan_structure(buffer)
        return self.end

    def _leave_string(self, buffer: bytes | bytearray) -> bool:
        """Move behind the closing quote; False while the string is open (half an escape waits for its rest)."""
        match = _STRING_REST.match(buffer, self._position)
        assert match is not None  # the pattern also matches nothing at all
        self._position = match.end()
        self._in_string = not match[1]
        return not self._in_string

    def _scan_structure(self, buffer: bytes | bytearray) -> None:
        depth = self._depth
        for match in _STRUCTURE.finditer(buffer, self._position):
            byte = buffer[match.start()]
            if byte == _QUOTE:
                if not match[1]:
                    self._in_string, self._depth, self._position = True, depth, match.end()
                    return
                continue
            depth += 1 if byte in _CLOSER else -1
            if depth <= 0:
                self.end = match.end()
                return
        self._depth, self._position = depth, len(buffer)


def value_end(text: bytes) -> int | None:
    """End of the first balanced object or list, or None if it never closes."""
    return ValueEnd().scan(text)


def last_complete_record(text: bytes) -> tuple[int, str] | None:
    """Where to cut a truncated text so that only complete records remain, and the closers it then needs.

    None if no object or list was complete. An open quote in the lost tail does no harm: the tail is dropped.
    """
    closers: list[str] = []
    cut: tuple[int, list[str]] | None = None
    for match in _STRUCTURE.finditer(text):
        byte = text[match.start()]
        if byte == _QUOTE:
            continue
        if byte in _CLOSER:
            closers.append(_CLOSER[byte])
            if len(closers) > _DEEPEST:
                break
        elif not closers or ord(closers.pop()) != byte:
            break
        else:
            cut = match.end(), closers.copy()
    return (cut[0], "".join(reversed(cut[1]))) if cut else None
