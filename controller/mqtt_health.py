"""How the link to the broker is doing: for metrics, for status, and for the log, which hears of each cause once.

MqttLink --> MqttHealth --> metrics, status
"""

import structlog

from controller.mqtt_connection import LINK_CAUSES, LinkDown

log = structlog.get_logger(__name__)


class MqttHealth:
    """Counts since the daemon started; `broker` is host and port, for the log."""

    def __init__(self, broker: str) -> None:
        self._broker = broker
        self._logged: set[str] = set()
        self.connected = False
        self.connects = 0
        self.published = 0
        self.unrenderable = 0  # payloads that could not be made JSON
        self.inbox_dropped = 0  # messages that came faster than they were looked at
        self.failures = dict.fromkeys(LINK_CAUSES, 0)
        self.last_failure = ""

    @property
    def reconnects(self) -> int:
        """Connections after the first."""
        return max(0, self.connects - 1)

    def up(self) -> None:
        """A connection was made, our topics are heard and our presence is told."""
        self.connected = True
        self.connects += 1
        self._logged.clear()
        log.info("mqtt_connected", broker=self._broker)

    def ended(self, inbox_dropped: int) -> None:
        """The connection is over, for whatever reason."""
        self.connected = False
        self.inbox_dropped += inbox_dropped

    def failed(self, error: LinkDown) -> None:
        """A connection broke or could not be made; each cause is logged once until the next success."""
        self.failures[error.cause] += 1
        self.last_failure = str(error)
        if error.cause not in self._logged:
            self._logged.add(error.cause)
            log.warning("mqtt_down", broker=self._broker, cause=error.cause, detail=self.last_failure)

    def unrendered(self, topic: str, detail: str) -> None:
        """A payload held something that JSON has no word for: our own mistake."""
        self.unrenderable += 1
        if self.unrenderable == 1:
            log.error("mqtt_payload_unrenderable", topic=topic, detail=detail[:200])
