"""What one pool did with our shares and our connections: counts, all of them metrics, and the few lines they log."""

from collections import Counter
from dataclasses import dataclass, field

import structlog

from shedload.stratum.events import (
    ClientEvent,
    FailureKind,
    LossCause,
    Message,
    NewJob,
    Ready,
    SubmitLost,
    SubmitResult,
    Unusable,
)

UNREACHABLE, NO_ANSWER = "unreachable", "no_answer"
FAILURE_KINDS = (UNREACHABLE, NO_ANSWER, *(kind.value for kind in FailureKind))
"""Every key of `PoolBooks.failures`: no connection, a share and then nothing at all, and what the client found."""
UNSENT = "unsent"
LOSS_CAUSES = (UNSENT, *(cause.value for cause in LossCause))
"""Every key of `PoolBooks.lost`. An unsent share found its connection gone and is not among the submitted ones."""
RECONNECT_OUTCOMES = ("obeyed", "refused", "too_often")
"""Every key of `PoolBooks.reconnects`."""
MESSAGE_EVERY = 60.0
"""Seconds between messages of one pool that we log; a pool could send thousands."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class PoolBooks:
    """One pool's counts since the start; all of them metrics."""

    accepted: int = 0
    accepted_difficulty: float = 0.0
    rejected: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    submitted: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    reconnects: Counter[str] = field(default_factory=Counter)  # asked for by the pool
    unusable: int = 0
    jobs: int = 0
    connected: bool = False
    active: bool = False
    difficulty: float = 0.0
    latency: float | None = None  # seconds from the last share to its answer
    last_failure: str = ""  # empty while it serves us
    last_accepted: float | None = None  # Clock.mono()
    last_message: float | None = None  # Clock.mono()

    def count(self, pool: str, event: ClientEvent, now: float) -> None:
        """Book one event of a connection."""
        match event:
            case Ready():
                self.connected = True
                self.last_failure = ""
            case NewJob(job=job):
                self.jobs += 1
                self.difficulty = float(job.difficulty)
            case SubmitResult():
                self._answered(pool, event, now)
            case SubmitLost(cause=cause):
                self.lost[cause.value] += 1
            case Message(text=text):
                self._message(pool, text, now)
            case Unusable(method=method, reason=reason):
                self.unusable += 1
                if self.unusable == 1:
                    log.warning("pool_unusable", pool=pool, method=method, reason=reason)
            case _:
                pass

    def _answered(self, pool: str, event: SubmitResult, now: float) -> None:
        self.latency = event.seconds
        if event.accepted:
            self.accepted += 1
            self.accepted_difficulty += float(event.job.difficulty)
            self.last_accepted = now
            return
        reason = event.reason.value if event.reason is not None else "other"
        self.rejected[reason] += 1
        if self.rejected[reason] == 1:
            log.warning("share_rejected", pool=pool, reason=reason, text=event.text)

    def _message(self, pool: str, text: str, now: float) -> None:
        if self.last_message is None or now - self.last_message >= MESSAGE_EVERY:
            self.last_message = now
            log.info("pool_message", pool=pool, text=text)
