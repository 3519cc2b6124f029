"""What a log line looks like, what it never holds, and that repetition is counted instead of written."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from controller.cli import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    logs.set_up(written, "info", "json")
    yield written
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_event_is_one_json_object_with_utc_milliseconds(stream: io.StringIO) -> None:
    structlog.get_logger().info("command_confirmed", rig="a", verb="sleep")
    structlog.get_logger().debug("too_fine")
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "command_confirmed", "level": "info", "rig": "a", "verb": "sleep"}


def test_secrets_are_masked_wherever_they_stand(stream: io.StringIO) -> None:
    structlog.get_logger().info(
        "opened",
        password="hunter2",
        api_token="t0p",
        detail="stratum+tcp://me:hunter2@pool:3333",
        deep={"secret": "s3c"},
    )
    assert not any(word in stream.getvalue() for word in ("hunter2", "t0p", "s3c", "me:"))
    assert "stratum+tcp://***@pool:3333" in stream.getvalue()


def test_control_characters_are_made_visible(stream: io.StringIO) -> None:
    structlog.get_logger().info("rig_said", detail="\x1b[2Jgone\u202e", evidence={"x": "\x9b"})
    (line,) = lines(stream)
    assert line["detail"] == r"\x1b[2Jgone\u202e"
    assert line["evidence"] == {"x": r"\x9b"}


def test_an_exception_keeps_its_traceback_on_one_line(stream: io.StringIO) -> None:
    try:
        raise ValueError("boom")
    except ValueError:
        structlog.get_logger().exception("driver_bug", rig="a")
    (line,) = lines(stream)
    assert "ValueError: boom" in line["exception"]


def test_libraries_log_into_the_same_stream(stream: io.StringIO) -> None:
    logging.getLogger("aiohttp.server").error("bad %s", "request")
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["detail"]) == ("library", "aiohttp.server", "bad request")


def test_repetition_is_counted_per_event_and_rig_and_told_later() -> None:
    now = 0.0
    limit = logs.RateLimit(lambda: now, burst=2, window=60.0)

    def passes(event: str, rig: str) -> bool:
        try:
            limit(None, "", {"event": event, "rig": rig})
        except structlog.DropEvent:
            return False
        return True

    assert [passes("failed", "a") for _ in range(5)] == [True, True, False, False, False]
    assert passes("failed", "b")
    assert passes("other", "a")
    now = 61.0
    assert limit(None, "", {"event": "failed", "rig": "a"})["suppressed"] == 3
    assert "suppressed" not in limit(None, "", {"event": "failed", "rig": "a"})


def test_a_reader_that_went_away_costs_lines_only() -> None:
    gone = io.StringIO()
    gone.close()
    sink = logs.Lines(gone)
    sink.msg("hello")
    assert sink.lost == 1


def test_the_console_shows_no_local_variables() -> None:
    written = io.StringIO()
    try:
        logs.set_up(written, "info", "console")
        secret = "hunter2"
        try:
            raise ValueError(len(secret))
        except ValueError:
            structlog.get_logger().exception("driver_bug")
        assert "driver_bug" in written.getvalue()
        assert "hunter2" not in written.getvalue().replace('secret = "hunter2"', "")
    finally:
        structlog.reset_defaults()
        logging.captureWarnings(capture=False)
        logging.getLogger().handlers[:] = []


def test_pools_that_fail_do_not_hide_each_other() -> None:
    limit = logs.RateLimit(lambda: 0.0)
    for pool in ("a:1", "b:1", "c:1"):
        for _ in range(logs.BURST):
            assert limit(None, "", {"event": "pool_failed", "pool": pool})
    with pytest.raises(structlog.DropEvent):
        limit(None, "", {"event": "pool_failed", "pool": "a:1"})
