"""Serial lines without a thread: pyserial sets the port up, the event loop watches its file descriptor.

Known from pyserial 3.5 on Linux: `exclusive` is flock, which is advice only; TIOCEXCL beside it keeps a second program
from sharing a rig. A port with timeout 0 has VMIN 0, where an empty line and a lost device read alike; VMIN 1 tells
them apart.
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

_CONTROL_CHARACTERS = 6
"""Where termios keeps VMIN and VTIME."""


class Port(Protocol):
    """A duplex line of bytes."""

    async def read(self, limit: int) -> bytes:
        """Wait for bytes; b"" when the line is closed. Safe to cancel: nothing is lost."""
        ...

    async def write(self, data: bytes) -> None:
        """Write all of it. Raises Unreachable."""
        ...

    def close(self) -> None:
        """Give the device back; whoever reads gets b"". Never raises."""
        ...


async def open_port(path: str, baud: int) -> Port:
    """Open a device, 8N1 without flow control, for us alone. Raises Unreachable, saying why."""
    opening = asyncio.ensure_future(asyncio.to_thread(_open, path, baud))
    try:
        async with asyncio.timeout(OPEN_DEADLINE):
            device = await asyncio.shield(opening)
    except TimeoutError:
        opening.add_done_callback(_close_late)
        raise Unreachable(f"{path} does not open within {OPEN_DEADLINE:g} s") from None
    except asyncio.CancelledError:
        opening.add_done_callback(_close_late)
        raise
    except (OSError, ValueError, termios.error) as error:
        raise Unreachable(f"cannot open {path}: {_why(error)}") from error
    return _SerialPort(device, path)


def _open(path: str, baud: int) -> serial.Serial:
    device = serial.Serial(path, baud, timeout=0, write_timeout=0, exclusive=True)
    try:
        descriptor = device.fileno()
        fcntl.ioctl(descriptor, termios.TIOCEXCL)
        settings = termios.tcgetattr(descriptor)
        settings[_CONTROL_CHARACTERS][termios.VMIN] = 1
        termios.tcsetattr(descriptor, termios.TCSANOW, settings)
        os.set_blocking(descriptor, False)
        device.reset_input_buffer()
    except BaseException:
        device.close()
        raise
    return device


def _close_late(opening: "asyncio.Future[serial.Serial]") -> None:
    """Nobody waits for this device any more."""
    if not opening.cancelled() and opening.exception() is None:
        _give_back(opening.result())


def _give_back(device: serial.Serial) -> None:
    with contextlib.suppress(OSError, ValueError):
        fcntl.ioctl(device.fileno(), termios.TIOCNXCL)  # a pty keeps the flag beyond our close
    with contextlib.suppress(OSError):
        device.close()


def _why(error: Exception) -> str:
    """The system's words alone; pyserial repeats path and number around them."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) else str(error)


class _SerialPort:
    """A port on the running loop."""

    def __init__(self, device: serial.Serial, path: str) -> None:
        self._device = device
        self._descriptor = device.fileno()
        self._path = path
        self._open = True
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Future[None]] = set()

    async def read(self, limit: int) -> bytes:
        """Wait for bytes; b"" when the device is gone."""
        while self._open:
            try:
                return os.read(self._descriptor, limit)
            except BlockingIOError:
                await self._ready(self._loop.add_reader, self._loop.remove_reader)
            except OSError:
                return b""  # an unplugged adapter: EIO or ENXIO
        return b""

    async def write(self, data: bytes) -> None:
        """Write all of it within the deadline."""
        rest = memoryview(data)
        try:
            async with asyncio.timeout(WRITE_DEADLINE):
                while rest:
                    if not self._open:
                        raise Unreachable(f"{self._path} is closed")
                    try:
                        rest = rest[os.write(self._descriptor, rest) :]
                    except BlockingIOError:
                        await self._ready(self._loop.add_writer, self._loop.remove_writer)
        except TimeoutError:
            raise Unreachable(f"{self._path} takes no bytes") from None
        except OSError as error:
            raise Unreachable(f"{self._path} is gone: {_why(error)}") from error

    def close(self) -> None:
        """Give the device back."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._descriptor)
        self._loop.remove_writer(self._descriptor)
        _give_back(self._device)
        for waiter in self._waiting:
            _wake(waiter)

    async def _ready(
        self, add: Callable[[int, Callable[..., None], "asyncio.Future[None]"], object], remove: Callable[[int], bool]
    ) -> None:
        waiter = self._loop.create_future()
        self._waiting.add(waiter)
        add(self._descriptor, _wake, waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)
            if self._open:  # else the number may be another file's by now
                remove(self._descriptor)


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
