"""Jobs: what a notify must look like, and which jobs still count."""

from dataclasses import replace

import pytest

from shedload.stratum.jobs import Extranonce2Counter, Job, JobState, JobTable, build_header, parse_notify
from tests.support.stratum import MASK, NOTIFY, notify, notify_params

DIGEST = "11" * 32


def job(serial=1, difficulty=1, mask=0, **changes):
    return Job(serial, notify(**changes), b"\x01\x02", 4, difficulty, mask)


def test_a_parsed_notify_writes_the_same_parameters():
    assert notify().params() == NOTIFY


@pytest.mark.parametrize("count", [0, 1, 14, 32])
def test_branches_up_to_32(count):
    assert len(notify(branches=[DIGEST] * count).branches) == count


def test_numbers_may_be_unpadded_and_hex_upper_case():
    parsed = notify(version="2", nbits="1705AE3A", ntime="5f", coinb1="AB", clean=1)
    assert (parsed.version, parsed.nbits, parsed.ntime, parsed.coinb1, parsed.clean) == (
        2,
        0x1705AE3A,
        0x5F,
        b"\xab",
        True,
    )


def test_a_numeric_job_id_is_taken_as_text():
    assert notify(job_id=12345678901234567).job_id == "12345678901234567"


def test_more_parameters_than_nine_are_ignored():
    assert parse_notify([*NOTIFY, "more"]) == notify()


@pytest.mark.parametrize(
    "changes",
    [
        {"job_id": None},
        {"job_id": True},
        {"job_id": "x" * 129},
        {"prevhash": "00" * 31},
        {"prevhash": "00" * 33},
        {"prevhash": "zz" * 32},
        {"coinb1": "abc"},
        {"coinb1": ""},
        {"coinb1": 7},
        {"coinb2": "ab" * (24 * 1024 + 1)},
        {"coinb1": "ab" * 16_000, "coinb2": "ab" * 16_000},
        {"branches": [DIGEST] * 33},
        {"branches": [DIGEST[:-1]]},
        {"branches": [None]},
        {"branches": "x"},
        {"version": "200000000"},
        {"version": "-1"},
        {"version": 536870912},
        {"nbits": "00000000"},
        {"nbits": "01003456"},
        {"nbits": "04923456"},
        {"nbits": "ff00ffff"},
        {"ntime": ""},
        {"clean": "true"},
        {"clean": 2},
    ],
)
def test_senseless_jobs_are_refused_by_name_of_the_field(changes):
    with pytest.raises(ValueError) as caught:
        parse_notify(notify_params(**changes))
    assert 0 < len(str(caught.value)) < 100


@pytest.mark.parametrize("params", [None, [], NOTIFY[:8]])
def test_too_few_parameters(params):
    with pytest.raises(ValueError, match="nine"):
        parse_notify(params)


def test_no_bit_may_be_rolled_where_the_version_has_bits_in_the_mask():
    clear, taken = job(mask=MASK), job(mask=MASK, version="20002000")
    assert (clear.rollable, taken.rollable) == (MASK, 0)
    assert clear.version(0x4000) == 0x20004000
    assert taken.version(0x4000) == 0x20002000
    assert build_header(taken, bytes(4), 0, 0, 0)[:4] == bytes.fromhex("00200020")


def test_bits_outside_the_mask_never_reach_the_header():
    assert job(mask=0x2000).version(0xFFFFFFFF) == 0x20002000


def test_same_work_is_told_by_what_is_hashed():
    first = job()
    assert job(job_id="other", clean=False, difficulty=9).same_work_as(first)
    assert not job(ntime="64b8b001").same_work_as(first)
    assert not replace(first, extranonce1=b"\x01\x03").same_work_as(first)


def test_states_follow_the_block():
    table = JobTable()
    one, two, three = job(1), job(2, clean=False, job_id="b"), job(3, clean=False, job_id="c", prevhash="22" * 32)
    assert table.add(one)
    assert not table.add(two)
    assert [table.state(each) for each in (one, two)] == [JobState.PAST, JobState.ACTIVE]
    assert table.add(three), "a changed prevhash ends the work, whatever clean says"
    assert [table.state(each) for each in (one, two, three)] == [JobState.STALE, JobState.STALE, JobState.ACTIVE]
    assert table.active is three


def test_clean_makes_stale_even_on_the_same_block():
    table, one = JobTable(), job(1)
    table.add(one)
    assert table.add(job(2, job_id="b"))
    assert table.state(one) is JobState.STALE


def test_an_id_used_twice_finds_the_latest_and_both_are_kept():
    table, one, two = JobTable(), job(1, difficulty=1), job(2, difficulty=8, clean=False)
    table.add(one)
    table.add(two)
    assert table.find("sim1") is two
    assert table.state(one) is JobState.PAST
    assert table.find("nobody's") is None


def test_the_table_is_bounded_and_forgets_the_oldest():
    table = JobTable(limit=3)
    jobs = [job(n, job_id=f"j{n}", clean=False) for n in range(10)]
    for each in jobs:
        table.add(each)
    assert len(table) == len(list(table)) == 3
    assert table.find("j0") is None
    assert table.state(jobs[0]) is None
    assert table.find("j9") is jobs[9]


def test_abandon_leaves_nothing_to_work_on():
    table, one = JobTable(), job(1)
    table.add(one)
    table.abandon()
    assert table.active is None
    assert table.state(one) is JobState.STALE


def test_extranonce2_counts_little_endian_and_ends():
    counter = Extranonce2Counter(1, start=253)
    assert [counter.take() for _ in range(4)] == [b"\xfd", b"\xfe", b"\xff", None]
    shared = Extranonce2Counter(2, start=1, step=256)
    assert [shared.take() for _ in range(2)] == [b"\x01\x00", b"\x01\x01"]
