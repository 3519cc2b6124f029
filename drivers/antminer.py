"""Stock Bitmain firmware: S9 to S21, read over the CGMiner socket, steered through the digest-protected web CGI.

read():  socket stats + pools --(denied or refused: web)--> Sample --+ tiers.known --> Telemetry
verbs:   who is there? -> read -> compare -> write whole configuration -> read back -> Receipt
"""

from typing import Any, Final

import orjson

from drivers._address import Endpoint, endpoint, port_option
from drivers._antminer_cgi import Cgi
from drivers._antminer_conf import POOL_PLACES, Change, generation, mode
from drivers._antminer_judge import telemetry
from drivers._antminer_sample import MAKE, Known, Sample
from drivers._antminer_socket import has_boards, sample_stats
from drivers._antminer_tiers import Tiers
from drivers._antminer_web import plain_model, sample_web_stats
from drivers._antminer_write import write_change
from drivers._ask import ask, decode_value
from drivers._fields import text
from drivers._http import Web
from drivers._machine import check_machine
from drivers._pools import check_targets, pool_readings
from drivers.io import Io
from shedload.cgminer.codec import DEFAULT_PORT
from shedload.cgminer.parse import Reply
from shedload.cgminer.repair import TRUNCATED
from shedload.device import API_VERSION, Identity, PoolReading, PoolTarget, Receipt, RigSpec, Telemetry
from shedload.errors import ConfigError, Garbled, Refused, RigError, Unauthorized, Unreachable, Unsupported

api_version = API_VERSION

WEB_PORT = 80
AUXILIARY_PORT = 6060
SOCKET_S = 4.0
"""Deadline of one question to the socket: one thread serves all clients of a rig, one after another."""
SOCKET_PAUSE_S = 60.0
"""A socket that denies us or lets us wait is left alone for this long and the web asked at once."""
SLOW_REFUSAL_S = 1.0
"""A refusal that comes at once costs nothing: the socket is tried at each reading then, since only it tells all."""
VERSION_S = 1.0
"""Deadline of `version`, which is asked beside a reading that the socket has just answered."""
LEVELS = (10, 120)
"""Percent. Steps on offer differ by model; the rig itself refuses the ones it has not."""


def open(spec: RigSpec, io: Io) -> "Antminer":  # noqa: A001 - the border's name for it
    """Make the rig. Options: rpc_port, web_port, aux_port (6060), text_modes ("true" where modes must be text)."""
    return Antminer(spec, io)


_NOTHING: Final = Known()
"""Never written to: each rig keeps a `Known` of its own."""


def decode_stats(raw: bytes, known: Known = _NOTHING, pools: tuple[PoolReading, ...] | None = None) -> Telemetry:
    """One `stats` reply off the wire to telemetry; what only slower tiers know is None. Raises Garbled."""
    try:
        sample = sample_stats(orjson.loads(raw[:-1]))  # nearly every reply is clean JSON and one NUL
    except orjson.JSONDecodeError:
        sample = sample_stats(*decode_value(raw))
    return telemetry(sample, known, pools)


class Antminer:
    """One rig with stock firmware of any generation."""

    def __init__(self, spec: RigSpec, io: Io) -> None:
        # No credential is ever guessed: without one the socket is read, and the web answers Unauthorized.
        credential = spec.credential
        if credential is not None and ":" in credential.user:
            raise ConfigError(f"credential of {spec.name}", "a user name has no colon", "use the name of the web login")
        self._spec = spec
        self._mono = io.mono
        self._socket = endpoint(spec.address, port_option(spec.options, "rpc_port", DEFAULT_PORT))
        host = self._socket.host
        web = Endpoint(host, port_option(spec.options, "web_port", WEB_PORT))
        auxiliary = Endpoint(host, port_option(spec.options, "aux_port", AUXILIARY_PORT))
        self._cgi = Cgi(Web(io.http, web, credential), Web(io.http, auxiliary, None))
        self._tiers = Tiers(self._cgi, io.mono, self._rpc_version)
        self._text_modes = spec.options.get("text_modes") == "true"
        self._new_api: bool | None = None
        self._socket_down_until = float("-inf")

    @property
    def spec(self) -> RigSpec:
        """What the rig was opened with."""
        return self._spec

    async def close(self) -> None:
        """Nothing is kept open but the shared web session."""

    async def identify(self) -> Identity:
        """Who answers; by the web, which alone knows serial and MAC, else what the socket tells. Raises RigError."""
        try:
            found = await self._cgi.identity()
        except (Unreachable, Unauthorized, Unsupported) as error:
            try:
                version = Reply.of(await ask(self._socket, "version", deadline_s=SOCKET_S)).raise_for_status()
            except RigError:
                raise error from None
            row = version.row("VERSION")
            model, firmware = plain_model(text(row.get("Type"))), text(row.get("CompileTime"))
            return Identity(MAKE, model, firmware, rpc_version=text(row.get("API")))
        return self._tiers.meet(found)

    async def read(self) -> Telemetry:
        """Everything the rig tells. Raises RigError where neither socket nor web gives statistics."""
        sample, pools = await self._statistics()
        await self._tiers.update(sample)
        return telemetry(sample, self._tiers.known, pools)

    async def sleep(self) -> Receipt:
        """Work mode sleep; survives a reboot. Unsupported on the S9 generation."""
        return await self._configure("sleep", Change(mode="sleep"))

    async def wake(self, mode: str | None = None) -> Receipt:
        """Work mode normal, high or low; None wakes into normal and leaves a rig that is awake alone."""
        if mode == "sleep":
            raise Refused("sleep is no mode to wake into")
        if mode is None:
            await self._check_machine()
            told = await self._mode()
            if told not in {None, "sleep"}:
                return Receipt("wake", changed=False, evidence={"mode before": str(told), "mode after": str(told)})
        return await self._configure("wake", Change(mode=mode or "normal"))

    async def set_level(self, percent: int) -> Receipt:
        """Frequency level in percent, in the steps that the model has."""
        low, high = LEVELS
        if not low <= percent <= high:
            raise Refused(f"level {percent} % is outside {low}-{high} %")
        return await self._configure("set_level", Change(level=percent))

    async def set_pools(self, pools: tuple[PoolTarget, ...]) -> Receipt:
        """Replace all three places for pools."""
        check_targets(pools, POOL_PLACES)
        return await self._configure("set_pools", Change(pools=pools))

    async def reboot(self) -> Receipt:
        """Restart the control board; a rig that hangs up instead of answering has obeyed."""
        await self._check_machine()
        answered = await self._cgi.reboot()
        self._tiers.hurry()
        return Receipt("reboot", changed=True, evidence={"answer": "accepted" if answered else "hung up"})

    async def blink(self, on: bool) -> Receipt:
        """Turn the locating light on or off, and look whether it is."""
        await self._check_machine()
        kind = self._tiers.known.generation or generation(await self._cgi.configuration())
        before = await self._cgi.blinking(kind)
        if before is on:
            return Receipt(
                "blink", changed=False, evidence={"light before": _light(before), "light after": _light(before)}
            )
        await self._cgi.blink(kind, on=on)
        after = await self._cgi.blinking(kind)
        self._tiers.known.locating = after
        if after is not None and after is not on:
            raise Refused(f"the rig took the order and its light is still {_light(after)}")
        return Receipt("blink", changed=True, evidence={"light before": _light(before), "light after": _light(after)})

    async def _configure(self, verb: str, change: Change) -> Receipt:
        await self._check_machine()
        try:
            outcome = await write_change(self._cgi, change, text_modes=self._text_modes)
        finally:
            self._tiers.hurry()
        self._tiers.learn(outcome.after)
        self._text_modes = outcome.text_modes
        return Receipt(verb, changed=outcome.changed, evidence=outcome.evidence(change))

    async def _check_machine(self) -> None:
        """Before every write: is it the machine that the inventory names? Raises WrongMachine."""
        check_machine(self._spec, self._tiers.meet(await self._cgi.identity()))

    async def _rpc_version(self) -> str | None:
        """Of no use to control, so it may not cost a reading anything: None where the socket does not tell at once."""
        if self._mono() < self._socket_down_until:
            return None
        try:
            version = Reply.of(await ask(self._socket, "version", deadline_s=VERSION_S)).raise_for_status()
        except RigError:
            return None
        return text(version.row("VERSION").get("API"))

    async def _mode(self) -> str | None:
        return mode(await self._cgi.configuration())

    async def _statistics(self) -> tuple[Sample, tuple[PoolReading, ...] | None]:
        if self._mono() < self._socket_down_until:
            try:
                return await self._by_web()
            except RigError:
                self._socket_down_until = float("-inf")
        asked = self._mono()
        try:
            return await self._by_socket()
        except (Unreachable, Unauthorized, Unsupported) as error:
            costly = isinstance(error, Refused) or self._mono() - asked > SLOW_REFUSAL_S
            return await self._by_web_instead(error, pause=costly)

    async def _by_web_instead(self, error: RigError, *, pause: bool) -> tuple[Sample, tuple[PoolReading, ...] | None]:
        """The web where the socket is closed; what the socket said where the web is closed too."""
        try:
            found = await self._by_web()
        except RigError:
            raise error from None
        if pause:
            self._socket_down_until = self._mono() + SOCKET_PAUSE_S
        return found

    async def _by_socket(self) -> tuple[Sample, tuple[PoolReading, ...] | None]:
        sample = await self._socket_sample()
        if sample.empty and TRUNCATED in sample.repairs:  # or it would pass for a miner that has just started
            raise Garbled("the reply stops before its statistics")
        try:
            pools = Reply.of(await ask(self._socket, "pools", deadline_s=SOCKET_S)).raise_for_status().rows("POOLS")
        except Refused:
            return sample, None  # an api-group without this command
        return sample, pool_readings(pools)

    async def _socket_sample(self) -> Sample:
        """`stats` in the plain form, or in the new one where only that tells of boards."""
        if self._new_api:
            found = await self._ask_stats(new_api=True)
            if isinstance(found[0], dict) and "INFO" in found[0]:
                return sample_web_stats(*found)
            self._new_api = None
        value, repairs = await self._ask_stats()
        if self._new_api is None:
            self._new_api = False
            if not has_boards(value):
                found = await self._ask_stats(new_api=True)
                if has_boards(found[0]) and "INFO" in found[0]:
                    self._new_api = True
                    return sample_web_stats(*found)
        return sample_stats(value, repairs)

    async def _ask_stats(self, **extra: Any) -> tuple[Any, tuple[str, ...]]:
        found = await ask(self._socket, "stats", deadline_s=SOCKET_S, **extra)
        if isinstance(found.value, dict) and "STATS" not in found.value:
            Reply.of(found).raise_for_status()
        return found.value, found.repairs

    async def _by_web(self) -> tuple[Sample, tuple[PoolReading, ...] | None]:
        kind = self._tiers.known.generation
        sample = await self._cgi.sample(kind)
        try:
            return sample, await self._cgi.pools(kind)
        except RigError:
            return sample, None


def _light(on: bool | None) -> str:
    return "unknown" if on is None else "on" if on else "off"
