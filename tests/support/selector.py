"""The selector of the virtual loop: which virtual sockets are ready; when none is, the clock moves."""

import selectors
from collections.abc import Callable
from typing import Any

from tests.support.network import Network
from tests.support.sockets import VirtualSocket


class VirtualSelector(selectors.BaseSelector):
    """Knows which virtual sockets are ready, and lets `wait` move the clock when none is."""

    def __init__(self, network: Network, wait: Callable[[float | None], None]) -> None:
        self._network = network
        self._wait = wait
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._ready: dict[int, int] = {}
        network.readiness = self._look_at

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a virtual socket."""
        fd = _fd_of(fileobj)
        sock = self._network.find(fd)
        if sock is None:
            raise RuntimeError(f"descriptor {fd} is real: real input and output have no place in virtual time")
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        self._look_at(sock)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Watch no more."""
        fd = _fd_of(fileobj)
        self._ready.pop(fd, None)
        return self._keys.pop(fd)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch for something else."""
        return self.register(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; without anything, wait `timeout` virtual seconds."""
        self._wait(0 if self._ready else timeout)
        return [(self._keys[fd], mask) for fd, mask in self._ready.items()]

    def close(self) -> None:
        """Forget everything."""
        self._keys.clear()
        self._ready.clear()

    def get_map(self) -> dict[int, selectors.SelectorKey]:  # type: ignore[override]
        """What is watched."""
        return self._keys

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """KeyError for what is not watched."""
        return self._keys[_fd_of(fileobj)]

    def _look_at(self, sock: VirtualSocket) -> None:
        fd = sock.fileno_at_birth
        key = self._keys.get(fd)
        if key is None:
            return
        mask = 0
        if key.events & selectors.EVENT_READ and sock.readable:
            mask |= selectors.EVENT_READ
        if key.events & selectors.EVENT_WRITE and sock.writable:
            mask |= selectors.EVENT_WRITE
        if mask:
            self._ready[fd] = mask
        else:
            self._ready.pop(fd, None)


def _fd_of(fileobj: Any) -> int:
    return fileobj if isinstance(fileobj, int) else int(fileobj.fileno())
