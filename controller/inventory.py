"""The inventory: one CSV row for each slot of the site, read into `Slot` values, or every problem with line and column.

    slots.csv --> read_inventory() --> Slot --> spec_of() --> RigSpec --> host
                                        +-----> farm (group, feeder, place, owner)

A slot is a place with feeder and owner; the machine in it comes and goes, `serial` and `mac` say which one is expected.
Names and addresses are unique: two drivers at one machine would undo each other's work.
"""

import csv
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from controller.cells import CellError, address, checked_options, mac, name, options, text
from controller.config_problems import ConfigProblems
from controller.text_file import read_text
from shedload.device import Credential, RigName, RigSpec
from shedload.errors import ConfigError

MAX_INVENTORY_BYTES = 64 * 1024 * 1024
"""50,000 rows take about 8 MB; eight times as much is the wrong file."""

MAX_PROBLEMS = 50
"""So many are listed; one wrong column would otherwise list every row."""

REQUIRED = ("name", "group", "driver", "address")

READERS: Mapping[str, Callable[[str], str]] = {
    "name": name,
    "site": name,
    "hall": text,
    "rack": text,
    "position": text,
    "group": name,
    "feeder": name,
    "phase": text,
    "owner": text,
    "driver": name,
    "address": address,
    "credential": name,
    "serial": text,
    "mac": mac,
    "model": text,
    "options": checked_options,
}
"""Every column, in the order of the examples."""

COLUMNS = tuple(READERS)

UNIQUE = ("name", "address", "serial", "mac")


@dataclass(frozen=True, slots=True)
class Slot:
    """One row. An empty cell is None; `feeder` is the group's where the row names none, "" where neither does."""

    name: RigName
    group: str
    driver: str
    address: str
    site: str | None = None
    hall: str | None = None
    rack: str | None = None
    position: str | None = None
    feeder: str = ""
    phase: str | None = None
    owner: str | None = None
    credential: str | None = None
    serial: str | None = None
    mac: str | None = None  # lower case, with colons
    model: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


def read_inventory(
    path: Path,
    *,
    drivers: Collection[str],
    groups: Mapping[str, str | None],
    feeders: Collection[str] = (),
    credentials: Collection[str] = (),
) -> tuple[Slot, ...]:
    """Read every slot; `groups` maps each group's name to its feeder. Raises ConfigProblems with up to 50 problems."""
    known = {"driver": drivers, "group": groups, "feeder": feeders, "credential": credentials}
    return _Reading(path, known, groups).slots(_lines(path))


def spec_of(slot: Slot, credentials: Mapping[str, Credential]) -> RigSpec:
    """What a driver needs to open the rig of a slot."""
    return RigSpec(
        name=slot.name,
        driver=slot.driver,
        address=slot.address,
        credential=None if slot.credential is None else credentials[slot.credential],
        expected_serial=slot.serial,
        expected_mac=slot.mac,
        options=slot.options,
    )


class _Reading:
    """One pass over one file, gathering problems."""

    def __init__(self, path: Path, known: Mapping[str, Collection[str]], groups: Mapping[str, str | None]) -> None:
        self._path = path
        self._known = known
        self._groups = groups
        self._problems: list[ConfigError] = []
        self._seen: dict[str, dict[str, int]] = {column: {} for column in UNIQUE}
        self._line = 0
        self._raw = ""

    def slots(self, lines: list[str]) -> tuple[Slot, ...]:
        rows = self._rows(lines)
        columns = self._header(next(rows, []))
        slots = [slot for row in rows if (slot := self._slot(columns, row)) is not None]
        self._raise_any()
        return tuple(slots)

    def _rows(self, lines: list[str]) -> Iterator[list[str]]:
        """Rows as lists of cells; `_line` and `_raw` follow. Blank lines and lines that start with # are left out."""
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            self._line, self._raw = number, line
            try:
                yield next(csv.reader([line], strict=True))
            except csv.Error:
                self._add(None, "a quoted cell does not end where it should", 'double a quote inside quotes: ""')

    def _header(self, cells: list[str]) -> list[str]:
        if not cells:
            raise ConfigProblems([ConfigError(str(self._path), "is empty", f"begin with the line {','.join(COLUMNS)}")])
        columns = [cell.strip().lower() for cell in cells]
        if len(columns) == 1 and (wrong := next((sign for sign in ";\t|" if sign in self._raw), None)):
            self._add(None, f"cells are separated by {wrong!r}", "save the table as CSV with commas")
            self._raise_any()
        for place, column in enumerate(columns):
            if column not in COLUMNS:
                close = get_close_matches(column, COLUMNS, n=1)
                hint = f'did you mean "{close[0]}"? ' if close else ""
                self._add(place, f"unknown column {_quoted(column)}", f"{hint}columns: {', '.join(COLUMNS)}")
            elif column in columns[:place]:
                self._add(place, f'the column "{column}" stands twice', "remove one of the two")
        for column in REQUIRED:
            if column not in columns:
                self._add(None, f'the column "{column}" is missing', f"needed are {', '.join(REQUIRED)}")
        self._raise_any()
        return columns

    def _slot(self, columns: list[str], cells: list[str]) -> Slot | None:
        before = len(self._problems)
        if len(cells) > len(columns):
            self._add(
                len(columns), f"has {len(cells)} cells for {len(columns)} columns", "quote a cell with a comma in it"
            )
            return None
        values: dict[str, str] = {}
        for place, (column, cell) in enumerate(zip(columns, cells, strict=False)):
            if cell := cell.strip():
                self._read(place, column, cell, values)
        for column in REQUIRED:
            if column not in values and len(self._problems) == before:
                self._add(min(columns.index(column), len(cells)), f"{column} is empty", "every slot needs one")
        if len(self._problems) > before:
            return None
        found = options(values.pop("options", ""))
        feeder = values.pop("feeder", None) or self._groups[values["group"]] or ""
        return Slot(name=RigName(values.pop("name")), feeder=feeder, options=found, **values)

    def _read(self, place: int, column: str, cell: str, values: dict[str, str]) -> None:
        try:
            value = READERS[column](cell)
        except CellError as error:
            self._add(place, f"{column} {_quoted(cell)} {error.problem}", error.remedy)
            return
        values[column] = value
        if column in self._known and value not in self._known[column]:
            known = sorted(self._known[column])
            close = get_close_matches(value, known, n=1, cutoff=0.5)
            hint = f'did you mean "{close[0]}"? ' if close else ""
            self._add(place, f'{column} "{value}" is unknown', f"{hint}known: {', '.join(known[:20]) or 'none'}")
        if column in self._seen:
            first = self._seen[column].setdefault(value.lower(), self._line)
            if first != self._line:
                self._add(place, f"{column} {_quoted(value)} stands in line {first} too", "each slot needs its own")

    def _add(self, place: int | None, problem: str, remedy: str) -> None:
        column = "" if place is None else f":{_column(self._raw, place)}"
        self._problems.append(ConfigError(f"{self._path}:{self._line}{column}", problem, remedy))
        if len(self._problems) >= MAX_PROBLEMS:
            self._problems.append(ConfigError(str(self._path), f"reading stopped after {MAX_PROBLEMS} problems"))
            self._raise_any()

    def _raise_any(self) -> None:
        if self._problems:
            raise ConfigProblems(self._problems)


def _lines(path: Path) -> list[str]:
    try:
        text = read_text(
            path,
            limit=MAX_INVENTORY_BYTES,
            missing="create the inventory, or set inventory under [site]",
            too_large="this is not an inventory",
        )
    except ConfigError as error:
        raise ConfigProblems([error]) from None
    return text.replace("\r\n", "\n").split("\n")


def _quoted(value: str) -> str:
    shown = value if len(value) <= 60 else value[:60] + "..."
    return f'"{shown}"' if shown.isprintable() else ascii(shown)


def _column(raw: str, place: int) -> int:
    """Where the cell `place` starts in its line, from 1."""
    quoted, cell = False, 0
    for position, sign in enumerate(raw):
        if cell == place:
            return position + 1
        if sign == '"':
            quoted = not quoted
        elif sign == "," and not quoted:
            cell += 1
    return len(raw) + 1
