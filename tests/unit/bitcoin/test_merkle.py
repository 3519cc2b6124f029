"""Merkle roots: recorded jobs, block 100000, and branches against a full tree of every size."""

import pytest

from shedload.bitcoin.header import Header, display, dsha, from_display
from shedload.bitcoin.merkle import branches, root, root_from_branches
from tests.support.vectors import load

# Main-net block 100000: its four transactions, the coinbase first.
TXIDS = [
    from_display(txid)
    for txid in (
        "8c14f0db3df150123e6f3dbbf30f8b955a8249b62ac1d1ff16284aefa3d06d87",
        "fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4",
        "6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4",
        "e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d",
    )
]
HEADER = (
    "0100000050120119172a610421a6c3011dd330d9df07b63616c2cc1f1cd00200000000006657a9252aacd5c0b2940996ecff9522"
    "28c3067cc38d4885efb5a4ac4247e9f337221b4d4c86041b0f2b5710"
)


@pytest.mark.parametrize("vector", load("blocks-and-merkle.json")["merkle"], ids=lambda vector: vector["name"])
def test_roots_of_recorded_jobs(vector: dict) -> None:
    parts = ("coinb1", "extranonce1", "extranonce2", "coinb2")
    coinbase = bytes.fromhex("".join(vector[part] for part in parts))
    found = root_from_branches(coinbase, [bytes.fromhex(branch) for branch in vector["merkle_branch"]])
    assert found.hex() == vector["merkle_root_header_order"]


def test_a_lonely_coinbase_is_the_root() -> None:
    for vector in load("blocks-and-merkle.json")["headers"][:3]:
        assert display(root_from_branches(bytes.fromhex(vector["coinbase"]), [])) == vector["merkle_display"]


class TestBlock100000:
    def test_root_and_header(self) -> None:
        assert root(TXIDS) == Header.unpack(bytes.fromhex(HEADER)).merkle_root
        assert display(root(TXIDS)) == "f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766"

    def test_branches(self) -> None:
        assert [branch.hex() for branch in branches(TXIDS[1:])] == [
            "c40297f730dd7b5a99567eb8d27b78758f607507c52292d02d4031895b52f2ff",
            "49aef42d78e3e9999c9e6ec9e1dddd6cb880bf3b076a03be1318ca789089308e",
        ]

    def test_an_odd_row_repeats_its_last(self) -> None:
        assert [branch.hex() for branch in branches(TXIDS[1:3])] == [
            "c40297f730dd7b5a99567eb8d27b78758f607507c52292d02d4031895b52f2ff",
            "617cd46fbab76d8048d101187d49ec0df9ede92464ed67eae2bd8e59f1423328",
        ]
        assert display(root(TXIDS[:3])) == "fa435470825de273081dcc706b25514c936fa6dc80ab965ce6970d68ddd0b553"


@pytest.mark.parametrize("count", range(1, 40))
def test_branches_lead_to_the_root_of_the_full_tree(count: int) -> None:
    coinbase = b"coinbase"
    others = [dsha(bytes((i,))) for i in range(count - 1)]
    given = list(others)
    assert root_from_branches(coinbase, branches(others)) == root([dsha(coinbase), *others])
    assert others == given


def test_a_block_without_transactions_has_no_root() -> None:
    with pytest.raises(ValueError, match="at least its coinbase"):
        root([])
