"""What changes slowly on an Antminer, read through the web on its own cadence, a little at each reading.

every reading: statistics and pools on the socket       here: configuration, light, board serials, faults, identity
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from drivers._antminer_cgi import Cgi
from drivers._antminer_conf import Conf, generation, level, mode
from drivers._antminer_sample import Known, Sample
from drivers._antminer_web import board_plates, power_supply_faults, status_faults
from shedload.device import Fault, Identity
from shedload.errors import NoAnswer, RigError, Unauthorized, Unreachable, Unsupported
from shedload.nameplate import nameplate

CONFIGURATION_S = 45.0
"""Seconds between looks at the configuration, so that at the usual 10 s interval it is never older than a minute."""
CONFIGURATION_VALID_S = 60.0
"""A mode that could not be read for longer is unknown, not the old one."""
DETAIL_S = 60.0
"""Light, faults, board serials: of no use to control, each a process on the rig's board."""
IDENTITY_S = 600.0
"""A machine does not change without its address falling silent first."""
WEB_DOWN_S = 60.0
"""Pause after the web interface refused us or did not answer."""
PER_READING = 2
"""Pages beside one reading, but for the first; so that a reading stays as short as the socket allows."""
BUDGET_S = 3.0
"""All pages of one reading together; the reading itself is done by then and must not be lost to them."""
RETRY_S = 5.0
"""The configuration can be read again about 5 s after a write."""


@dataclass(slots=True)
class _Tier:
    """One page's turn."""

    name: str
    period: float
    fetch: Callable[[Sample], Awaitable[None]]
    due: float = float("-inf")


class Tiers:
    """Keeps `known` up to date. Failures here never fail a reading: what cannot be read is None."""

    def __init__(self, cgi: Cgi, mono: Callable[[], float], rpc_version: Callable[[], Awaitable[str | None]]) -> None:
        self.known = Known()
        self._cgi = cgi
        self._rpc_version = rpc_version
        self._mono = mono
        self._configured = float("-inf")
        self._web_down_until = float("-inf")
        self._has_power = True
        self._hashing: bool | None = None
        self._model: str | None = None
        self._tiers = (
            _Tier("configuration", CONFIGURATION_S, self._read_configuration),
            _Tier("identity", IDENTITY_S, self._read_identity),
            _Tier("statistics", DETAIL_S, self._read_statistics),
            _Tier("summary", DETAIL_S, self._read_summary),
            _Tier("light", DETAIL_S, self._read_light),
        )
        self._fresh = True
        self._supply_faults: tuple[Fault, ...] = ()

    def meet(self, found: Identity) -> Identity:
        """Take note of who answered on the web, which does not tell the version of the socket's API."""
        before = self.known.identity
        known = found if before is None else replace(found, rpc_version=before.rpc_version)
        self.known.identity = known
        return known

    def hurry(self) -> None:
        """Something was written: look at the configuration and the light with the next reading."""
        for tier in self._tiers:
            if tier.name in {"configuration", "light"}:
                tier.due = float("-inf")

    def learn(self, conf: Conf) -> None:
        """Take in a configuration that was just read."""
        known = self.known
        known.generation, known.mode, known.level = generation(conf), mode(conf), level(conf)
        self._configured = self._mono()

    async def update(self, sample: Sample) -> None:
        """Read what is due beside this sample."""
        self._notice(sample)
        now = self._mono()
        if now >= self._web_down_until:
            due = sorted((tier for tier in self._tiers if tier.due <= now), key=lambda tier: tier.due)
            if due:
                await self._read_all(due if self._fresh else due[:PER_READING], sample)
        if sample.power is None and self._has_power:
            await self._read_power()
        if now - self._configured > CONFIGURATION_VALID_S:
            self.known.mode = self.known.level = None

    def _notice(self, sample: Sample) -> None:
        """Hurry where the statistics say that something changed."""
        hashing = sample.hashing
        if self._hashing is not None and hashing is not self._hashing:
            self.hurry()
        self._hashing = hashing
        if sample.model is not None and sample.model != self._model:
            if self._model is not None:  # another machine, or another firmware
                for tier in self._tiers:
                    tier.due = float("-inf")
            self._model = sample.model
            self.known.nameplate = nameplate(sample.model)

    async def _read_all(self, due: list[_Tier], sample: Sample) -> None:
        answered = False
        try:
            async with asyncio.timeout(BUDGET_S):
                for tier in due:
                    await self._read_one(tier, sample)
                    if self._mono() < self._web_down_until:
                        return
                    answered = True
        except TimeoutError:
            if not answered:  # else it is only slow: the rest has its turn beside the next readings
                self._web_down_until = self._mono() + WEB_DOWN_S
        self._fresh = False

    async def _read_one(self, tier: _Tier, sample: Sample) -> None:
        try:
            await tier.fetch(sample)
        except (Unreachable, NoAnswer, Unauthorized):
            self._web_down_until = self._mono() + WEB_DOWN_S
        except Unsupported:
            tier.due = self._mono() + IDENTITY_S
        except RigError:
            tier.due = self._mono() + RETRY_S
        else:
            tier.due = self._mono() + tier.period

    async def _read_configuration(self, _: Sample) -> None:
        self.learn(await self._cgi.configuration())

    async def _read_identity(self, _: Sample) -> None:
        found = self.meet(await self._cgi.identity())
        self.known.identity = replace(found, rpc_version=await self._rpc_version())
        if self.known.nameplate is None:
            self.known.nameplate = nameplate(found.model)
        self._has_power = True  # firmware may have been changed: ask port 6060 again

    async def _read_statistics(self, _: Sample) -> None:
        found = await self._cgi.statistics()
        self.known.plates = board_plates(found) or self.known.plates
        self._supply_faults = power_supply_faults(found)

    async def _read_summary(self, sample: Sample) -> None:
        faults = status_faults(await self._cgi.summary())
        if sample.power is None and self.known.power is not None:
            faults += await self._warnings()
        self.known.faults = faults + self._supply_faults

    async def _warnings(self) -> tuple[Fault, ...]:
        try:
            return await self._cgi.warnings()
        except RigError:
            return ()

    async def _read_light(self, _: Sample) -> None:
        if self.known.generation is not None:
            self.known.locating = await self._cgi.blinking(self.known.generation)

    async def _read_power(self) -> None:
        """Ask port 6060; where nothing answers there, not again before the identity is read anew."""
        try:
            self.known.power = await self._cgi.power()
        except RigError:
            self.known.power = None
            self._has_power = False
