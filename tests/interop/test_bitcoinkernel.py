"""Blocks that simulated chips find at a simulated pool in regtest, judged by Bitcoin Core's own consensus code.

The path is the whole one: chip, driver, dispatch, upstream, pool. Each block builds on the one before.
"""

import asyncio
import gc
import hashlib
import time

import pytest

from shedload.bitcoin.header import Header
from simulator.chain import REGTEST_GENESIS
from simulator.pool import FoundBlock
from tests.support.mining import NONCE_DIFFICULTY, make_pool, mine
from tests.support.peers import require_module
from tests.support.virtual import run_virtual

pytestmark = pytest.mark.interop

BLOCKS = 20
"""More than the eleven whose median time a block must pass, and than the sixteen heights that have opcodes."""


class Node:
    """A real node's validation with a chain of its own."""

    def __init__(self, folder):
        self.kernel = require_module("pbk")
        options = self.kernel.ContextOptions()
        options.set_chainparams(self.kernel.ChainParameters(self.kernel.ChainType.REGTEST))
        wanted = self.kernel.ChainstateManagerOptions(
            self.kernel.Context(options), str(folder / "data"), str(folder / "blocks")
        )
        wanted.set_worker_threads_num(0)
        self.chainstate = self.kernel.ChainstateManager(wanted)

    @property
    def chain(self):
        return self.chainstate.get_active_chain()

    def take(self, block):
        return self.chainstate.process_block(self.kernel.Block(block))

    def refuse(self, block):
        with pytest.raises((self.kernel.ProcessBlockException, RuntimeError)):
            self.take(block)

    def close(self):
        """The binding closes files when nothing refers to the chainstate any more."""
        self.chainstate = None
        gc.collect()


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path)
    yield node
    node.close()


@pytest.fixture(scope="module")
def blocks() -> list[FoundBlock]:
    return run_virtual(_mine_blocks, start_wall=time.time() - 3600)


async def _mine_blocks() -> list[FoundBlock]:
    found: list[FoundBlock] = []
    pool = make_pool(network="regtest", difficulty=NONCE_DIFFICULTY)
    pool.on_block = found.append
    async with mine(pool, rigs=2) as site:
        async with asyncio.timeout(600):
            while len(found) < BLOCKS:
                await asyncio.sleep(1)
        assert sum(books.blocks for books in site.dispatch.books.values()) >= BLOCKS
        assert not site.upstream.books["pool"].rejected
    return found[:BLOCKS]


def test_the_pool_begins_at_the_real_genesis_block(node):
    assert bytes(node.chain.block_tree_entries[0].block_hash) == REGTEST_GENESIS


def test_consensus_accepts_every_block_that_the_chips_found(node, blocks):
    for height, found in enumerate(blocks, 1):
        assert node.take(found.block)
        assert node.chain.height == found.height == height
    tip = node.chain.block_tree_entries[BLOCKS]
    assert bytes(tip.block_hash) == Header.unpack(blocks[-1].header).digest


def test_consensus_refuses_what_was_tampered_with(node, blocks):
    first = blocks[0].block
    for spoilt in (_other_payment(first), _without_witness(first), _time_of_genesis(first)):
        node.refuse(spoilt)
    assert node.chain.height == 0
    assert node.take(first)


def test_consensus_refuses_a_hash_that_misses_the_target(node, blocks):
    header = blocks[0].header[:76]
    nonce = next(n for n in range(1000) if _digest(header + n.to_bytes(4, "little"))[-1] >= 0x80)
    node.refuse(header + nonce.to_bytes(4, "little") + blocks[0].block[80:])
    assert node.chain.height == 0


def test_consensus_refuses_a_block_out_of_turn(node, blocks):
    node.refuse(blocks[1].block)
    assert node.chain.height == 0


def _digest(header):
    return hashlib.sha256(hashlib.sha256(header).digest()).digest()


def _other_payment(block):
    """One satoshi more: the merkle root no longer holds."""
    at = block.index((50 * 100_000_000).to_bytes(8, "little"))
    return block[:at] + (50 * 100_000_000 + 1).to_bytes(8, "little") + block[at + 8 :]


def _without_witness(block):
    """The commitment stands and the witness it commits to is missing."""
    transaction = block[81:]
    assert transaction[4:6] == b"\x00\x01"
    return block[:81] + transaction[:4] + transaction[6:-38] + transaction[-4:]


def _time_of_genesis(block):
    """Not younger than the median before it; ground anew, so that only the time is wrong."""
    ntime = (1_296_688_602).to_bytes(4, "little")
    for nonce in range(1000):
        header = block[:68] + ntime + block[72:76] + nonce.to_bytes(4, "little")
        if _digest(header)[-1] < 0x7F:
            return header + block[80:]
    raise AssertionError("no nonce")
