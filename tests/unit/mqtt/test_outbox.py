"""What waits to be published: bounded, latest wins, nothing starves."""

import asyncio

import pytest

from controller.mqtt_outbox import MAX_PAYLOAD_BYTES, Outbox, Outgoing
from controller.mqtt_topics import Topics


async def drain(outbox: Outbox) -> list[tuple[str, bytes]]:
    return [(message.topic, message.payload) for message in [await outbox.take() for _ in range(outbox.waiting)]]


async def test_of_a_retained_topic_only_the_latest_is_sent() -> None:
    outbox = Outbox()
    for number in range(100):
        outbox.put("state", str(number).encode())
    outbox.put("status", b"online")
    assert outbox.waiting == 2
    assert await drain(outbox) == [("state", b"99"), ("status", b"online")]


async def test_events_come_in_order_and_take_turns_with_states() -> None:
    outbox = Outbox()
    for number in range(3):
        outbox.event("e", str(number).encode())
        outbox.put(f"s{number}", b"")
    assert [topic for topic, _ in await drain(outbox)] == ["e", "s0", "e", "s1", "e", "s2"]


async def test_everything_again() -> None:
    outbox = Outbox()
    outbox.put("a", b"1")
    outbox.put("b", b"2")
    await drain(outbox)
    outbox.everything_again()
    assert await drain(outbox) == [("a", b"1"), ("b", b"2")]


async def test_the_oldest_event_gives_way() -> None:
    outbox = Outbox(max_events=2)
    for number in range(5):
        outbox.event("e", str(number).encode())
    assert outbox.dropped["events_full"] == 3
    assert await drain(outbox) == [("e", b"3"), ("e", b"4")]


async def test_topics_are_bounded_and_known_ones_go_on() -> None:
    outbox = Outbox(max_topics=1)
    outbox.put("a", b"1")
    outbox.put("b", b"2")
    outbox.put("a", b"3")
    assert outbox.dropped["topics_full"] == 1
    assert await drain(outbox) == [("a", b"3")]


async def test_payloads_are_bounded() -> None:
    outbox = Outbox()
    outbox.put("a", b"x" * (MAX_PAYLOAD_BYTES + 1))
    outbox.event("e", b"x" * (MAX_PAYLOAD_BYTES + 1))
    assert (outbox.waiting, outbox.dropped["too_long"]) == (0, 2)


async def test_an_event_that_was_not_sent_comes_first_again() -> None:
    outbox = Outbox(max_events=2)
    outbox.event("e", b"1")
    outbox.event("e", b"2")
    first = await outbox.take()
    outbox.put_back(first)
    assert await drain(outbox) == [("e", b"1"), ("e", b"2")]
    outbox.event("e", b"3")
    outbox.event("e", b"4")
    outbox.put_back(Outgoing("e", b"2", retained=False))
    assert outbox.dropped["events_full"] == 1


async def test_a_state_that_was_not_sent_is_sent_as_it_is_by_then() -> None:
    outbox = Outbox()
    outbox.put("a", b"1")
    old = await outbox.take()
    outbox.put("a", b"2")
    outbox.put_back(old)
    assert await drain(outbox) == [("a", b"2")]


async def test_taking_waits_for_something() -> None:
    outbox = Outbox()
    taking = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    assert not taking.done()
    outbox.event("e", b"1")
    assert (await taking).payload == b"1"


def test_topics_of_a_site() -> None:
    topics = Topics("shedload/v1", "hall-1")
    assert topics.status == "shedload/v1/hall-1/status"
    assert topics.state == "shedload/v1/hall-1/state"
    assert topics.group("s21.a") == "shedload/v1/hall-1/group/s21.a/state"
    assert topics.event("alarm") == "shedload/v1/hall-1/event/alarm"


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "$SYS", "a\x00", "a\n", "x" * 129])
def test_names_that_cannot_stand_in_a_topic(name: str) -> None:
    with pytest.raises(ValueError, match="topic"):
        Topics("r", "s").group(name)
    with pytest.raises(ValueError, match="topic"):
        Topics("r", name)
