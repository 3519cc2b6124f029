"""Shares: each refusal has its own verdict, blocks are never thrown away, floods find nothing to fill."""

from dataclasses import replace

import pytest

from shedload.stratum.jobs import JobState
from shedload.stratum.messages import RejectReason
from shedload.stratum.shares import (
    ERROR_OF_VERDICT,
    SeenShares,
    Share,
    ShareBook,
    Submit,
    Verdict,
    judge,
    parse_submit,
)
from tests.support.stratum import VECTORS, job_of

BLOCK = VECTORS["block_881423"]
GOOD = parse_submit(BLOCK["submit"]).share


def test_the_same_point_twice_is_a_duplicate():
    seen, job = SeenShares(), job_of(BLOCK)
    assert judge(job, GOOD, seen).accepted
    assert judge(job, GOOD, seen).verdict is Verdict.DUPLICATE
    assert judge(replace(job, serial=9), GOOD, seen).verdict is Verdict.DUPLICATE


@pytest.mark.parametrize(
    ("share", "verdict"),
    [
        (replace(GOOD, extranonce2=bytes(7)), Verdict.BAD_EXTRANONCE2),
        (replace(GOOD, extranonce2=bytes(9)), Verdict.BAD_EXTRANONCE2),
        (replace(GOOD, version_bits=0x80000000), Verdict.BAD_VERSION),
        (replace(GOOD, version_bits=0x1000), Verdict.BAD_VERSION),
        (replace(GOOD, ntime=GOOD.ntime - 1), Verdict.BAD_NTIME),
        (replace(GOOD, ntime=GOOD.ntime + 7001), Verdict.BAD_NTIME),
        (replace(GOOD, ntime=GOOD.ntime + 7000), Verdict.LOW_DIFFICULTY),
        (replace(GOOD, nonce=1), Verdict.LOW_DIFFICULTY),
    ],
)
def test_refusals(share, verdict):
    assert judge(job_of(BLOCK), share, SeenShares()).verdict is verdict


def test_bits_without_a_mask_are_refused_and_zero_bits_are_not():
    job = job_of(BLOCK, mask=0)
    assert judge(job, GOOD, SeenShares()).verdict is Verdict.BAD_VERSION
    assert judge(job, replace(GOOD, version_bits=0), SeenShares()).verdict is Verdict.LOW_DIFFICULTY


@pytest.mark.parametrize("state", [JobState.STALE, None])
def test_a_stale_block_is_still_a_block(state):
    judged = judge(job_of(BLOCK), GOOD, SeenShares(), state=state)
    assert judged.verdict is Verdict.STALE
    assert judged.is_block


def test_a_block_below_the_share_difficulty_is_still_a_block():
    judged = judge(job_of(BLOCK, difficulty=2**60), GOOD, SeenShares())
    assert judged.verdict is Verdict.LOW_DIFFICULTY
    assert judged.is_block


def test_past_jobs_are_paid_and_stale_ones_within_the_grace():
    job = job_of(BLOCK)
    assert judge(job, GOOD, SeenShares(), state=JobState.PAST).accepted
    assert judge(job, GOOD, SeenShares(), state=JobState.STALE, accept_stale=True).accepted


def test_low_difficulty_is_found_before_anything_is_remembered():
    seen, job = SeenShares(limit=4), job_of(BLOCK)
    for nonce in range(50):
        assert judge(job, replace(GOOD, nonce=nonce), seen).verdict is Verdict.LOW_DIFFICULTY
    assert len(seen) == 0


def test_seen_shares_are_bounded():
    seen = SeenShares(limit=4)
    for n in range(50):
        assert seen.add(bytes([n]))
    assert len(seen) == 4
    assert not seen.add(bytes([49]))


def test_submit_parameters_go_both_ways():
    for params in (BLOCK["submit"], BLOCK["submit"][:5]):
        assert parse_submit(params).params() == params
    assert parse_submit(["w", 17, "AB", "0000000A", "0000000b"]) == Submit("w", "17", Share(b"\xab", 10, 11))


@pytest.mark.parametrize(
    "params",
    [
        None,
        [],
        ["w", "j", "00", "00000000"],
        ["w", "j", "00", "00000000", "00000000", "00000000", "x"],
        [1, "j", "00", "00000000", "00000000"],
        ["w" * 256, "j", "00", "00000000", "00000000"],
        ["w", None, "00", "00000000", "00000000"],
        ["w", "j" * 129, "00", "00000000", "00000000"],
        ["w", "j", "0", "00000000", "00000000"],
        ["w", "j", "00" * 33, "00000000", "00000000"],
        ["w", "j", "00", "0000000", "00000000"],
        ["w", "j", "00", "00000000", "-0000001"],
        ["w", "j", "00", "00000000", "0x1_0000"],
        ["w", "j", "00", "00000000", "00000000", "1"],
        ["w", "j", "00", "00000000", 5],
        [["w"], {}, [], {}, []],
    ],
)
def test_malformed_submits(params):
    with pytest.raises(ValueError):
        parse_submit(params)


def test_every_refusal_has_an_answer():
    assert ERROR_OF_VERDICT.keys() == set(Verdict) - {Verdict.ACCEPTED}


def test_the_book_has_two_columns():
    book = ShareBook()
    for verdict in (Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.LOW_DIFFICULTY):
        book.count_judged(verdict, 512)
    for _ in range(4):
        book.count_submitted()
    book.count_acknowledged(512)
    book.count_refused(RejectReason.STALE)
    book.count_lost()
    assert (book.judged_difficulty, book.acknowledged_difficulty, book.unanswered) == (1024, 512, 1)
    assert book.judged[Verdict.LOW_DIFFICULTY] == 1
