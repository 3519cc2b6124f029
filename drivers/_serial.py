"""Serial lines without a thread: pyserial sets the port up, the event loop watches its file descriptor.

Known from pyserial 3.5 on Linux: `exclusive` is flock, which is advice only; TIOCEXCL beside it keeps a second program
from sharing a rig.
"""

import asyncio
import contextlib
import fcntl
import os
import termios
from collections.abc import Callable
from typing import Protocol

import serial

from shedload.errors import Unreachable

OPEN_DEADLINE = 5.0
"""Seconds for opening: a USB adapter answers in milliseconds, a hung one never."""
WRITE_DEADLINE = 2.0
"""Seconds for a write: 88 bytes take 8 ms at 115,200 baud; flow control or a dead adapter takes forever."""


class Port(Protocol):
    """A duplex line of bytes."""

    async def read(self, limit: int) -> bytes:
        """Wait for bytes; b"" when the line is closed. Safe to cancel: nothing is lost."""
        ...

    async def write(self, data: bytes) -> None:
        """Write all of it. Raises Unreachable."""
        ...

    def close(self) -> None:
        """Give the device back; never raises."""
        ...


async def open_port(path: str, baud: int) -> Port:
    """Open a device, 8N1 without flow control, for us alone. Raises Unreachable, saying why."""
    try:
        async with asyncio.timeout(OPEN_DEADLINE):
            device = await asyncio.to_thread(_open, path, baud)
    except TimeoutError:
        raise Unreachable(f"{path} does not open within {OPEN_DEADLINE:g} s") from None
    except (serial.SerialException, OSError, ValueError) as error:
        raise Unreachable(f"cannot open {path}: {error}") from error
    return _SerialPort(device, path)


def _open(path: str, baud: int) -> serial.Serial:
    device = serial.Serial(path, baud, timeout=0, write_timeout=0, exclusive=True)
    fcntl.ioctl(device.fileno(), termios.TIOCEXCL)
    device.reset_input_buffer()
    return device


class _SerialPort:
    """A port on the running loop."""

    def __init__(self, device: serial.Serial, path: str) -> None:
        self._device = device
        self._path = path
        self._loop = asyncio.get_running_loop()

    async def read(self, limit: int) -> bytes:
        """Wait for bytes; b"" when the device is gone."""
        while self._device.is_open:
            try:
                data = os.read(self._device.fileno(), limit)
            except BlockingIOError:
                await self._ready(self._loop.add_reader, self._loop.remove_reader)
                continue
            except OSError:
                return b""  # an unplugged adapter: EIO or ENXIO
            return data
        return b""

    async def write(self, data: bytes) -> None:
        """Write all of it within the deadline."""
        rest = memoryview(data)
        try:
            async with asyncio.timeout(WRITE_DEADLINE):
                while rest:
                    try:
                        rest = rest[os.write(self._device.fileno(), rest) :]
                    except BlockingIOError:
                        await self._ready(self._loop.add_writer, self._loop.remove_writer)
        except TimeoutError:
            raise Unreachable(f"{self._path} takes no bytes") from None
        except (OSError, serial.SerialException, TypeError) as error:
            raise Unreachable(f"{self._path} is gone: {error}") from error

    def close(self) -> None:
        """Give the device back."""
        if not self._device.is_open:
            return
        with contextlib.suppress(OSError, ValueError):
            self._loop.remove_reader(self._device.fileno())
            self._loop.remove_writer(self._device.fileno())
        with contextlib.suppress(OSError, serial.SerialException):
            self._device.close()

    async def _ready(self, add: Callable[[int, Callable[[], None]], None], remove: Callable[[int], bool]) -> None:
        descriptor = self._device.fileno()
        ready = self._loop.create_future()
        add(descriptor, lambda: None if ready.done() else ready.set_result(None))
        try:
            await ready
        finally:
            remove(descriptor)
