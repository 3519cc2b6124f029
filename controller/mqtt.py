"""Tells an MQTT broker how the site is doing, and hears a meter and prices from it. No command is taken here.

    state(), groups(), event() --> Outbox --the one publisher--> Connection --> broker
    broker --> Connection --> inputs (MeterInput, PriceInput)

A broker that is away, slow or frozen delays nothing: whoever has something to say leaves it in the outbox and goes on.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import aiomqtt
import orjson
import structlog

from controller.clock import Clock
from controller.mqtt_connection import (
    AT_LEAST_ONCE,
    Broker,
    Connection,
    LinkDown,
    Patience,
    open_connection,
)
from controller.mqtt_health import MqttHealth
from controller.mqtt_inputs import Input
from controller.mqtt_outbox import Outbox
from controller.mqtt_topics import Topics
from controller.settings import MqttSettings
from shedload.errors import ConfigError

STATE_EVERY, GROUPS_EVERY = 5.0, 15.0
"""Mono seconds between two publications without a change."""
AT_MOST_EVERY = 0.5
"""Mono seconds between two publications however often something changes."""
STEADY = 60.0
"""Mono seconds after which a connection counts as good and the next failure starts from the shortest wait again."""
ONLINE, OFFLINE = b"online", b"offline"

log = structlog.get_logger(__name__)


class MqttLink:
    """The site's end of MQTT. Everything but `run` returns at once."""

    def __init__(
        self,
        settings: MqttSettings,
        site: str,
        clock: Clock,
        *,
        state: Callable[[], Mapping[str, Any]],
        groups: Callable[[], Mapping[str, Mapping[str, Any]]] = dict,
        inputs: Sequence[Input] = (),
        patience: Patience | None = None,
    ) -> None:
        self._settings = settings
        self._topics = Topics(settings.root, site)
        # Always the same identity: then a new connection ends our own half-open one, and with it its belated last will.
        self._client_id = settings.client_id or f"shedload-{site}"
        self._clock = clock
        self._state = state
        self._groups = groups
        self.inputs = tuple(inputs)
        self._patience = patience or Patience()
        self._outbox = Outbox()
        self._changed = asyncio.Event()
        self.health = MqttHealth(f"{settings.host}:{settings.broker_port}")

    def changed(self) -> None:
        """Something in the state changed that should not wait for the next round."""
        self._changed.set()

    def publish_state(self, payload: Mapping[str, Any]) -> None:
        """Replace the site's state."""
        self._put(self._topics.state, payload)

    def publish_group(self, group: str, payload: Mapping[str, Any]) -> None:
        """Replace a group's state."""
        self._put(self._topics.group(group), payload)

    def event(self, kind: str, payload: Mapping[str, Any]) -> None:
        """Tell of something that happened; kept, up to a bound, while the broker is away."""
        topic = self._topics.event(kind)
        body = self._render(topic, payload)
        if body is not None:
            self._outbox.event(topic, body)

    @property
    def dropped(self) -> dict[str, int]:
        """Messages that were not sent, by cause."""
        return {**self._outbox.dropped, "unrenderable": self.health.unrenderable}

    @property
    def waiting(self) -> int:
        """Messages not sent yet."""
        return self._outbox.waiting

    async def run(self) -> None:
        """Keep telling and hearing, for as long as the daemon runs; says offline when it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell(), name="mqtt-tell")
            tasks.create_task(self._keep_connected(), name="mqtt-connect")

    async def _tell(self) -> None:
        """Leave the state in the outbox, again and again."""
        groups_due = self._clock.mono()
        while True:
            changed = self._changed.is_set()
            self._changed.clear()
            self.publish_state(self._state())
            if changed or self._clock.mono() >= groups_due:
                groups_due = self._clock.mono() + GROUPS_EVERY
                for group, payload in self._groups().items():
                    self.publish_group(group, payload)
            await asyncio.sleep(AT_MOST_EVERY)
            try:
                async with asyncio.timeout(STATE_EVERY - AT_MOST_EVERY):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _keep_connected(self) -> None:
        failures = 0
        while True:
            started = self._clock.mono()
            try:
                await self._session()
            except LinkDown as error:
                failures = 0 if self._clock.mono() - started > STEADY else failures
                self.health.failed(error)
            await asyncio.sleep(self._wait(failures))
            failures += 1

    async def _session(self) -> None:
        """One connection from hello to its end. Raises LinkDown."""
        will = aiomqtt.Will(self._topics.status, OFFLINE, AT_LEAST_ONCE, retain=True)
        async with open_connection(self._broker(), will, self._patience) as connection:
            try:
                await connection.listen([source.topic for source in self.inputs])
                await connection.send(self._topics.status, ONLINE, retained=True)
                self.health.up()
                self._outbox.everything_again()
                await _until_one_ends(self._publish(connection), self._hear(connection))
            except asyncio.CancelledError:
                await self._farewell(connection)
                raise
            finally:
                self.health.ended(connection.inbox_dropped)

    async def _publish(self, connection: Connection) -> None:
        while True:
            message = await self._outbox.take()
            try:
                await connection.send(message.topic, message.payload, retained=message.retained)
            except (LinkDown, asyncio.CancelledError):
                self._outbox.put_back(message)
                raise
            self.health.published += 1

    async def _hear(self, connection: Connection) -> None:
        by_topic = {source.topic: source for source in self.inputs}
        async for message in connection.hear():
            if (source := by_topic.get(message.topic)) is not None:
                source.heard(message.payload, message.retained)

    async def _farewell(self, connection: Connection) -> None:
        """An orderly disconnect takes the last will back, so we say it ourselves."""
        try:
            async with asyncio.timeout(self._patience.close):
                await connection.send(self._topics.status, OFFLINE, retained=True)
        except (LinkDown, TimeoutError):
            log.warning("mqtt_farewell_unheard")

    def _broker(self) -> Broker:
        """Where to connect; the password file is read anew, so that a changed password needs no restart."""
        settings = self._settings
        try:
            password = settings.secret()
        except ConfigError as error:
            raise LinkDown("credential", str(error)) from None
        return Broker(
            settings.host,
            settings.broker_port,
            self._client_id,
            settings.keepalive_s,
            settings.user,
            password,
            settings.tls,
            settings.ca_file,
        )

    def _wait(self, failures: int) -> float:
        """Full jitter: a farm's clients must not all come back in the same second."""
        first, longest = self._patience.retry_first, self._patience.retry_max
        return random.uniform(first, min(longest, first * 2.0 ** min(failures + 1, 16)))

    def _put(self, topic: str, payload: Mapping[str, Any]) -> None:
        body = self._render(topic, payload)
        if body is not None:
            self._outbox.put(topic, body)

    def _render(self, topic: str, payload: Mapping[str, Any]) -> bytes | None:
        now = self._clock.wall()
        try:
            return orjson.dumps({"ts": _timestamp(now), **payload}, option=orjson.OPT_UTC_Z)
        except TypeError as error:
            self.health.unrendered(topic, str(error))
            return None


def _timestamp(now: datetime) -> str:
    return now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def _until_one_ends(*works: Coroutine[Any, Any, None]) -> None:
    """Run side by side; the first to end ends all, and its error is raised.

    Not a TaskGroup: one that fails in the moment it is cancelled forgets the cancellation (Python 3.11).
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended:
        task.result()
