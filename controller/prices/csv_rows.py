"""Reads the rows of a price file: text in, an instant and a number for each row out.

file text --csv--> cells --Layout--> Row(line, start in UTC, number)
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from shedload.errors import ConfigError

MAX_ROWS = 1_200_000
"""Ten years of five-minute prices are 1,051,200 rows."""

FIRST_YEAR, LAST_YEAR = 1990, 2200
"""No electricity exchange is older than the first; beyond the last, calendar arithmetic ends before it is of use."""

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things stand in a file: columns by name or by number from 1, and how its times and numbers are written."""

    start: str | int
    prices: tuple[str | int, ...]
    skip: tuple[tuple[str, str], ...] = ()
    header: bool = True
    delimiter: str = ","
    decimal: str = "."
    zone: str | None = None
    time_format: str | None = None
    repeated_hour_in_order: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the line it stands in, when its slot starts (UTC), and its price in the file's unit."""

    line: int
    start: datetime
    price: float


def read_rows(text: str, name: str, layout: Layout) -> Iterator[Row]:
    """The rows that hold prices, in the order of the file, each later than the one before. Raises ConfigError."""
    if not text.strip():
        raise ConfigError(name, "is empty", "name a file with a header and at least one row")
    lines = _lines(text, name, layout)
    columns = _Columns.find(next(lines, (1, []))[1] if layout.header else None, name, layout)
    clock = _Clock(layout)
    earlier: Row | None = None
    for count, (line, cells) in enumerate(lines):
        if count >= MAX_ROWS:
            raise ConfigError(f"{name}:{line}", f"has more than {MAX_ROWS} rows", "keep a few years in one file")
        where = f"{name}:{line}"
        if columns.skips(cells):
            continue
        start = clock.instant(columns.cell(cells, columns.start, where), where, earlier.start if earlier else None)
        row = Row(line, start, sum(columns.number(cells, place, where) for place in columns.prices))
        _check_order(earlier, row, where)
        yield row
        earlier = row


def _lines(text: str, name: str, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, with their line numbers."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=layout.delimiter, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise ConfigError(f"{name}:{reader.line_num}", f"is not CSV: {error}", "check its quotes") from None


def _check_order(earlier: Row | None, row: Row, where: str) -> None:
    if earlier is None or row.start > earlier.start:
        return
    when = row.start.strftime("%Y-%m-%dT%H:%MZ")
    if row.start == earlier.start:
        raise ConfigError(where, f"{when} has a price already in line {earlier.line}", "keep one row for each slot")
    raise ConfigError(
        where, f"{when} is earlier than line {earlier.line}", "sort the rows by time, each instant only once"
    )


@dataclass(frozen=True, slots=True)
class _Columns:
    """Places of the columns in a row."""

    start: int
    prices: tuple[int, ...]
    skip: tuple[tuple[int, str], ...]
    decimal: str

    @classmethod
    def find(cls, header: list[str] | None, name: str, layout: Layout) -> "_Columns":
        names = None if header is None else [cell.strip() for cell in header]

        def place(column: str | int) -> int:
            if isinstance(column, int):
                return column - 1
            if names is None:
                raise ConfigError(name, f'column "{column}" is named and the file has no header', "give its number")
            if names.count(column) != 1:
                how = "has no" if column not in names else "has more than one"
                known = ", ".join(names[:20])[:300]
                raise ConfigError(f"{name}:1", f'{how} column "{column}"', f"the columns are: {known}")
            return names.index(column)

        skip = tuple((place(int(column) if column.isdigit() else column), text) for column, text in layout.skip)
        return cls(place(layout.start), tuple(place(column) for column in layout.prices), skip, layout.decimal)

    def skips(self, cells: list[str]) -> bool:
        return any(place < len(cells) and cells[place].strip() == text for place, text in self.skip)

    def cell(self, cells: list[str], place: int, where: str) -> str:
        if place >= len(cells):
            raise ConfigError(where, f"has only {len(cells)} columns, not {place + 1}", "complete the row")
        return cells[place].strip()

    def number(self, cells: list[str], place: int, where: str) -> float:
        text = self.cell(cells, place, where)
        plain = text if self.decimal == "." else text.replace(".", "\0").replace(",", ".")
        if not _NUMBER.fullmatch(plain):
            shown = f'"{text[:40]}"' if text else "an empty cell"
            raise ConfigError(
                where,
                f"{shown} is not a price",
                f'write a number with "{self.decimal}" as decimal mark; leave the row out where there is no price',
            )
        return float(plain)


class _Clock:
    """Turns the times of a file into instants; refuses local times that the clock change skips or repeats."""

    def __init__(self, layout: Layout) -> None:
        self._zone = None if layout.zone is None else ZoneInfo(layout.zone)
        self._format = layout.time_format
        self._in_order = layout.repeated_hour_in_order

    def instant(self, text: str, where: str, after: datetime | None) -> datetime:
        """The UTC instant of one time; `after` tells which of two repeated local times is meant."""
        wall = self._parse(text, where)
        instant = wall.astimezone(UTC) if wall.tzinfo is not None else self._local(wall, text, where, after)
        if instant.second or instant.microsecond:
            raise ConfigError(where, f"{text} is not a full minute", "slots start at full minutes")
        return instant

    def _parse(self, text: str, where: str) -> datetime:
        try:
            wall = _wall(text, self._format)
        except (ValueError, OverflowError):
            remedy = "write it as 2026-10-25T13:00Z, or set time_format" if self._format is None else "see time_format"
            raise ConfigError(where, f'"{text[:40]}" is not a time', remedy) from None
        if not FIRST_YEAR <= wall.year <= LAST_YEAR:
            raise ConfigError(where, f"{text[:40]} is in the year {wall.year}", "look at the column and time_format")
        return wall

    def _local(self, wall: datetime, text: str, where: str, after: datetime | None) -> datetime:
        if self._zone is None:
            raise ConfigError(where, f"{text} has no offset from UTC", 'set timezone, for example "Europe/Stockholm"')
        first, second = wall.replace(tzinfo=self._zone), wall.replace(tzinfo=self._zone, fold=1)
        before, later = first.utcoffset(), second.utcoffset()
        assert before is not None
        assert later is not None
        if before == later:
            return first.astimezone(UTC)
        if before < later:
            raise ConfigError(
                where,
                f"{text} does not exist in {self._zone.key}: the clock goes forward over it",
                "leave the row out or write times in UTC; skip_where drops rows that are marked as filled in",
            )
        if not self._in_order:
            raise ConfigError(
                where,
                f"{text} happens twice in {self._zone.key}: the clock goes back over it",
                'write times in UTC, or set repeated_hour = "in_order" if the file lists both in order of time',
            )
        instant = first.astimezone(UTC)
        return second.astimezone(UTC) if after is not None and instant <= after else instant


def _wall(text: str, layout: str | None) -> datetime:
    """The time that a text stands for, naive where it names no offset; the file's zone comes later."""
    return datetime.fromisoformat(text) if layout is None else datetime.strptime(text, layout)  # noqa: DTZ007
