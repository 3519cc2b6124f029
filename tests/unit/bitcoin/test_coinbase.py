"""Coinbases and whole blocks, for pools that never existed."""

import pytest

from shedload.bitcoin.coinbase import (
    Output,
    assemble_block,
    build_coinbase,
    commitment_output,
    compact_size,
    height_push,
    with_witness,
)
from shedload.bitcoin.header import Header, display, dsha
from shedload.bitcoin.merkle import root
from tests.support.vectors import load

PUSHES = {
    1: "51", 16: "60", 17: "0111", 127: "017f", 128: "028000", 255: "02ff00", 256: "020001", 32767: "02ff7f",
    32768: "03008000", 881423: "030f730d", 900000: "03a0bb0d", 1050000: "03900510", 8388608: "0400008000",
}  # fmt: skip
EMPTY_COMMITMENT = "e2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9"
PAYOUT = Output(312_500_000, bytes.fromhex("0014" + "c6" * 20))


@pytest.mark.parametrize("height", PUSHES)
def test_height_push(height: int) -> None:
    assert height_push(height).hex() == PUSHES[height]


def test_height_push_at_the_ends() -> None:
    assert height_push(0) == b"\x00"
    with pytest.raises(ValueError, match="below zero"):
        height_push(-1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "00"), (252, "fc"), (253, "fdfd00"), (65535, "fdffff"), (65536, "fe00000100"),
        (2**32 - 1, "feffffffff"), (2**32, "ff0000000001000000"),
    ],
)  # fmt: skip
def test_compact_size(value: int, expected: str) -> None:
    assert compact_size(value).hex() == expected


def test_compact_size_has_an_end() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        compact_size(1 << 64)


def test_the_split_of_block_881423_rebuilt() -> None:
    vector = load("stratum.json")["block_881423"]
    coinb1, coinb2 = (bytes.fromhex(vector["notify"][i]) for i in (2, 3))
    outputs = (
        Output(0x12C0AA75, bytes.fromhex("0014c64b1b9283ba1ea86bb9e7b696b0c8f68dad0400")),
        Output(0, bytes.fromhex("6a24aa21a9edb395560ab72068c2afb1d7e6c7db26b813482089d2c4d2471b9036c5e8261406")),
    )
    tag = bytes.fromhex("000469c19a6704830cee220c")
    after = coinb2[: coinb2.index(b"\xff\xff\xff\xff")]
    built = build_coinbase(881_423, outputs, 12, tag, after)
    # ckpool's coinbase has transaction version 1 where ours has 2: nothing else may differ.
    assert built.coinb1 == b"\x02" + coinb1[1:]
    assert built.coinb2 == coinb2
    coinbase = b"\x01" + built.assemble(bytes.fromhex(vector["extranonce1"] + vector["submit"][2]))[1:]
    assert display(dsha(coinbase)) == vector["coinbase_txid_display"]


class TestBuild:
    def test_layout(self) -> None:
        built = build_coinbase(300_000, [PAYOUT], 8, b"/shedload/")
        coinbase = built.assemble(bytes(range(8)))
        script = height_push(300_000) + b"/shedload/" + bytes(range(8))
        assert coinbase[:4] == (2).to_bytes(4, "little")
        assert coinbase[4:41] == b"\x01" + bytes(32) + b"\xff" * 4
        assert coinbase[41 : 42 + len(script)] == bytes((len(script),)) + script
        assert coinbase[42 + len(script) :] == b"\xff" * 4 + b"\x01" + PAYOUT.pack() + bytes(4)
        assert built.coinb1.endswith(b"/shedload/")
        assert built.coinb2.startswith(b"\xff" * 4)

    @pytest.mark.parametrize("size", [0, 7, 9])
    def test_the_gap_has_one_size(self, size: int) -> None:
        with pytest.raises(ValueError, match="8 bytes"):
            build_coinbase(300_000, [PAYOUT], 8).assemble(bytes(size))

    def test_the_script_has_two_to_a_hundred_bytes(self) -> None:
        build_coinbase(17, [PAYOUT], 0)
        build_coinbase(1, [PAYOUT], 99)
        for height, size in ((1, 0), (1, 100), (17, 99)):
            with pytest.raises(ValueError, match="input script"):
                build_coinbase(height, [PAYOUT], size)


class TestWitness:
    def test_commitment_of_an_empty_block(self) -> None:
        output = commitment_output()
        assert output.satoshi == 0
        assert output.script.hex() == "6a24aa21a9ed" + EMPTY_COMMITMENT

    def test_commitment_counts_the_other_transactions(self) -> None:
        other = dsha(b"other")
        expected = dsha(root([bytes(32), other]) + bytes(32))
        assert commitment_output([other]).script == bytes.fromhex("6a24aa21a9ed") + expected

    def test_block(self) -> None:
        built = build_coinbase(1, [PAYOUT, commitment_output()], 8)
        coinbase = built.assemble(bytes(8))
        full = with_witness(coinbase)
        assert full[4:6] == b"\x00\x01"
        assert full[:4] + full[6 : -4 - 34] + full[-4:] == coinbase
        assert full[-4 - 34 : -4] == b"\x01\x20" + bytes(32)
        header = Header(2, bytes(32), dsha(coinbase), 0, 0x207FFFFF, 0).pack()
        assert assemble_block(header, coinbase) == header + b"\x01" + full
        assert assemble_block(header, coinbase, [b"tx"]) == header + b"\x02" + full + b"tx"
