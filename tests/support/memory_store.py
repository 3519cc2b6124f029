"""The store in memory: the same words and rules as the one on disk, for scenario tests that need no file.

`fail("why")` makes every write raise until `heal()`; what was remembered can be handed to a "restarted" one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from controller.clock import Clock
from controller.plan import Control, Order
from controller.scribe import Intent
from controller.store import facts_as_json
from controller.store_rows import ENTERED_FROM, OPEN, CommandRecord, EventRecord, plain
from controller.track import CommandState, Verdict
from shedload.errors import StoreError
from shedload.units import Watts


class MemoryStore:
    """A `StorePort` that forgets when it goes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.failing: str | None = None
        self.failures = 0
        self.commits = 0
        self.ignored = 0
        self.closed = False
        self.unsettled: tuple[CommandRecord, ...] = ()
        self.records: dict[int, CommandRecord] = {}
        self.noted: list[EventRecord] = []
        self._orders: dict[int, Order] = {}
        self._order_numbers = 0
        self._controls: dict[str, Control] = {}
        self._proven: set[str] = set()
        self._facts: dict[str, Any] = {}
        self._fault: str | None = None

    def fail(self, why: str = "disk full") -> None:
        """Every write from now on raises StoreError."""
        self._fault = why

    def heal(self) -> None:
        """Writes work again."""
        self._fault = None

    def restarted(self) -> "MemoryStore":
        """What a new daemon would find after this one stopped or fell."""
        store = MemoryStore(self._clock)
        store.records = {
            number: replace(record, state=CommandState.UNKNOWN) if record.state in OPEN else record
            for number, record in self.records.items()
        }
        store.unsettled = tuple(record for record in store.records.values() if record.state is CommandState.UNKNOWN)
        store._orders, store._order_numbers = dict(self._orders), self._order_numbers
        store._controls, store._proven, store._facts = dict(self._controls), set(self._proven), dict(self._facts)
        return store

    @property
    def orders(self) -> tuple[Order, ...]:
        return tuple(self._orders.values())

    @property
    def controls(self) -> Mapping[str, Control]:
        return dict(self._controls)

    @property
    def proven(self) -> frozenset[str]:
        return frozenset(self._proven)

    async def intend(self, intents: Sequence[Intent]) -> Sequence[int]:
        self._write()
        now, first = self._clock.wall(), len(self.records) + 1
        for number, item in enumerate(intents, first):
            self.records[number] = CommandRecord(
                number=number,
                rig=item.rig,
                verb=item.verb,
                mode=item.mode,
                reason=item.reason,
                mode_before=item.mode_before,
                planned=now,
                state=CommandState.PLANNED,
                changed=now,
                detail="",
            )
        return list(range(first, first + len(intents)))

    async def settle(self, verdicts: Sequence[Verdict]) -> None:
        self._write()
        for verdict in verdicts:
            self._move(verdict)

    async def outcome(self, number: int, state: CommandState, detail: str = "") -> bool:
        self._write()
        return self._move(Verdict(number, state, detail))

    async def prove(self, group: str) -> None:
        self._write()
        self._proven.add(group)

    async def set_control(self, group: str, control: Control, author: str) -> None:
        self._write()
        self._controls[group] = control
        self.note("control_changed", group, f"{control.value} by {author}")

    async def place(self, limit: Watts, author: str, note: str = "") -> Order:
        if not 0 <= limit < float("inf"):
            raise ValueError(f"{limit} W is no limit")
        self._write()
        self._order_numbers += 1
        order = Order(self._order_numbers, limit, plain(author), plain(note), self._clock.wall())
        self._orders[order.number] = order
        self.note("order_placed", str(order.number), f"{limit:.0f} W by {author}: {note}")
        return order

    async def release(self, number: int, author: str) -> bool:
        self._write()
        if self._orders.pop(number, None) is None:
            return False
        self.note("order_released", str(number), f"by {author}")
        return True

    def fact(self, key: str) -> Any:
        return self._facts.get(key)

    def facts(self, prefix: str) -> dict[str, Any]:
        return {key: value for key, value in self._facts.items() if key.startswith(prefix)}

    async def remember(self, facts: Mapping[str, Any]) -> None:
        facts_as_json(facts, self._facts)
        self._write()
        self._facts.update(facts)

    async def forget(self, *keys: str) -> None:
        self._write()
        for key in keys:
            self._facts.pop(key, None)

    def note(self, kind: str, subject: str = "", detail: str = "") -> None:
        self.noted.append(EventRecord(self._clock.wall(), plain(kind), plain(subject), plain(detail)))

    async def commands(self, rig: str, limit: int = 20) -> tuple[CommandRecord, ...]:
        found = [record for record in self.records.values() if record.rig == rig]
        return tuple(reversed(found))[:limit]

    async def events(self, limit: int = 100) -> tuple[EventRecord, ...]:
        return tuple(reversed(self.noted))[:limit]

    async def heartbeat(self) -> bool:
        try:
            self._write()
        except StoreError:
            return False
        return True

    async def close(self) -> None:
        self.closed = True

    def _write(self) -> None:
        if self.closed:
            raise StoreError("the store is closed")
        self.failing = self._fault
        if self._fault is not None:
            self.failures += 1
            raise StoreError(self._fault)
        self.commits += 1

    def _move(self, verdict: Verdict) -> bool:
        record = self.records.get(verdict.number)
        if record is None or record.state not in ENTERED_FROM[verdict.state]:
            self.ignored += 1
            return False
        self.records[verdict.number] = replace(
            record, state=verdict.state, changed=self._clock.wall(), detail=plain(verdict.detail)
        )
        return True
