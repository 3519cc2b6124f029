"""Merkle roots: from a job's branches (miner's side) and from transaction ids (pool's side). All in header order."""

from collections.abc import Iterable, Sequence

from shedload.bitcoin.header import dsha


def root_from_branches(coinbase: bytes, branches: Iterable[bytes]) -> bytes:
    """Root of the block that a coinbase (legacy serialisation) belongs to; branches as mining.notify sends them."""
    digest = dsha(coinbase)
    for branch in branches:
        digest = dsha(digest + branch)
    return digest


def branches(txids: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return what mining.notify needs to know of the other transactions; `txids` without the coinbase's."""
    level = list(txids)
    found: list[bytes] = []
    # `level` is a row of the tree without its first node, which depends on the coinbase.
    while level:
        found.append(level[0])
        if not len(level) % 2:
            level.append(level[-1])
        level = [dsha(level[i] + level[i + 1]) for i in range(1, len(level), 2)]
    return tuple(found)


def root(txids: Sequence[bytes]) -> bytes:
    """Root over all transaction ids, the coinbase's first; ValueError where there are none."""
    if not txids:
        raise ValueError("a block has at least its coinbase")
    level = list(txids)
    while len(level) > 1:
        if len(level) % 2:
            level.append(level[-1])
        level = [dsha(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
    return level[0]
