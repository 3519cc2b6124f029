"""A chain that nobody else knows: the tip that simulated pools build on, and the work that extends it.

Without transactions its blocks are what a real node in regtest takes; with some, made up, the merkle path is exercised.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from shedload.bitcoin.coinbase import Coinbase, Output, build_coinbase, commitment_output
from shedload.bitcoin.header import Header, dsha
from shedload.bitcoin.merkle import branches
from shedload.bitcoin.subsidy import subsidy
from shedload.stratum.jobs import Notify

BLOCK_VERSION = 0x2000_0000
MEDIAN_OF = 11
"""A block must be younger than the median of so many before it."""
REGTEST_NBITS = 0x207F_FFFF
"""Easiest target of consensus: nearly every share of a simulated pool is a block."""
REGTEST_GENESIS = bytes.fromhex("06226e46111a0b59caaf126043eb5bbf28c34f3a5e332a1fc7b2b73cf188910f")
"""Hash of regtest's first block, in header order."""


@dataclass(frozen=True, slots=True)
class Template:
    """What the next block must be."""

    height: int
    prevhash: bytes
    ntime: int
    nbits: int
    transactions: tuple[bytes, ...] = ()

    def notify(self, job_id: int, script: bytes, tag: bytes, extranonce_size: int, *, clean: bool) -> Notify:
        """A job on this template; every job id gives another coinbase, so that no two jobs are the same work."""
        coinbase = self._coinbase(job_id, script, tag, extranonce_size)
        return Notify(
            job_id=f"{job_id:08x}",
            prevhash=self.prevhash,
            coinb1=coinbase.coinb1,
            coinb2=coinbase.coinb2,
            branches=branches([dsha(transaction) for transaction in self.transactions]),
            version=BLOCK_VERSION,
            nbits=self.nbits,
            ntime=self.ntime,
            clean=clean,
        )

    def _coinbase(self, job_id: int, script: bytes, tag: bytes, extranonce_size: int) -> Coinbase:
        # Without a witness a transaction's wtxid is its txid.
        commitment = commitment_output([dsha(transaction) for transaction in self.transactions])
        outputs = (Output(subsidy(self.height), script), commitment)
        number = job_id.to_bytes(4, "big")
        return build_coinbase(self.height, outputs, extranonce_size, _push(tag), after=_push(number))


class Chain:
    """The tip, moved by blocks found here and, if asked, elsewhere."""

    def __init__(
        self,
        wall: Callable[[], float],
        rng: random.Random,
        *,
        nbits: int,
        height: int,
        tip: bytes | None = None,
        transactions: int = 0,
    ) -> None:
        self.height = height
        self.tip = tip or _invented(rng)
        self.nbits = nbits
        self._wall = wall
        self._rng = rng
        self._times: deque[int] = deque(maxlen=MEDIAN_OF)
        self._count = transactions
        self._transactions = self._invent_transactions()

    def template(self) -> Template:
        """The next block's template; its time is now, or later where consensus wants it."""
        ntime = int(self._wall())
        if self._times:
            ntime = max(ntime, sorted(self._times)[len(self._times) // 2] + 1)
        return Template(self.height + 1, self.tip, ntime, self.nbits, self._transactions)

    def extend(self, header: bytes) -> None:
        """Build on a block; ValueError where it does not stand on the tip."""
        block = Header.unpack(header)
        if block.prevhash != self.tip:
            raise ValueError("the block does not build on the tip")
        self._advance(block.digest, block.ntime)

    def extend_elsewhere(self) -> None:
        """Somebody else found a block."""
        self._advance(_invented(self._rng), self.template().ntime)

    def _advance(self, digest: bytes, ntime: int) -> None:
        self.tip = digest
        self.height += 1
        self._times.append(ntime)
        self._transactions = self._invent_transactions()

    def _invent_transactions(self) -> tuple[bytes, ...]:
        return tuple(_transaction(self._rng) for _ in range(self._count))


def _invented(rng: random.Random) -> bytes:
    """A hash as blocks have them: zeros at its upper end, which comes last in header order."""
    return rng.randbytes(22) + bytes(10)


def _transaction(rng: random.Random) -> bytes:
    """A payment of an output that never was, in legacy serialisation."""
    script = b"\x00\x14" + rng.randbytes(20)
    spend = rng.randbytes(32) + bytes(4) + b"\x00" + b"\xff" * 4
    return b"\x02\0\0\0\x01" + spend + b"\x01" + Output(rng.randrange(1000, 10**9), script).pack() + bytes(4)


def _push(data: bytes) -> bytes:
    return bytes((len(data),)) + data if data else b""
