"""What waits to be published: the latest payload of each retained topic, and events in order. Putting never waits.

daemon --put(), event()--> Outbox --take()--> the one publisher task
"""

import asyncio
from collections import deque
from dataclasses import dataclass

MAX_TOPICS = 5_000
"""Retained topics: the site and its groups; the largest farm planned for has 125 groups."""
MAX_EVENTS = 1_000
"""Events kept for a broker that is away; the oldest give way."""
MAX_PAYLOAD_BYTES = 256 * 1024
"""The message_size_limit of the shipped broker configuration; a state is some KiB."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message; what is not retained is an event."""

    topic: str
    payload: bytes
    retained: bool


class Outbox:
    """Bounded by topics and by events. Retained payloads stay, to be sent again to a broker that lost them."""

    def __init__(self, max_topics: int = MAX_TOPICS, max_events: int = MAX_EVENTS) -> None:
        self._max_topics = max_topics
        self._max_events = max_events
        self._retained: dict[str, bytes] = {}
        self._due: dict[str, None] = {}  # topics in the order of their first change since they were sent
        self._events: deque[Outgoing] = deque()
        self._filled = asyncio.Event()
        self._event_next = True
        self.dropped = {"events_full": 0, "topics_full": 0, "too_long": 0}

    def put(self, topic: str, payload: bytes) -> None:
        """Replace what a retained topic says."""
        if len(payload) > MAX_PAYLOAD_BYTES:
            self.dropped["too_long"] += 1
        elif topic not in self._retained and len(self._retained) >= self._max_topics:
            self.dropped["topics_full"] += 1
        else:
            self._retained[topic] = payload
            self._due[topic] = None
            self._filled.set()

    def event(self, topic: str, payload: bytes) -> None:
        """Queue an event."""
        if len(payload) > MAX_PAYLOAD_BYTES:
            self.dropped["too_long"] += 1
            return
        if len(self._events) >= self._max_events:
            self._events.popleft()
            self.dropped["events_full"] += 1
        self._events.append(Outgoing(topic, payload, retained=False))
        self._filled.set()

    def everything_again(self) -> None:
        """Mark every retained topic as unsent: a broker that was killed may have lost them all."""
        self._due = dict.fromkeys(self._retained)
        self._filled.set()

    async def take(self) -> Outgoing:
        """The next message, events and states in turn, so that neither starves the other; waits for one."""
        while not (self._events or self._due):
            self._filled.clear()
            await self._filled.wait()
        event = bool(self._events) and (self._event_next or not self._due)
        self._event_next = not event
        if event:
            return self._events.popleft()
        topic = next(iter(self._due))
        del self._due[topic]
        return Outgoing(topic, self._retained[topic], retained=True)

    def put_back(self, message: Outgoing) -> None:
        """Sending failed. An event comes first again if there is room; a state is sent with all others on connect."""
        if message.retained:
            self._due[message.topic] = None
        elif len(self._events) < self._max_events:
            self._events.appendleft(message)
        else:
            self.dropped["events_full"] += 1
        self._filled.set()

    @property
    def waiting(self) -> int:
        """Messages not sent yet."""
        return len(self._due) + len(self._events)
