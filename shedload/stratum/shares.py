"""Shares: judged here before anyone else hears of them, and counted twice, as judged and as the pool answered.

The order of checks is DATUM's, ckpool's and SRI's put together. A hash that meets the network's target is a block
whatever the verdict says, so that no block is thrown away for being late or easy.
"""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from shedload.bitcoin.header import dsha
from shedload.bitcoin.target import difficulty_of_hash
from shedload.stratum.jobs import MAX_EXTRANONCE, MAX_JOB_ID, Job, JobState, build_header
from shedload.stratum.messages import RejectReason, is_int, parse_hex, parse_hex32

NTIME_FORWARD = 7000
"""Seconds a miner may roll ntime ahead of the job's: ckpool's window, inside consensus' two hours."""

MAX_WORKER = 255
"""Characters of a worker name; 255 of them still let a submit fit into 1000 bytes."""

MAX_SEEN = 4096
"""Shares remembered against duplicates: at 6 a minute over eleven hours, and only genuine work gets in."""


class Verdict(StrEnum):
    """Our judgement of one share; closed, fit for a metric's label."""

    ACCEPTED = "accepted"
    MALFORMED = "malformed"
    NOT_SUBSCRIBED = "not_subscribed"
    UNAUTHORIZED = "unauthorized"
    JOB_NOT_FOUND = "job_not_found"
    BAD_EXTRANONCE2 = "bad_extranonce2"
    BAD_VERSION = "bad_version"
    BAD_NTIME = "bad_ntime"
    LOW_DIFFICULTY = "low_difficulty"
    DUPLICATE = "duplicate"
    STALE = "stale"


ERROR_OF_VERDICT: dict[Verdict, tuple[int, str]] = {
    Verdict.MALFORMED: (20, "Malformed share"),
    Verdict.NOT_SUBSCRIBED: (25, "Not subscribed"),
    Verdict.UNAUTHORIZED: (24, "Unauthorized worker"),
    Verdict.JOB_NOT_FOUND: (21, "Job not found"),
    Verdict.BAD_EXTRANONCE2: (20, "Invalid nonce2 length"),
    Verdict.BAD_VERSION: (23, "bad-version"),
    Verdict.BAD_NTIME: (21, "Ntime out of range"),
    Verdict.LOW_DIFFICULTY: (23, "Difficulty too low"),
    Verdict.DUPLICATE: (22, "Duplicate share"),
    Verdict.STALE: (21, "Stale"),
}
"""What the field's pools answer for each refusal."""


@dataclass(frozen=True, slots=True)
class Share:
    """One point of a job's search space. `version_bits` is None where the miner does not roll the version."""

    extranonce2: bytes
    ntime: int
    nonce: int
    version_bits: int | None = None


@dataclass(frozen=True, slots=True)
class Submit:
    """The content of one mining.submit."""

    worker: str
    job_id: str
    share: Share

    def params(self) -> list[Any]:
        """Return the five parameters, or six with version bits."""
        share = self.share
        params = [self.worker, self.job_id, share.extranonce2.hex(), f"{share.ntime:08x}", f"{share.nonce:08x}"]
        return params if share.version_bits is None else [*params, f"{share.version_bits:08x}"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of a share. `difficulty`, `header` and `digest` are None where it was refused unhashed.

    `is_block` may be true of a share that is not accepted: submit the block all the same. `state` tells a late share
    on the same block (PAST) from one on an old block (STALE).
    """

    verdict: Verdict
    state: JobState | None = None
    difficulty: float | None = None
    is_block: bool = False
    header: bytes | None = None
    digest: bytes | None = None

    @property
    def accepted(self) -> bool:
        """True for the one verdict that is paid."""
        return self.verdict is Verdict.ACCEPTED


class SeenShares:
    """Digests of accepted shares, bounded; hand it to the next connection when a session is resumed."""

    def __init__(self, limit: int = MAX_SEEN) -> None:
        self._limit = limit
        self._digests: OrderedDict[bytes, None] = OrderedDict()

    def add(self, digest: bytes) -> bool:
        """Remember a digest; False where it was here already."""
        if digest in self._digests:
            return False
        self._digests[digest] = None
        if len(self._digests) > self._limit:
            self._digests.popitem(last=False)
        return True

    def __len__(self) -> int:
        return len(self._digests)


def judge(
    job: Job,
    share: Share,
    seen: SeenShares,
    *,
    state: JobState | None = JobState.ACTIVE,
    target: int | None = None,
    accept_stale: bool = False,
    ntime_forward: int = NTIME_FORWARD,
) -> Judgement:
    """Judge a share of a known job. `target` overrides the job's; `accept_stale` is the grace after a new block."""
    if len(share.extranonce2) != job.extranonce2_size:
        return Judgement(Verdict.BAD_EXTRANONCE2, state)
    bits = share.version_bits or 0
    if bits & ~job.rollable:
        return Judgement(Verdict.BAD_VERSION, state)
    header = build_header(job, share.extranonce2, share.ntime, share.nonce, bits)
    digest = dsha(header)
    value = int.from_bytes(digest, "little")
    if not 0 <= share.ntime - job.notify.ntime <= ntime_forward:
        verdict = Verdict.BAD_NTIME
    elif value > (job.target if target is None else target):
        verdict = Verdict.LOW_DIFFICULTY
    elif not seen.add(digest):
        verdict = Verdict.DUPLICATE
    elif state in {None, JobState.STALE} and not accept_stale:
        verdict = Verdict.STALE
    else:
        verdict = Verdict.ACCEPTED
    is_block = value <= job.network_target
    return Judgement(verdict, state, difficulty_of_hash(digest), is_block, header, digest)


def parse_submit(params: Sequence[Any] | None) -> Submit:
    """Read the parameters of mining.submit; ValueError says which field is wrong. Hex numbers must have 8 digits."""
    if params is None or not 5 <= len(params) <= 6:
        raise ValueError("not five or six parameters")
    worker, job_id, extranonce2, ntime, nonce = params[:5]
    if not isinstance(worker, str) or len(worker) > MAX_WORKER:
        raise ValueError("worker is no short text")
    if is_int(job_id):
        job_id = str(job_id)
    if not isinstance(job_id, str) or len(job_id) > MAX_JOB_ID:
        raise ValueError("job id is no short text")
    bits = None if len(params) == 5 or params[5] is None else parse_hex32(params[5])
    share = Share(parse_hex(extranonce2, MAX_EXTRANONCE), parse_hex32(ntime), parse_hex32(nonce), bits)
    return Submit(worker, job_id, share)


@dataclass(slots=True)
class ShareBook:
    """Two columns that should agree: what we judged and what the pool acknowledged. Difficulty is the job's."""

    judged: Counter[Verdict] = field(default_factory=Counter)
    judged_difficulty: float = 0.0
    submitted: int = 0
    acknowledged: int = 0
    acknowledged_difficulty: float = 0.0
    refused: Counter[RejectReason] = field(default_factory=Counter)
    lost: int = 0

    def count_judged(self, verdict: Verdict, difficulty: float) -> None:
        """Record our own verdict on a share of a job of this difficulty."""
        self.judged[verdict] += 1
        if verdict is Verdict.ACCEPTED:
            self.judged_difficulty += difficulty

    def count_submitted(self) -> None:
        """Record that a share went to the pool."""
        self.submitted += 1

    def count_acknowledged(self, difficulty: float) -> None:
        """Record that the pool accepted."""
        self.acknowledged += 1
        self.acknowledged_difficulty += difficulty

    def count_refused(self, reason: RejectReason) -> None:
        """Record that the pool refused."""
        self.refused[reason] += 1

    def count_lost(self) -> None:
        """Record that no answer came: neither accepted nor refused."""
        self.lost += 1

    @property
    def unanswered(self) -> int:
        """Shares whose answer may still come."""
        return self.submitted - self.acknowledged - self.refused.total() - self.lost
