"""[pool]: what a simulated pool is like, and what it can do wrong."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from shedload.bitcoin.target import target_of_nbits
from shedload.stratum.jobs import VERSION_ROLLING_MASK
from simulator.chain import REGTEST_NBITS
from simulator.effort import NONCE_DIFFICULTY
from simulator.tables import NotNegative, Port, Positive, Table

MAINNET_LIKE_NBITS = 0x1B04_04CB
"""Difficulty 16,307: a block is rare for any simulated chip."""


class PoolFault(StrEnum):
    """What a pool can do wrong on purpose; several may be on."""

    REFUSE = "refuse"  # does not listen
    SILENT = "silent"  # accepts connections and never says a word
    STALL = "stall"  # connections stay open: no more jobs, no more answers
    DROP = "drop"  # hangs up, now and on everyone who comes
    RECONNECT = "reconnect"  # asks everyone to dial again
    REDIRECT = "redirect"  # asks everyone to dial another host
    REJECT_ALL = "reject_all"  # refuses every share
    SLOW = "slow"  # answers after slow_s
    GARBAGE = "garbage"  # says nothing that means anything
    ENDLESS = "endless"  # a line that never ends
    ABSURD = "absurd"  # jobs that cannot be, difficulties that are none


class Outage(Table):
    """[[pool.outages]]: a fault for a while; plant seconds since the start."""

    fault: PoolFault
    at_s: NotNegative = 0.0
    for_s: Positive | None = None


class PoolTable(Table):
    """One pool. Seconds are the wall's, never scaled: Stratum is I/O."""

    name: str = "pool"
    address: str = "127.0.0.1"
    port: Port = 0
    difficulty: Positive = NONCE_DIFFICULTY  # that a rig starts with; below 1 is allowed
    minimum_difficulty: Positive = 1e-8
    maximum_difficulty: Positive | None = None
    vardiff: bool = True
    network: Annotated[str, Field(pattern="^(invented|regtest)$")] = "invented"
    nbits: Annotated[str, Field(pattern="^[0-9a-f]{8}$")] | None = None
    height: Annotated[int, Field(ge=0)] | None = None  # of the block that the first job builds on
    transactions: Annotated[int, Field(ge=0, le=4000)] = 3  # made up, in each block; a regtest block has none
    block_s: Positive | None = 600.0  # somebody else finds a block so often; regtest: never
    job_s: Positive = 30.0
    extranonce2_size: Annotated[int, Field(ge=2, le=8)] = 8
    version_mask: Annotated[int, Field(ge=0, le=0xFFFF_FFFF)] = VERSION_ROLLING_MASK
    payout_script: Annotated[str, Field(pattern="^([0-9a-f]{2})+$")] = "51"  # anyone may spend: there is nothing
    tag: str = "/shedload simulated/"
    latency_s: NotNegative = 0.0
    slow_s: Positive = 5.0
    fault: PoolFault | None = None
    outages: tuple[Outage, ...] = ()

    @model_validator(mode="after")
    def _sound(self) -> "PoolTable":
        target_of_nbits(self.network_nbits)
        if len(self.tag.encode()) > 40:
            raise ValueError("tag is longer than 40 bytes, which a coinbase has no room for")
        if self.maximum_difficulty is not None and self.maximum_difficulty < self.minimum_difficulty:
            raise ValueError("maximum_difficulty is below minimum_difficulty")
        return self

    @property
    def regtest(self) -> bool:
        """Every share is a block, and the chain is one that a real node takes."""
        return self.network == "regtest"

    @property
    def network_nbits(self) -> int:
        """The chain's target, compact."""
        return int(self.nbits, 16) if self.nbits else REGTEST_NBITS if self.regtest else MAINNET_LIKE_NBITS
