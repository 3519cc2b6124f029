"""Tells systemd how we are: one datagram on $NOTIFY_SOCKET, nothing where there is none (sd_notify(3))."""

import contextlib
import os
import socket


class Notifier:
    """Says READY, WATCHDOG and STOPPING. The watchdog is fed by the control loop itself, never by a timer."""

    def __init__(self, address: str | None = None) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET") if address is None else address

    def ready(self, status: str) -> None:
        """Start-up is over."""
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def alive(self, status: str) -> None:
        """A control cycle was completed."""
        self._send(f"WATCHDOG=1\nSTATUS={_line(status)}")

    def stopping(self) -> None:
        """Shutdown has begun."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        # A leading @ names a socket in the abstract namespace.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        # The supervisor is gone or busy, or no descriptor is left: it will judge by our silence.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel,
        ):
            channel.setblocking(False)
            channel.sendto(text.encode(), address)


def _line(text: str) -> str:
    return text.replace("\n", " ")[:200]
