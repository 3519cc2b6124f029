"""Price source `csv`: a file with one row per slot, as exchanges, suppliers and spreadsheets write them.

    [price]
    source = "csv"
    file = "prices.csv"
    start_column = "hour_start_utc"
    price_columns = ["se3_eur_per_mwh"]
    unit = "MWh"
    currency = "EUR"

What a row means is decided in csv_rows.py; here is what an operator may set, and the source that looks at the file
again when it has changed.
"""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from controller.fields import FilePath, Section, Text, Zone
from controller.prices.bounds import bounds_of, check_currency
from controller.prices.csv_rows import Layout, read_rows
from controller.prices.csv_slots import slots_of
from controller.prices.fixed import Currency
from controller.prices.series import PriceSeries
from controller.text_file import read_text
from shedload.errors import ConfigError

MISSING = "name the price file, relative to the configuration"
MAX_FILE_BYTES = 64 * 1024 * 1024
"""Ten years of five-minute prices are about 40 MB; a larger file is another file."""

Column = Text | Annotated[int, Field(ge=1, le=1000)]
"""A column by its name in the header, or by its number, the first is 1."""


class CsvPrice(Section):
    """[price] source = "csv"."""

    source: Literal["csv"]
    file: FilePath
    start_column: Column
    price_columns: Annotated[tuple[Column, ...], Field(min_length=1, max_length=20)]  # more than one: their sum
    unit: Literal["MWh", "kWh"]  # what the prices are per
    currency: Currency
    timezone: Zone | None = None  # of start times that carry no offset themselves
    time_format: Text | None = None  # as for strptime; ISO 8601 where it is left out
    repeated_hour: Literal["refuse", "in_order"] = "refuse"  # local times that the autumn clock change repeats
    resolution_minutes: Annotated[int, Field(ge=1, le=1440)] | None = None  # from the rows where it is left out
    skip_where: dict[Text, Text] = Field(default_factory=dict)  # rows with this text in this column do not count
    allow_gaps: bool = False  # true where times without a price are meant; control.without_price says what then
    header: bool = True
    delimiter: Literal[",", ";", "\t", "|"] = ","
    decimal: Literal[".", ","] = "."
    kind: Literal["settled", "real_time", "day_ahead", "indicative", "forecast", "schedule"] = "day_ahead"
    lowest_per_kwh: float | None = None  # by default what markets in this currency can print
    highest_per_kwh: float | None = None

    @property
    def layout(self) -> Layout:
        """How the file is laid out."""
        return Layout(
            start=self.start_column,
            prices=self.price_columns,
            skip=tuple(self.skip_where.items()),
            header=self.header,
            delimiter=self.delimiter,
            decimal=self.decimal,
            zone=self.timezone,
            time_format=self.time_format,
            repeated_hour_in_order=self.repeated_hour == "in_order",
        )


class CsvSource:
    """Reads the file, and reads it again when it has changed."""

    def __init__(self, config: CsvPrice, currency: str) -> None:
        check_currency(config.currency, currency)
        self._config = config
        self._read: tuple[tuple[int, int], PriceSeries] | None = None

    async def fetch(self, now: datetime) -> PriceSeries:  # noqa: ARG002 (a file has all its prices at once)
        """The whole file; `now` does not matter. Raises ConfigError with file and line."""
        return await asyncio.to_thread(self._fetch)

    def _fetch(self) -> PriceSeries:
        state = _state(self._config.file)
        if self._read is None or self._read[0] != state:
            self._read = (state, load(self._config.file, self._config))
        return self._read[1]


def load(path: Path, config: CsvPrice) -> PriceSeries:
    """Read a price file. Raises ConfigError that names file and line, what stands there and what would do."""
    return parse(_text(path), str(path), config)


def parse(text: str, name: str, config: CsvPrice) -> PriceSeries:
    """Turn the text of a price file into slots; `name` is the file's, for errors. Raises ConfigError."""
    bounds = bounds_of(config.currency, config.lowest_per_kwh, config.highest_per_kwh)
    per_kilowatt_hour = 1.0 if config.unit == "kWh" else 1000.0
    rows = list(read_rows(text, name, config.layout))
    return PriceSeries(
        slots_of(
            rows,
            name,
            resolution_minutes=config.resolution_minutes,
            divide_by=per_kilowatt_hour,
            bounds=bounds,
            currency=config.currency,
            kind=config.kind,
        )
    )


def _state(path: Path) -> tuple[int, int]:
    """What changes when the file does."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise ConfigError(str(path), "there is no such file", MISSING) from None
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}", MISSING) from None
    return (status.st_mtime_ns, status.st_size)


def _text(path: Path) -> str:
    return read_text(
        path,
        limit=MAX_FILE_BYTES,
        missing=MISSING,
        too_large="keep a few years in one file",
    )
