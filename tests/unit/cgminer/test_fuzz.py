"""A few seeded rounds of each fuzzer, so that the fuzzers themselves stay in order."""

from tests.fuzz import cgminer_reply, cgminer_request


def test_damaged_replies():
    cgminer_reply.run(rounds=400, seed=1)


def test_damaged_requests():
    cgminer_request.run(rounds=2000, seed=1)
