"""What the daemon and its pieces need of a store. `controller.store` keeps it on disk, the tests' own in memory."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from controller.plan import Control, Order
from controller.scribe import Intent
from controller.store_rows import CommandRecord, EventRecord
from controller.track import CommandState, Verdict
from shedload.units import Watts


class StorePort(Protocol):
    """What the daemon needs of a store; properties come from memory, coroutines end when it is on disk."""

    @property
    def failing(self) -> str | None:
        """Why the last write failed, None while all is well."""
        ...

    @property
    def commits(self) -> int:
        """Writes that the disk took since the start."""
        ...

    @property
    def failures(self) -> int:
        """Writes that failed since the start."""
        ...

    @property
    def unsettled(self) -> tuple[CommandRecord, ...]:
        """Commands that the last run left without an outcome; to be read back and settled."""
        ...

    @property
    def orders(self) -> tuple[Order, ...]:
        """Orders in force, oldest first."""
        ...

    @property
    def controls(self) -> Mapping[str, Control]:
        """Modes of groups that were set while running; they win over the configuration."""
        ...

    @property
    def proven(self) -> frozenset[str]:
        """Groups whose first automatic commands were obeyed."""
        ...

    async def intend(self, intents: Sequence[Intent]) -> Sequence[int]:
        """Write commands down before they are sent; returns their numbers. Raises StoreError."""
        ...

    async def settle(self, verdicts: Sequence[Verdict]) -> None:
        """Write down what became of commands; moves backwards are ignored. Raises StoreError."""
        ...

    async def outcome(self, number: int, state: CommandState, detail: str = "") -> bool:
        """Settle one command; False where that would have gone backwards. Raises StoreError."""
        ...

    async def prove(self, group: str) -> None:
        """Note that a group's first commands were obeyed. Raises StoreError."""
        ...

    async def set_control(self, group: str, control: Control, author: str) -> None:
        """Set a group's mode for this and later runs. Raises StoreError."""
        ...

    async def place(self, limit: Watts, author: str, note: str = "") -> Order:
        """Put an order in force. Raises StoreError, ValueError for a limit that is no power."""
        ...

    async def release(self, number: int, author: str) -> bool:
        """End an order; False where none of that number is in force. Raises StoreError."""
        ...

    def fact(self, key: str) -> Any:
        """The value of a fact, None where there is none."""
        ...

    def facts(self, prefix: str) -> dict[str, Any]:
        """Facts whose keys start with `prefix`."""
        ...

    async def remember(self, facts: Mapping[str, Any]) -> None:
        """Write facts, values of JSON. Raises StoreError; ValueError, TypeError for values that are not."""
        ...

    async def forget(self, *keys: str) -> None:
        """Remove facts. Raises StoreError."""
        ...

    def note(self, kind: str, subject: str = "", detail: str = "") -> None:
        """Write an event soon; never waits, never raises."""
        ...

    async def commands(self, rig: str, limit: int = 20) -> tuple[CommandRecord, ...]:
        """The last commands to a rig, newest first. Raises StoreError."""
        ...

    async def events(self, limit: int = 100) -> tuple[EventRecord, ...]:
        """The last events, newest first. Raises StoreError."""
        ...

    async def heartbeat(self) -> bool:
        """Try to write; whether the disk took it."""
        ...

    async def close(self) -> None:
        """Write what is queued and let go; never raises."""
        ...
