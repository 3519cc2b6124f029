"""Jobs: what mining.notify said, the session it was said in, and which of them still count.

    mining.notify --parse_notify--> Notify --(extranonce, difficulty, mask of the session)--> Job --> JobTable

A `Notify` is the same for every rig behind a pool; a `Job` belongs to one connection and keeps the difficulty and
the extranonce that were in force when it was sent, because its shares are judged by those and by no later ones.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from shedload.bitcoin.header import Header, swap_words
from shedload.bitcoin.merkle import root_from_branches
from shedload.bitcoin.target import Difficulty, target_of_difficulty, target_of_nbits
from shedload.stratum.messages import encode_notification, is_int, parse_hex, parse_hex32

MAX_JOB_ID = 128
"""Characters; pools use up to about 40, and a submit must fit into 1000 bytes."""

MAX_BRANCHES = 32
"""More would mean over 2^32 transactions; ESP-Miner stops at 32 as well."""

MAX_COINBASE = 24 * 1024
"""Bytes of coinb1 and coinb2 together; the largest seen in the field are 16 KiB."""

MAX_EXTRANONCE = 32
"""Bytes of extranonce1, and of extranonce2; together they must fit a 100-byte scriptSig."""

MAX_JOBS = 256
"""Jobs remembered per connection: DATUM's ring; at one notify a second still four minutes."""

VERSION_ROLLING_MASK = 0x1FFF_E000
"""BIP320: the 16 bits that V1 pools in the field let a miner roll."""


class JobState(StrEnum):
    """ACTIVE: work on this. PAST: superseded, same block, shares still paid. STALE: its block is over."""

    ACTIVE = "active"
    PAST = "past"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Notify:
    """The content of one mining.notify; digests in header order, numbers as integers."""

    job_id: str
    prevhash: bytes
    coinb1: bytes
    coinb2: bytes
    branches: tuple[bytes, ...]
    version: int
    nbits: int
    ntime: int
    clean: bool

    def params(self) -> list[Any]:
        """Return the nine parameters of mining.notify, every field padded to its full width."""
        return [
            self.job_id,
            swap_words(self.prevhash).hex(),
            self.coinb1.hex(),
            self.coinb2.hex(),
            [branch.hex() for branch in self.branches],
            f"{self.version:08x}",
            f"{self.nbits:08x}",
            f"{self.ntime:08x}",
            self.clean,
        ]


@dataclass(frozen=True, slots=True)
class Job:
    """One notify within one session; `serial` is unique per connection, the pool's job id need not be."""

    serial: int
    notify: Notify
    extranonce1: bytes
    extranonce2_size: int
    difficulty: Difficulty
    version_mask: int = 0

    @property
    def id(self) -> str:
        """The pool's name for it."""
        return self.notify.job_id

    @property
    def target(self) -> int:
        """Largest hash that is a share."""
        return target_of_difficulty(self.difficulty)

    @property
    def network_target(self) -> int:
        """Largest hash that is a block."""
        return target_of_nbits(self.notify.nbits)

    @property
    def rollable(self) -> int:
        """Version bits a miner may set: none at all where the pool's own version has bits inside the mask."""
        return 0 if self.notify.version & self.version_mask else self.version_mask

    def version(self, version_bits: int) -> int:
        """Version of the header for rolled bits; pools that OR, XOR or replace agree, as `rollable` is clear in it."""
        return self.notify.version | (version_bits & self.rollable)

    def merkle_root(self, extranonce2: bytes) -> bytes:
        """Root of the block whose coinbase carries this extranonce2."""
        coinbase = self.notify.coinb1 + self.extranonce1 + extranonce2 + self.notify.coinb2
        return root_from_branches(coinbase, self.notify.branches)

    def same_work_as(self, other: "Job") -> bool:
        """True where both search the same headers: restarting extranonce2 would find the same shares again."""
        mine = (replace(self.notify, job_id="", clean=False), self.extranonce1, self.extranonce2_size)
        return mine == (replace(other.notify, job_id="", clean=False), other.extranonce1, other.extranonce2_size)


def build_header(job: Job, extranonce2: bytes, ntime: int, nonce: int, version_bits: int = 0) -> bytes:
    """Return the 80 bytes that are hashed for one point of the job's search space."""
    notify = job.notify
    return Header(
        version=job.version(version_bits),
        prevhash=notify.prevhash,
        merkle_root=job.merkle_root(extranonce2),
        ntime=ntime,
        nbits=notify.nbits,
        nonce=nonce,
    ).pack()


def parse_notify(params: Sequence[Any] | None) -> Notify:
    """Read the parameters of mining.notify; ValueError says which field is wrong. Short hex numbers are accepted."""
    if params is None or len(params) < 9:
        raise ValueError("fewer than nine parameters")
    job_id, prevhash, coinb1, coinb2, branches, version, nbits, ntime, clean = params[:9]
    notify = Notify(
        job_id=_job_id(job_id),
        prevhash=swap_words(_digest("prevhash", prevhash)),
        coinb1=_hex("coinb1", coinb1),
        coinb2=_hex("coinb2", coinb2),
        branches=_branches(branches),
        version=_number("version", version),
        nbits=_number("nbits", nbits),
        ntime=_number("ntime", ntime),
        clean=_flag(clean),
    )
    if not notify.coinb1 or len(notify.coinb1) + len(notify.coinb2) > MAX_COINBASE:
        raise ValueError(f"coinbase of {len(notify.coinb1)} + {len(notify.coinb2)} bytes")
    target_of_nbits(notify.nbits)
    return notify


def encode_notify(notify: Notify) -> bytes:
    """Build the line that carries it; the same for every rig."""
    return encode_notification("mining.notify", notify.params())


class JobTable:
    """Jobs of one connection by state; bounded, oldest forgotten first."""

    def __init__(self, limit: int = MAX_JOBS) -> None:
        self._limit = limit
        self._states: OrderedDict[int, JobState] = OrderedDict()
        self._jobs: dict[int, Job] = {}
        self._by_id: dict[str, int] = {}
        self.active: Job | None = None

    def add(self, job: Job) -> bool:
        """Make it the active job. True where it ended the work before it: clean, or a new block."""
        previous = self.active
        clean = job.notify.clean or previous is None or previous.notify.prevhash != job.notify.prevhash
        if clean:
            self._states = OrderedDict.fromkeys(self._states, JobState.STALE)
        elif previous is not None:
            self._states[previous.serial] = JobState.PAST
        self._states[job.serial] = JobState.ACTIVE
        self._jobs[job.serial] = job
        self._by_id[job.id] = job.serial
        self.active = job
        while len(self._states) > self._limit:
            self._forget(next(iter(self._states)))
        return clean

    def find(self, job_id: str) -> Job | None:
        """Return the latest job of that id."""
        serial = self._by_id.get(job_id)
        return None if serial is None else self._jobs[serial]

    def state(self, job: Job) -> JobState | None:
        """State of a job; None where it is no longer remembered."""
        return self._states.get(job.serial)

    def abandon(self) -> None:
        """Make every job stale: the work is withdrawn and nothing stands in its place."""
        self._states = OrderedDict.fromkeys(self._states, JobState.STALE)
        self.active = None

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def __len__(self) -> int:
        return len(self._states)

    def _forget(self, serial: int) -> None:
        del self._states[serial]
        job = self._jobs.pop(serial)
        if self._by_id.get(job.id) == serial:
            del self._by_id[job.id]


class Extranonce2Counter:
    """Hands out extranonce2 values of one job, little-endian, `step` apart so that several chips share the space."""

    def __init__(self, size: int, start: int = 0, step: int = 1) -> None:
        self._size = size
        self._next = start
        self._step = step

    def take(self) -> bytes | None:
        """Return the next value; None when the space is used up."""
        if self._next >= 1 << (8 * self._size):
            return None
        value = self._next.to_bytes(self._size, "little")
        self._next += self._step
        return value


def _job_id(value: Any) -> str:
    if is_int(value):
        value = str(value)
    if not isinstance(value, str) or len(value) > MAX_JOB_ID:
        raise ValueError(f"job id is no text of up to {MAX_JOB_ID} characters")
    return value


def _digest(name: str, value: Any) -> bytes:
    digest = _hex(name, value, 32)
    if len(digest) != 32:
        raise ValueError(f"{name} of {len(digest)} bytes")
    return digest


def _branches(value: Any) -> tuple[bytes, ...]:
    if not isinstance(value, list) or len(value) > MAX_BRANCHES:
        raise ValueError(f"branches are no list of up to {MAX_BRANCHES}")
    return tuple(_digest("branch", branch) for branch in value)


def _hex(name: str, value: Any, limit: int = MAX_COINBASE) -> bytes:
    try:
        return parse_hex(value, limit)
    except ValueError as error:
        raise ValueError(f"{name} is {error}") from None


def _number(name: str, value: Any) -> int:
    try:
        return parse_hex32(value, padded=False)
    except ValueError as error:
        raise ValueError(f"{name} is {error}") from None


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if is_int(value) and value in {0, 1}:
        return bool(value)
    raise ValueError("clean_jobs is no boolean")
