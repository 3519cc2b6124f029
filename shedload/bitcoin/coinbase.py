"""Coinbase transactions and whole blocks, for simulated pools: build, split around the extranonce, assemble.

Jobs carry the coinbase in legacy serialisation, because the merkle root is over that one; a block carries it with
the witness that BIP141 asks for where there is a commitment.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from shedload.bitcoin.header import dsha
from shedload.bitcoin.merkle import root

MAX_SCRIPT_SIG = 100
"""Bytes of a coinbase's input script; consensus wants 2 to 100."""

MIN_SCRIPT_SIG = 2

WITNESS_RESERVED = bytes(32)
"""The witness value of every coinbase in the field."""

_COMMITMENT_PREFIX = bytes.fromhex("6a24aa21a9ed")
_VERSION = (2).to_bytes(4, "little")
_INPUT = b"\x01" + bytes(32) + b"\xff" * 4
_SEQUENCE = b"\xff" * 4
_LOCKTIME = bytes(4)


@dataclass(frozen=True, slots=True)
class Output:
    """One payment: satoshi and the script that may spend them."""

    satoshi: int
    script: bytes

    def pack(self) -> bytes:
        """Return its serialisation."""
        return self.satoshi.to_bytes(8, "little") + compact_size(len(self.script)) + self.script


@dataclass(frozen=True, slots=True)
class Coinbase:
    """A coinbase around a gap of `extranonce_size` bytes, legacy serialisation."""

    coinb1: bytes
    coinb2: bytes
    extranonce_size: int

    def assemble(self, extranonce: bytes) -> bytes:
        """Return the transaction with both extranonces in place; ValueError where they do not fill the gap."""
        if len(extranonce) != self.extranonce_size:
            raise ValueError(f"extranonce must be {self.extranonce_size} bytes, not {len(extranonce)}")
        return self.coinb1 + extranonce + self.coinb2


def build_coinbase(
    height: int, outputs: Sequence[Output], extranonce_size: int, tag: bytes = b"", after: bytes = b""
) -> Coinbase:
    """Split coinbase for a height (BIP34): push of the height, `tag`, extranonce, `after`. ValueError if too long."""
    before = height_push(height) + tag
    length = len(before) + extranonce_size + len(after)
    if not MIN_SCRIPT_SIG <= length <= MAX_SCRIPT_SIG:
        raise ValueError(f"input script of {length} bytes; it must be {MIN_SCRIPT_SIG} to {MAX_SCRIPT_SIG}")
    coinb1 = _VERSION + _INPUT + compact_size(length) + before
    packed = b"".join(output.pack() for output in outputs)
    coinb2 = after + _SEQUENCE + compact_size(len(outputs)) + packed + _LOCKTIME
    return Coinbase(coinb1, coinb2, extranonce_size)


def height_push(height: int) -> bytes:
    """Script that pushes the height as BIP34 wants it: OP_n up to 16, else the shortest signed little-endian."""
    if height < 0:
        raise ValueError(f"height {height} is below zero")
    if height == 0:
        return b"\x00"
    if height <= 16:
        return bytes((0x50 + height,))
    number = height.to_bytes(height.bit_length() // 8 + 1, "little")
    return bytes((len(number),)) + number


def compact_size(value: int) -> bytes:
    """Bitcoin's variable-length integer."""
    if value < 0xFD:
        return value.to_bytes(1, "little")
    for prefix, size in ((b"\xfd", 2), (b"\xfe", 4), (b"\xff", 8)):
        if value < 1 << 8 * size:
            return prefix + value.to_bytes(size, "little")
    raise ValueError(f"{value} does not fit a compact size")


def commitment_output(wtxids: Sequence[bytes] = ()) -> Output:
    """Zero-value output that commits to the witnesses (BIP141); `wtxids` of the other transactions, header order."""
    witness_root = root((bytes(32), *wtxids))
    return Output(0, _COMMITMENT_PREFIX + dsha(witness_root + WITNESS_RESERVED))


def with_witness(coinbase: bytes) -> bytes:
    """Turn a legacy coinbase into the form that stands in a block with a commitment."""
    witness = b"\x01\x20" + WITNESS_RESERVED
    return coinbase[:4] + b"\x00\x01" + coinbase[4:-4] + witness + coinbase[-4:]


def assemble_block(header: bytes, coinbase: bytes, transactions: Sequence[bytes] = ()) -> bytes:
    """Return a whole block; `coinbase` in legacy serialisation with a commitment among its outputs."""
    return header + compact_size(1 + len(transactions)) + with_witness(coinbase) + b"".join(transactions)
