"""Finding rigs: which addresses, who listens, who answers, and that no password is shown unasked."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.discover import Found, Progress, addresses_of, discover
from shedload.device import Credential, Identity
from shedload.errors import ConfigError, Garbled, Unauthorized


@pytest.mark.parametrize(
    ("text", "count", "first", "last"),
    [
        ("10.0.3.0/24", 254, "10.0.3.1", "10.0.3.254"),
        ("10.0.3.7", 1, "10.0.3.7", "10.0.3.7"),
        ("10.0.3.250-10.0.4.2", 9, "10.0.3.250", "10.0.4.2"),
        ("10.0.3.1-40", 40, "10.0.3.1", "10.0.3.40"),
        ("10.0.3.9/30", 2, "10.0.3.9", "10.0.3.10"),
    ],
)
def test_ranges(text: str, count: int, first: str, last: str) -> None:
    found = addresses_of([text])
    assert (len(found), found[0], found[-1]) == (count, first, last)


def test_overlaps_count_once_and_exclusions_not_at_all() -> None:
    assert addresses_of(["10.0.0.1-4", "10.0.0.3-6"], ["10.0.0.2", "10.0.0.5-9"]) == [
        "10.0.0.1",
        "10.0.0.3",
        "10.0.0.4",
    ]


@pytest.mark.parametrize(
    "text", ["", "ten", "10.0.3", "10.0.3.9-10.0.3.1", "10.0.3.1-300", "10.0.0.0/33", "0.0.0.0/0", "::1"]
)
def test_what_is_no_range_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="range"):
        addresses_of([text])


def test_a_whole_country_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="16777214 addresses"):
        addresses_of(["10.0.0.0/8"])


@given(st.text("0123456789./- x", max_size=20))
def test_no_text_makes_it_fall_over(text: str) -> None:
    with contextlib.suppress(ConfigError):
        addresses_of([text])


class Site:
    """Listeners on loopback addresses, and who identifies there."""

    def __init__(self) -> None:
        self.servers: list[asyncio.Server] = []
        self.asked: list[tuple[str, str, Credential | None]] = []
        self.answers: dict[tuple[str, str], Identity | Exception] = {}

    async def listen(self, address: str, port: int = 0) -> int:
        server = await asyncio.start_server(lambda _, writer: writer.close(), address, port)
        self.servers.append(server)
        found: int = server.sockets[0].getsockname()[1]
        return found

    async def identify(self, driver: str, address: str, credential: Credential | None) -> Identity:
        self.asked.append((driver, address, credential))
        answer = self.answers.get((driver, address), Garbled("nothing"))
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    yield made
    for server in made.servers:
        server.close()
        await server.wait_closed()


async def scan(site: Site, addresses: list[str], ports: tuple[int, int], *credentials: Credential) -> list[Found]:
    return [found async for found in discover(addresses, site.identify, credentials=credentials, ports=ports)]


NOBODY = 1
"""A port on which nothing listens."""


async def test_a_plain_miner_is_found_by_its_socket_and_silence_is_passed_over(site: Site) -> None:
    port = await site.listen("127.0.0.1")
    site.answers["cgminer", "127.0.0.1"] = Identity("CGMiner", "Avalon 921")
    found = await scan(site, ["127.0.0.1", "127.0.0.2"], (port, NOBODY))
    assert found == [Found("127.0.0.1", "cgminer", Identity("CGMiner", "Avalon 921"))]
    assert site.asked == [("cgminer", "127.0.0.1", None)]


async def test_stock_firmware_is_asked_without_a_password_unless_one_was_named(site: Site) -> None:
    rpc, web = await site.listen("127.0.0.1"), await site.listen("127.0.0.1")
    stock = Identity("Miner", "Antminer S21")
    site.answers["cgminer", "127.0.0.1"] = stock
    site.answers["antminer", "127.0.0.1"] = Identity("Bitmain", "Antminer S21", serial="X1")
    (found,) = await scan(site, ["127.0.0.1"], (rpc, web))
    assert found.driver == "antminer"
    assert all(credential is None for _, _, credential in site.asked)
    named = Credential("root", "secret")
    (found,) = await scan(site, ["127.0.0.1"], (rpc, web), named)
    assert (found.identity.serial, found.note) == ("X1", "")
    assert site.asked[-1] == ("antminer", "127.0.0.1", named)


async def test_a_wrong_password_and_a_strange_socket_are_told(site: Site) -> None:
    rpc, web = await site.listen("127.0.0.1"), await site.listen("127.0.0.1")
    site.answers["antminer", "127.0.0.1"] = Unauthorized("no")
    (found,) = await scan(site, ["127.0.0.1"], (rpc, web), Credential("root", "wrong"))
    assert found.driver is None
    assert "its socket answers nothing that is known" in found.note
    (found,) = await scan(site, ["127.0.0.1"], (NOBODY, web))
    assert "asks for a password" in found.note


async def test_an_ordinary_web_server_is_no_rig(site: Site) -> None:
    web = await site.listen("127.0.0.1")
    assert await scan(site, ["127.0.0.1"], (NOBODY, web)) == []


async def test_progress_counts_every_address_and_leaving_early_stops_the_scan(site: Site) -> None:
    port = await site.listen("127.0.0.1")
    site.answers["cgminer", "127.0.0.1"] = Identity("CGMiner")
    seen: list[Progress] = []
    results = discover(["127.0.0.1"] * 30, site.identify, ports=(port, NOBODY), concurrency=4, progress=seen.append)
    async for _ in results:
        break
    await results.aclose()
    assert seen
    assert seen[-1].done < 30


async def test_no_more_than_the_bound_at_once(site: Site) -> None:
    port = await site.listen("127.0.0.1")
    running = most = 0

    async def identify(_driver: str, _address: str, _credential: Credential | None) -> Identity:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return Identity("CGMiner")

    found = [item async for item in discover(["127.0.0.1"] * 40, identify, ports=(port, NOBODY), concurrency=5)]
    assert len(found) == 40
    assert most <= 5
