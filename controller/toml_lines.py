"""Finds the line of a key in TOML text, which the standard parser does not tell.

Only text that tomllib has already accepted is scanned, so the scanner need not judge, only keep its place.
"""

import re
import tomllib

KEY_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
DOTTED = rf"{KEY_PART}(?:[ \t]*\.[ \t]*{KEY_PART})*"
HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({DOTTED})[ \t]*\]\]?")
ASSIGNMENT = re.compile(rf"[ \t]*({DOTTED})[ \t]*=")
SKIPPED = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"""+'  # basic string over several lines
    r"|'''(?:[^']|'{1,2}(?!'))*'''+"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|[\[\]{}]"
    r"|[^\"'#\[\]{}\n]+",
    re.DOTALL,
)

Place = tuple[str | int, ...]


class TomlLines:
    """Lines of every table and key of a text that is valid TOML."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Place, int] = {}
        self._arrays: dict[Place, int] = {}
        self._scan(text.replace("\r\n", "\n"))

    def line(self, place: Place) -> int | None:
        """Line of a key, or of the nearest table or value around it; None for the file as a whole."""
        for length in range(len(place), 0, -1):
            if (line := self._lines.get(place[:length])) is not None:
                return line
        return None

    def _scan(self, text: str) -> None:
        table: Place = ()
        position, line = 0, 1
        while position < len(text):
            if header := HEADER.match(text, position):
                table = self._open(_parts(header[2]), array=header[1] == "[[", line=line)
                position = header.end()
            elif assignment := ASSIGNMENT.match(text, position):
                self._note((*table, *_parts(assignment[1])), line)
                position = assignment.end()
            end = _end_of_value(text, position)
            line += text.count("\n", position, end)
            position = end

    def _open(self, parts: Place, *, array: bool, line: int) -> Place:
        """The place that a header opens; parts of it that are arrays mean their last element."""
        place: Place = ()
        for number, part in enumerate(parts):
            place = (*place, part)
            if array and number == len(parts) - 1:
                self._arrays[place] = self._arrays.get(place, -1) + 1
            if place in self._arrays:
                self._lines.setdefault(place, line)
                place = (*place, self._arrays[place])
        self._note(place, line)
        return place

    def _note(self, place: Place, line: int) -> None:
        for length in range(1, len(place) + 1):
            self._lines.setdefault(place[:length], line)


def _end_of_value(text: str, position: int) -> int:
    """Just behind the line end that closes a value, brackets and long strings stepped over."""
    depth = 0
    while position < len(text):
        if text[position] == "\n":
            position += 1
            if depth <= 0:
                return position
            continue
        token = SKIPPED.match(text, position)
        if token is None:
            position += 1
            continue
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        position = token.end()
    return position


def _parts(dotted: str) -> Place:
    """The parts of a dotted key, quotes and escapes taken off by the parser itself."""
    return tuple(next(iter(tomllib.loads(f"{part} = 0"))) for part in re.findall(KEY_PART, dotted))
