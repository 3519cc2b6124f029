"""What the two state machines tell their owner. Values only; texts from peers are bounded and printable."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from shedload.bitcoin.target import Difficulty
from shedload.stratum.jobs import Job
from shedload.stratum.messages import RejectReason, RequestId
from shedload.stratum.shares import Judgement, Share, Submit


class FailureKind(StrEnum):
    """Why a connection is of no more use; closed, fit for a metric's label."""

    CLOSED = "closed"
    SILENCE = "silence"
    HANDSHAKE_TIMEOUT = "handshake_timeout"
    SUBSCRIBE_REFUSED = "subscribe_refused"
    UNAUTHORIZED = "unauthorized"
    PROTOCOL = "protocol"
    OVERRUN = "overrun"
    FLOOD = "flood"
    WRONG_PROTOCOL = "wrong_protocol"
    INVALID_SHARES = "invalid_shares"
    FULL = "full"


class LossCause(StrEnum):
    """Why a share's answer is unknown: none came in time, the connection broke, or too many were waiting."""

    TIMEOUT = "timeout"
    DISCONNECTED = "disconnected"
    CROWDED_OUT = "crowded_out"


@dataclass(frozen=True, slots=True)
class Failed:
    """The last event of a connection: send what is left, close, and make a new machine for the next try."""

    kind: FailureKind
    reason: str


@dataclass(frozen=True, slots=True)
class Ready:
    """Subscribed and authorized. `resumed`: extranonce1 is the previous one, so unanswered shares may go out again."""

    extranonce1: bytes
    extranonce2_size: int
    session_id: str | None
    version_mask: int
    resumed: bool


@dataclass(frozen=True, slots=True)
class NewJob:
    """Work on this. `clean`: drop everything before it. `same_work`: keep counting extranonce2, do not restart it."""

    job: Job
    clean: bool
    same_work: bool


@dataclass(frozen=True, slots=True)
class DifficultyChanged:
    """Jobs that come after this are judged by it."""

    difficulty: Difficulty


@dataclass(frozen=True, slots=True)
class ExtranonceChanged:
    """Jobs that come after this carry it; earlier jobs keep their own."""

    extranonce1: bytes
    extranonce2_size: int


@dataclass(frozen=True, slots=True)
class VersionMaskChanged:
    """Bits that may be rolled from now on, also of jobs already held: roll within `job.rollable & mask`."""

    mask: int


@dataclass(frozen=True, slots=True)
class SubmitResult:
    """The pool's answer to the share of `token`, `seconds` after it was sent."""

    token: int
    accepted: bool
    reason: RejectReason | None
    text: str
    job: Job
    share: Share
    seconds: float


@dataclass(frozen=True, slots=True)
class SubmitLost:
    """No answer will be matched to this share: neither accepted nor refused."""

    token: int
    cause: LossCause
    job: Job
    share: Share


@dataclass(frozen=True, slots=True)
class ReconnectAsked:
    """The pool asks to be dialled again, elsewhere perhaps; obey only where `allowed`, and keep TLS as it was.

    `port` None means the port in use. `why` says what the rule found.
    """

    host: str
    port: int | None
    wait: float
    allowed: bool
    why: str


@dataclass(frozen=True, slots=True)
class Message:
    """Text a pool wants a person to read."""

    text: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """The pool said something well-formed and senseless; it was ignored."""

    method: str
    reason: str


ClientEvent = (
    Ready
    | NewJob
    | DifficultyChanged
    | ExtranonceChanged
    | VersionMaskChanged
    | SubmitResult
    | SubmitLost
    | ReconnectAsked
    | Message
    | Unusable
    | Failed
)


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A rig subscribed and has its extranonce."""

    user_agent: str
    extranonce1: bytes
    extranonce2_size: int


@dataclass(frozen=True, slots=True)
class Authorized:
    """A worker was let in. `minimum_difficulty` is what its password asks for (`d=`, `diff=`, `md=`)."""

    worker: str
    minimum_difficulty: Difficulty | None


@dataclass(frozen=True, slots=True)
class Joined:
    """Subscribed and authorized: now send a job."""

    worker: str


@dataclass(frozen=True, slots=True)
class MaskAgreed:
    """The rig will roll these version bits."""

    mask: int


@dataclass(frozen=True, slots=True)
class DifficultySuggested:
    """The rig would like this difficulty; nothing obliges."""

    difficulty: Difficulty


@dataclass(frozen=True, slots=True)
class ShareJudged:
    """A share came in and was judged. `submit` is None where it was malformed, `job` where its id is unknown."""

    request_id: RequestId | None
    submit: Submit | None
    job: Job | None
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class JobWanted:
    """The rig has sent only invalid shares for a minute: a fresh clean job may cure it."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The rig answered a request of ours (client.get_version)."""

    result: Any


ServerEvent = (
    Subscribed | Authorized | Joined | MaskAgreed | DifficultySuggested | ShareJudged | JobWanted | Answered | Failed
)
