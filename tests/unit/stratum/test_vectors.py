"""Worked vectors from public chain data and recorded sessions: job and share to header, hash and difficulty."""

import pytest

from shedload.bitcoin.header import display, dsha, from_display, next_version, swap_words
from shedload.bitcoin.merkle import branches, root_from_branches
from shedload.bitcoin.target import difficulty_of_nbits
from shedload.stratum.jobs import build_header
from shedload.stratum.messages import Request, parse
from shedload.stratum.shares import SeenShares, Verdict, judge, parse_submit
from tests.support.stratum import SESSION, VECTORS, job_of, solutions


@pytest.mark.parametrize("name", ["block_881423", "public_pool"])
def test_notify_and_submit_make_the_recorded_header(name):
    vector = VECTORS[name]
    job, share = job_of(vector), parse_submit(vector["submit"]).share
    coinbase = job.notify.coinb1 + job.extranonce1 + share.extranonce2 + job.notify.coinb2
    assert display(dsha(coinbase)) == vector["coinbase_txid_display"]
    assert job.merkle_root(share.extranonce2).hex() == vector["merkle_root"]
    judged = judge(job, share, SeenShares())
    assert judged.header is not None
    assert judged.digest is not None
    assert judged.header.hex() == vector["header"]
    assert display(judged.digest) == vector["hash_display"]
    assert judged.difficulty == pytest.approx(vector["difficulty"], rel=1e-15)
    assert judged.accepted


def test_block_881423_is_a_block():
    vector = VECTORS["block_881423"]
    job = job_of(vector)
    judged = judge(job, parse_submit(vector["submit"]).share, SeenShares())
    assert judged.is_block
    assert judged.difficulty >= difficulty_of_nbits(job.notify.nbits)


def test_ignoring_version_bits_of_the_recording_makes_a_worthless_share():
    vector = VECTORS["public_pool"]
    judged = judge(job_of(vector), parse_submit(vector["submit"][:5]).share, SeenShares())
    assert judged.verdict is Verdict.LOW_DIFFICULTY
    assert judged.difficulty == pytest.approx(5.2e-10, rel=0.01)


def test_recording_was_accepted_at_512_and_would_not_be_at_1024():
    vector = VECTORS["public_pool"]
    share = parse_submit(vector["submit"]).share
    assert judge(job_of(vector, 512), share, SeenShares()).accepted
    assert judge(job_of(vector, 1024), share, SeenShares()).verdict is Verdict.LOW_DIFFICULTY


def test_live_cpuminer_share():
    vector = VECTORS["cpuminer"]
    request = parse(vector["line"].encode())
    assert isinstance(request, Request)
    assert request.id == 4
    job = job_of(VECTORS["block_881423"], 0.0005, mask=0)
    judged = judge(job, parse_submit(request.params).share, SeenShares())
    assert judged.accepted
    assert judged.header.hex() == vector["header"]
    assert display(judged.digest) == vector["hash_display"]
    assert judged.difficulty == pytest.approx(vector["difficulty"], rel=1e-15)


def test_header_of_the_esp_miner_test():
    vector = VECTORS["header_only"]
    words = [int(vector[name], 16).to_bytes(4, "little") for name in ("version", "ntime", "nbits", "nonce")]
    header = words[0] + swap_words(bytes.fromhex(vector["prevhash"])) + bytes.fromhex(vector["merkle_root"])
    header += b"".join(words[1:])
    assert header.hex() == vector["header"]
    assert display(dsha(header)) == vector["hash_display"]


def test_branches_of_block_100000():
    vector = VECTORS["block_100000"]
    txids = [from_display(text) for text in vector["txids_display"]]
    assert [branch.hex() for branch in branches(txids[1:])] == vector["branches"]
    assert [branch.hex() for branch in branches(txids[1:3])] == vector["first_three"]["branches"]


def test_root_of_block_100000_from_a_coinbase_and_branches():
    vector = VECTORS["block_100000"]
    digest = from_display(vector["txids_display"][0])
    for branch in vector["branches"]:
        digest = dsha(digest + bytes.fromhex(branch))
    assert display(digest) == vector["root_display"]
    assert root_from_branches(b"coinbase", []) == dsha(b"coinbase")


@pytest.mark.parametrize(
    ("version", "mask", "after"),
    [
        (0x20000004, 0x00FFFF00, 0x20000104),
        (0x20FFFF04, 0x00FFFF00, 0x20000004),
        (0x20000000, 0x1FFFE000, 0x20002000),
        (0x20002000, 0x1FFFE000, 0x20004000),
    ],
)
def test_increment_within_mask(version, mask, after):
    assert next_version(version, mask) == after


def test_every_share_of_the_invented_session_is_genuine():
    vector = {**SESSION["subscribe"], "notify": SESSION["notify"]["params"], "version_mask": SESSION["version_mask"]}
    job, seen = job_of(vector), SeenShares()
    shares = solutions()
    assert len(shares) == 22
    expected = [solution for job in SESSION["jobs"] for solution in job["solutions"]]
    for submit, solution in zip(shares, expected, strict=True):
        share = submit.share
        header = build_header(job, share.extranonce2, share.ntime, share.nonce, share.version_bits or 0)
        assert header.hex() == solution["header"]
        judged = judge(job, share, seen)
        assert judged.accepted
        assert judged.difficulty == pytest.approx(solution["difficulty"], abs=1e-3)
