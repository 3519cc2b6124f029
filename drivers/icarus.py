"""Icarus, Lancelot and Block Erupter on a serial line: 64 bytes of work out, 4 bytes of nonce back.

Found by: the golden work, which only such a device answers with the golden nonce within a second.
Answers: nothing but nonces. It tells no temperature, no power and no hashrate; hashrate is counted where nonces are
verified. It stops after a nonce or at the end of its range, so work is given anew after each.
Gets wrong: a lost byte shifts every reply until the line is quiet; a late reply belongs to the work before.
Sleep: there is no such command, but a device stops when it has found a nonce: the golden work is solved in 0.3 ms.
Without it and without new work a device would stop at the end of its range, after 11 to 13 s.

Known from: the Icarus driver notes of cgminer, vectors of block 171874. Options of the inventory row: `model` = icarus,
lancelot or block_erupter; `nonce_difficulty` = what its nonces meet (1 for real devices, less for simulated chips).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from drivers._serial import Port, open_port
from drivers.io import Io
from shedload import icarus
from shedload.device import Activity, Identity, PowerSource, Receipt, RigSpec, Telemetry
from shedload.errors import ConfigError, Garbled, NoAnswer, Refused, Unreachable
from shedload.nameplate import nameplate
from shedload.units import Seconds
from shedload.work import Nonce, Work

api_version = 1

MODELS = {"icarus": icarus.ICARUS, "lancelot": icarus.LANCELOT, "block_erupter": icarus.BLOCK_ERUPTER}
READ_SIZE = 64
BETWEEN_WORKS = 0.5
"""Seconds after a reply in which a device still counts as hashing: the next work is on its way."""
RESYNC_SILENCE = icarus.READ_TIMEOUT
"""Seconds of quiet after a torn reply: a device's 4 bytes take 0.4 ms, but a USB adapter that splits them hands over
the rest at its next tick, 16 ms later."""
PLATES = {"icarus": "Icarus", "lancelot": "Lancelot", "block_erupter": "Block Erupter"}


def open(spec: RigSpec, io: Io) -> "Icarus":  # noqa: A001 - the name that every driver module offers
    """Make the rig; the device is opened with the first use. Raises ConfigError for options that cannot be."""
    model = spec.options.get("model", "icarus")
    if model not in MODELS:
        raise ConfigError(f"rig {spec.name}", f"option model={model} is not known", f"use one of {', '.join(MODELS)}")
    text = spec.options.get("nonce_difficulty", "1")
    try:
        difficulty = float(text)
        if not 0 < difficulty <= 2**32:
            raise ValueError
    except ValueError:
        raise ConfigError(
            f"rig {spec.name}", f"option nonce_difficulty={text} is no difficulty", "leave it out for real devices"
        ) from None
    return Icarus(spec, model, difficulty, io.serial or open_port, io.mono)


class Icarus:
    """One device on one line."""

    def __init__(
        self,
        spec: RigSpec,
        model: str,
        nonce_difficulty: float,
        opener: Callable[[str, int], Coroutine[Any, Any, Port]],
        mono: Callable[[], float],
    ) -> None:
        self._spec = spec
        self._model = MODELS[model]
        self._plate = nameplate(PLATES[model])
        self._identity = Identity(make="Icarus", model=PLATES[model])
        self._nonce_difficulty = nonce_difficulty
        self._opener = opener
        self._mono = mono
        self._port: Port | None = None
        self._opening = asyncio.Lock()
        self._reader = icarus.NonceReader()
        self._replies: deque[bytes] = deque(maxlen=READ_SIZE)
        self._key = 0
        self._busy_until = 0.0
        self._asleep = False
        self._stopping = False  # golden work is out to end the other
        self._tell_stop = False  # and whoever waits for a nonce of the other shall hear of it
        self._stopped = False  # its answer has come

    @property
    def spec(self) -> RigSpec:
        """What the rig was opened with."""
        return self._spec

    @property
    def work_lifetime(self) -> Seconds:
        """Until shortly before the range of nonces is used up."""
        return self._model.resend_after

    @property
    def nonce_difficulty(self) -> float:
        """Difficulty that every reported nonce meets."""
        return self._nonce_difficulty

    @property
    def asleep(self) -> bool:
        """Sent to sleep."""
        return self._asleep

    async def identify(self) -> Identity:
        """Open the device; the golden work tells whether it is one. Raises Unreachable or Garbled."""
        await self._open()
        return self._identity

    async def read(self) -> Telemetry:
        """Whether it works; it tells nothing else. Raises Unreachable when the device is gone."""
        await self._open()
        busy = self._mono() < self._busy_until
        still = Activity.ASLEEP if self._asleep else Activity.IDLE
        return Telemetry(
            activity=Activity.HASHING if busy else still,
            mode="sleep" if self._asleep else "normal",
            hashrate_nominal=self._model.hashrate,
            power=self._plate.power if busy and self._plate is not None else None,
            power_source=PowerSource.ESTIMATED if busy else None,
            identity=self._identity,
        )

    async def assign(self, work: Work) -> None:
        """Send work; what was in progress is dropped by the device. Raises RigError when the device is gone."""
        if self._asleep:
            return
        port = await self._open()
        self._key = work.key
        self._stopped = self._tell_stop = False
        await self._send(port, icarus.Work.from_header(work.header, work.midstate).frame())
        self._busy_until = self._mono() + self._model.full_range

    async def nonce(self) -> Nonce:
        """Wait for the next nonce. Safe to cancel.

        Raises Unreachable for a lost device, Garbled for a torn reply, Refused when the rig was sent to sleep.
        """
        while not self._replies:
            if self._stopped:
                self._stopped = False
                raise Refused("the work was ended by sleep")
            await self._receive()
        self._busy_until = self._mono() + BETWEEN_WORKS
        return Nonce(self._key, int.from_bytes(self._replies.popleft(), "little"))

    async def sleep(self) -> Receipt:
        """Give no more work, and end the present one with work that is solved at once."""
        changed, self._asleep = not self._asleep, True
        if self._port is not None and changed:
            self._stopping = self._tell_stop = True
            await self._send(self._port, icarus.GOLDEN_WORK)
        self._busy_until = 0.0
        return Receipt("sleep", changed, {"mode after": "sleep"})

    async def wake(self, mode: str | None = None) -> Receipt:
        """Take work again. Raises Refused for any mode but the only one."""
        if mode not in (None, "normal"):
            raise Refused(f"an Icarus has no mode {mode}")
        changed, self._asleep = self._asleep, False
        return Receipt("wake", changed, {"mode after": "normal"})

    async def close(self) -> None:
        """Give the device back."""
        self._drop(self._port)

    async def _open(self) -> Port:
        async with self._opening:
            if self._port is None:
                port = await self._opener(self._spec.address, icarus.BAUD)
                try:
                    await _prove(port)
                except BaseException:
                    port.close()
                    raise
                self._port = port
                self._reader = icarus.NonceReader()
                self._replies.clear()
                self._stopping = self._stopped = False
            return self._port

    async def _send(self, port: Port, frame: bytes) -> None:
        try:
            await port.write(frame)
        except Unreachable:
            self._drop(port)
            raise
        except asyncio.CancelledError:
            self._drop(port)  # half a frame may be out: the device would take the next one for its rest
            raise
        self._reader.work_sent()

    async def _receive(self) -> None:
        port = self._port
        if port is None:
            raise Unreachable("the device is not open")
        try:
            async with asyncio.timeout(RESYNC_SILENCE if self._reader.pending else None):
                data = await port.read(READ_SIZE)
        except TimeoutError:
            self._silence()
            return
        if not data:
            self._drop(port)
            raise Unreachable(f"{self._spec.address} is gone")
        self._take(self._reader.receive_data(data))

    def _take(self, replies: list[bytes]) -> None:
        """Keep replies, but not the one that ended the work of a device sent to sleep."""
        for reply in replies:
            if self._stopping and reply == icarus.GOLDEN_NONCE:
                self._stopping, self._stopped = False, self._tell_stop
            else:
                self._replies.append(reply)

    def _silence(self) -> None:
        """The line is quiet. A torn reply means that the device has stopped, so somebody must hear of it."""
        before = self._reader.dropped
        self._reader.silence()
        if self._reader.dropped > before:
            raise Garbled(f"a reply of {self._reader.dropped - before} bytes")

    def _drop(self, port: Port | None) -> None:
        """Give up a port; a later one, opened meanwhile by somebody else's call, stays."""
        if port is not None:
            port.close()
        if self._port is port:
            self._port = None
            self._busy_until = 0.0


async def _prove(port: Port) -> None:
    """Send the golden work and expect the golden nonce. Raises Unreachable, NoAnswer or Garbled."""
    await port.write(icarus.GOLDEN_WORK)
    answer = b""
    try:
        async with asyncio.timeout(icarus.PROBE_TIMEOUT):
            while icarus.GOLDEN_NONCE not in answer:
                data = await port.read(READ_SIZE)
                if not data:
                    raise Unreachable("the device went away during its test")
                # What an earlier work left on the line may come first; more than this is no Icarus.
                answer = (answer + data)[-READ_SIZE:]
    except TimeoutError:
        if not answer:
            raise NoAnswer("nothing answers the golden work") from None
        raise Garbled("no Icarus: the golden work was not answered with the golden nonce", answer) from None
