"""Peers that are missing: skipped at home, failed in CI."""

import pytest

from tests.support.peers import REQUIRE_PEERS, require_module, require_tool


def test_a_tool_that_is_there_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUIRE_PEERS, "1")
    assert require_tool("sh").endswith("/sh")
    assert require_module("json").__name__ == "json"


@pytest.mark.parametrize("require", [require_tool, require_module])
def test_what_is_missing_skips_or_fails(monkeypatch: pytest.MonkeyPatch, require) -> None:
    monkeypatch.delenv(REQUIRE_PEERS, raising=False)
    with pytest.raises(pytest.skip.Exception, match="no_such_thing"):
        require("no_such_thing")
    monkeypatch.setenv(REQUIRE_PEERS, "1")
    with pytest.raises(pytest.fail.Exception, match="no_such_thing"):
        require("no_such_thing")
