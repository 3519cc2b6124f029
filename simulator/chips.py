"""Serial rigs that never existed: Icarus devices whose chips find true nonces, on ptys or on wires in memory.

    farm.toml [[serial]] --build_icarus()--> IcarusRig --PtyPlug--> /path/of/symlink <-- the host's driver
    host's 64 bytes --> IcarusChip --search in a thread, paced to the hashrate--> 4 bytes

In virtual time the same rig runs on a line in memory and searches inline.
"""

import asyncio
import contextlib
import random
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from shedload.errors import ConfigError
from shedload.icarus import NONCE_SIZE
from shedload.nameplate import nameplate
from shedload.units import Joules, Watts
from simulator.clock import PlantClock
from simulator.effort import HASHRATE, NONCE_DIFFICULTY
from simulator.icarus_chip import IcarusChip
from simulator.pty_line import Line, Plug, PtyPlug
from simulator.tables import NotNegative, Positive, Table, read_table

READ_SIZE = 256
LOSE_EVERY = 3
"""Under LOST_BYTE each third reply lacks its first byte."""
PLATES = {"icarus": "Icarus", "lancelot": "Lancelot", "block_erupter": "Block Erupter"}


class ChipFault(StrEnum):
    """What a serial rig can do wrong on purpose; several may be on."""

    UNPLUG = "unplug"  # the device is gone; it comes back at the same path when the fault ends
    MUTE = "mute"  # searches and never answers
    GARBAGE = "garbage"  # answers with bytes that mean nothing
    LOST_BYTE = "lost_byte"  # each third answer lacks a byte
    WRONG_NONCE = "wrong_nonce"  # answers nonces that are none: hardware errors


class ChipOutage(Table):
    """[[serial.outages]]: a fault for a while; plant seconds since the start."""

    fault: ChipFault
    at_s: NotNegative = 0.0
    for_s: Positive | None = None


class SerialTable(Table):
    """One serial rig."""

    name: str
    path: str = ""  # where the host opens it; a path of its own by default
    model: Annotated[str, Field(pattern="^(icarus|lancelot|block_erupter)$")] = "icarus"
    hashrate_hs: Positive = HASHRATE  # really hashed
    nonce_difficulty: Positive = NONCE_DIFFICULTY  # of the nonces it reports; real devices have 1
    power_w: Positive | None = None  # while hashing; the nameplate's by default
    idle_w: NotNegative = 0.5
    site: str = ""
    hall: str = ""
    rack: str = ""
    position: str = ""
    group: str = "serial"
    feeder: str = ""
    phase: str = ""
    owner: str = ""
    fault: ChipFault | None = None
    outages: tuple[ChipOutage, ...] = ()


class IcarusRig:
    """One device: a part of a farm, and a load of its meter. Make it inside a running loop."""

    def __init__(self, table: SerialTable, clock: PlantClock, seed: int, plug: Plug | None = None) -> None:
        self.table = table
        self.name = table.name
        self.chip = IcarusChip(table.nonce_difficulty, table.hashrate_hs)
        self.faults: frozenset[ChipFault] = frozenset() if table.fault is None else frozenset({table.fault})
        self.replies = 0  # sent, spoilt ones too
        self._clock = clock
        self._rng = random.Random(seed)
        self._folder: Path | None = None
        self._plug: Plug | None = plug or (PtyPlug(Path(table.path)) if table.path else None)
        self._line: Line | None = None
        self._running = False
        self._loop = asyncio.get_running_loop()
        self._worked = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._timers: list[asyncio.TimerHandle] = []
        plate = nameplate(PLATES[table.model])
        self._hashing_power = table.power_w or (plate.power if plate is not None else 0.0)
        self._energy = 0.0
        self._since = clock.now()
        self._watts = table.idle_w

    @property
    def address(self) -> str:
        """What the host opens; without a path in the table it is known once started."""
        return "" if self._plug is None else self._plug.address

    @property
    def plugged(self) -> bool:
        """The device is there."""
        return self._line is not None

    async def start(self) -> None:
        """Appear. OSError where the path cannot be had."""
        self._plug = self._plug or PtyPlug(self._own_path())
        self._running = True
        if ChipFault.UNPLUG not in self.faults:
            self._plug_in()
        for outage in self.table.outages:
            self._plan(outage.at_s, outage.fault, on=True)
            if outage.for_s is not None:
                self._plan(outage.at_s + outage.for_s, outage.fault, on=False)

    async def stop(self) -> None:
        """Disappear."""
        self._running = False
        for timer in self._timers:
            timer.cancel()
        tasks = list(self._tasks)
        self._unplug()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._plug is not None:
            self._plug.remove()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = self._plug = None

    async def set_faults(self, faults: Iterable[ChipFault | str]) -> None:
        """Have exactly these faults on from now on; ValueError for a name that is none."""
        self._set(frozenset(ChipFault(fault) for fault in faults))

    def power(self, now: float) -> Watts:  # noqa: ARG002  a Load's signature
        """Draw now."""
        return Watts(self._watts)

    def energy(self, now: float) -> Joules:
        """Energy since the start."""
        return Joules(self._energy + self._watts * max(0.0, now - self._since))

    def inventory_row(self) -> dict[str, str]:
        """The slot as a row of the inventory."""
        table = self.table
        places = {key: getattr(table, key) for key in ("site", "hall", "rack", "position", "group", "feeder", "phase")}
        return {
            "name": table.name,
            **places,
            "owner": table.owner,
            "driver": "icarus",
            "address": self.address,
            "model": PLATES[table.model],
            "options": f"model={table.model};nonce_difficulty={table.nonce_difficulty:g}",
        }

    # --- plugging ---

    def _set(self, faults: frozenset[ChipFault]) -> None:
        self.faults = faults
        if ChipFault.UNPLUG in faults:
            self._unplug()
        elif self._line is None and self._running:
            self._plug_in()

    def _plug_in(self) -> None:
        assert self._plug is not None, "not started"
        line = self._line = self._plug.plug()
        self._tasks = [
            asyncio.ensure_future(self._listen(line)),
            asyncio.ensure_future(self._hash(line)),
        ]

    def _unplug(self) -> None:
        self.chip.stop()
        self._draw()
        for task in self._tasks:
            task.cancel()
        self._tasks = []
        if self._line is not None:
            self._line.close()
            self._line = None

    def _plan(self, at: float, fault: ChipFault, *, on: bool) -> None:
        def switch() -> None:
            self._set(self.faults | {fault} if on else self.faults - {fault})

        self._timers.append(self._loop.call_later(self._clock.delay(at), switch))

    def _own_path(self) -> Path:
        self._folder = Path(tempfile.mkdtemp(prefix="shedload-serial-"))
        return self._folder / self.name

    # --- work ---

    async def _listen(self, line: Line) -> None:
        while data := await line.read(READ_SIZE):
            reply = self.chip.receive(data, self._loop.time())
            self._draw()
            if reply is not None:
                await self._answer(line, reply, golden=True)
            self._worked.set()

    async def _hash(self, line: Line) -> None:
        """Search slice by slice; each takes as long as the chips would."""
        at = self._loop.time()
        serial = 0
        while True:
            piece = self.chip.slice_()
            if piece is None:
                self._worked.clear()
                await self._worked.wait()
                at = self._loop.time()
                continue
            if piece.serial != serial:
                serial, at = piece.serial, self._loop.time()
            began = self._loop.time()
            nonce = await self._loop.run_in_executor(None, piece.search)
            self.chip.took(piece, self._loop.time() - began)
            tried = piece.count if nonce is None else nonce - piece.start + 1
            # A machine too slow for the hashrate is not made to catch up.
            at = max(at + tried / self.chip.hashrate, self._loop.time() - 1.0)
            await self._until(at)
            reply = self.chip.settle(piece, nonce)
            self._draw()
            if reply is not None:
                await self._answer(line, reply)

    async def _until(self, at: float) -> None:
        """Wait, but not for the end of work that was replaced."""
        serial = self.chip.works
        while (left := at - self._loop.time()) > 0 and self.chip.works == serial:
            self._worked.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._worked.wait()

    async def _answer(self, line: Line, reply: bytes, *, golden: bool = False) -> None:
        if ChipFault.MUTE in self.faults:
            return
        self.replies += 1
        if ChipFault.WRONG_NONCE in self.faults and not golden:
            reply = self._rng.randbytes(NONCE_SIZE)
        if ChipFault.LOST_BYTE in self.faults and self.replies % LOSE_EVERY == 0:
            reply = reply[1:]
        if ChipFault.GARBAGE in self.faults:
            reply = self._rng.randbytes(self._rng.randrange(1, 4 * NONCE_SIZE))
        with contextlib.suppress(OSError):
            await line.write(reply)

    def _draw(self) -> None:
        """Book the energy so far; from now on the draw is that of the present state."""
        now = self._clock.now()
        self._energy = self.energy(now)
        self._since = now
        gone = ChipFault.UNPLUG in self.faults
        self._watts = 0.0 if gone else self._hashing_power if self.chip.busy else self.table.idle_w


def build_icarus(table: Mapping[str, Any], clock: PlantClock, seed: int) -> IcarusRig:
    """The rig of a [[serial]] table. Raises ConfigError."""
    read = read_table(SerialTable, table, "serial")
    if not read.name or "/" in read.name:
        raise ConfigError("serial.name", f"{read.name!r} is no name", "write one such as stick-1")
    return IcarusRig(read, clock, seed)
