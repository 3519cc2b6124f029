"""Serial lines in memory by address, for virtual time: a simulated device's plug and the opener that drivers' Io takes.

IcarusRig(plug=lines.plug("stick-1")) --SerialWire--> driver opened with Io(serial=lines.open)
"""

import asyncio

from shedload.errors import Unreachable
from tests.support.wires import SerialWire, Wire


class SerialLines:
    """All lines of a test. `to_device` and `to_host` say how the wires behave that are laid from now on."""

    def __init__(self, *, to_device: Wire | None = None, to_host: Wire | None = None, seed: int = 0) -> None:
        self.to_device = to_device
        self.to_host = to_host
        self.opened = 0
        self._seed = seed
        self._devices: dict[str, DeviceLine] = {}

    def plug(self, address: str) -> "MemoryPlug":
        """Where a simulated device is plugged in."""
        return MemoryPlug(self, address)

    async def open(self, address: str, _baud: int) -> "HostPort":
        """A driver opens a line: Unreachable while nothing is plugged in."""
        device = self._devices.get(address)
        if device is None:
            raise Unreachable(f"cannot open {address}: No such file or directory")
        self.opened += 1
        wire = SerialWire(to_device=self.to_device, to_host=self.to_host, seed=self._seed + self.opened)
        device.joined(wire)
        return HostPort(wire, address)

    def appear(self, address: str, line: "DeviceLine") -> None:
        """A device is there now."""
        self._devices[address] = line

    def vanish(self, address: str) -> None:
        """A device has gone."""
        self._devices.pop(address, None)


class MemoryPlug:
    """A simulator's Plug over `SerialLines`."""

    def __init__(self, lines: SerialLines, address: str) -> None:
        self._lines = lines
        self.address = address

    def plug(self) -> "DeviceLine":
        """Appear."""
        line = DeviceLine(self)
        self._lines.appear(self.address, line)
        return line

    def remove(self) -> None:
        """Vanish."""
        self._lines.vanish(self.address)


class DeviceLine:
    """The device's end: the same line whichever host opens it, one after another."""

    def __init__(self, plug: MemoryPlug) -> None:
        self._plug = plug
        self._wire: SerialWire | None = None
        self._changed = asyncio.Event()
        self._open = True

    def joined(self, wire: SerialWire) -> None:
        """A host has opened the line."""
        if self._wire is not None:
            self._wire.device.close()
        self._wire = wire
        self._changed.set()

    async def read(self, max_bytes: int) -> bytes:
        """Wait for bytes of whatever host; b"" when the device is unplugged."""
        while self._open:
            self._changed.clear()
            if self._wire is not None and (data := await self._wire.device.read(max_bytes)):
                return data
            if self._wire is None or not self._changed.is_set():
                await self._changed.wait()
        return b""

    async def write(self, data: bytes) -> None:
        """Send to the host that is there; OSError when it has gone."""
        if self._wire is not None:
            await self._wire.device.write(data)

    def close(self) -> None:
        """Unplug."""
        self._open = False
        self._plug.remove()
        if self._wire is not None:
            self._wire.device.close()
        self._changed.set()


class HostPort:
    """The host's end as drivers know ports."""

    def __init__(self, wire: SerialWire, address: str) -> None:
        self._wire = wire  # kept: a wire that nobody holds complains of the ends left open
        self._end = wire.host
        self._address = address

    async def read(self, limit: int) -> bytes:
        """Wait for bytes; b"" when the device is gone."""
        return await self._end.read(limit)

    async def write(self, data: bytes) -> None:
        """Write. Raises Unreachable."""
        try:
            await self._end.write(data)
        except OSError as error:
            raise Unreachable(f"{self._address} is gone: {error.strerror}") from error

    def close(self) -> None:
        """Give the line back."""
        self._end.close()
