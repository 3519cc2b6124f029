r"""What the daemon hears over MQTT: the site meter and prices. Checked here, counted by cause, never believed blindly.

MqttLink --payload--> MeterInput --> SiteMeter.heard | failed
                \--> PriceInput --> PriceFeed.take, or the old prices stay
"""

import math
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import structlog

from controller.meter import SiteMeter
from controller.price_message import PRICE_CAUSES, PriceRefused, read_prices
from controller.prices.series import PriceSeries
from controller.settings import MAX_SITE_KW, HttpMeter, MqttMeter
from shedload.errors import Garbled
from shedload.reading import read_number
from shedload.units import KILO, Watts

MAX_METER_BYTES = 16 * 1024
"""A gateway's message with every register it has is some 4 KiB."""
MAX_PRICE_BYTES = 512 * 1024
"""4,096 slots of some 110 bytes."""

log = structlog.get_logger(__name__)


class Input(Protocol):
    """Something that a topic is listened to for. Neither call may raise or wait."""

    @property
    def name(self) -> str:
        """What it is, for logs and metric labels."""
        ...

    @property
    def topic(self) -> str:
        """The topic, without wildcards."""
        ...

    @property
    def rejected(self) -> dict[str, int]:
        """Messages that were not taken, by cause; every cause is there from the start."""
        ...

    def heard(self, payload: bytes, retained: bool) -> None:
        """Take a message or count it; `retained` says that the broker had kept it for whoever comes."""
        ...


class _Counted:
    """Counts by cause and logs the first of each cause."""

    def __init__(self, name: str, topic: str, causes: tuple[str, ...]) -> None:
        self.name = name
        self.topic = topic
        self.accepted = 0
        self.rejected = dict.fromkeys(causes, 0)

    def reject(self, cause: str, detail: str) -> None:
        """Count; the log hears of each cause once."""
        self.rejected[cause] += 1
        if self.rejected[cause] == 1:
            log.warning("mqtt_input_rejected", input=self.name, topic=self.topic, cause=cause, detail=detail[:200])


class MeterInput(_Counted):
    """The site meter on a topic."""

    def __init__(self, topic: str, settings: MqttMeter, meter: SiteMeter) -> None:
        super().__init__("meter", topic, ("too_long", "retained", "garbled", "implausible"))
        self._settings = settings
        self._meter = meter

    def heard(self, payload: bytes, retained: bool) -> None:
        """Take a reading. One that the broker kept may be days old: it is no reading."""
        if retained:
            self.reject("retained", "the broker's kept message tells no time; the next live one counts")
        elif len(payload) > MAX_METER_BYTES:
            self._fail("too_long", f"{len(payload)} bytes, at most {MAX_METER_BYTES} are read")
        else:
            self._read(payload)

    def _read(self, payload: bytes) -> None:
        try:
            power = plausible_watts(self._settings, read_number(payload, self._settings.field))
        except Implausible as error:
            self._fail("implausible", error.detail)
        except Garbled as error:
            self._fail("garbled", error.detail)
        else:
            self.accepted += 1
            self._meter.heard(power)

    def _fail(self, cause: str, detail: str) -> None:
        self.reject(cause, detail)
        self._meter.failed(f"{self.topic}: {detail}")


class PriceInput(_Counted):
    """Prices on a topic; a kept message is welcome, its slots say themselves when they hold."""

    def __init__(
        self, topic: str, currency: str, take: Callable[[PriceSeries], None], wall: Callable[[], datetime]
    ) -> None:
        super().__init__("price", topic, ("too_long", *PRICE_CAUSES))
        self._currency = currency
        self._take = take
        self._wall = wall

    def heard(self, payload: bytes, retained: bool) -> None:  # noqa: ARG002 - see the class
        """Take all slots of the message, or none and keep what was known."""
        if len(payload) > MAX_PRICE_BYTES:
            self.reject("too_long", f"{len(payload)} bytes, at most {MAX_PRICE_BYTES} are read")
            return
        try:
            series = read_prices(payload, self._currency, self._wall())
        except PriceRefused as error:
            self.reject(error.cause, str(error))
        else:
            self.accepted += 1
            self._take(series)


class Implausible(Garbled):
    """A number came that no site's power can be."""


def plausible_watts(settings: MqttMeter | HttpMeter, reading: float) -> Watts:
    """A raw reading in watts, by the meter's unit and scale. Raises Implausible."""
    power = settings.watts(reading)
    if not math.isfinite(power) or abs(power) > MAX_SITE_KW * KILO:
        raise Implausible(f"{reading:g} {settings.unit} at a scale of {settings.scale:g} is no site's power")
    return power
