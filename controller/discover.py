"""Finds rigs on a network, reading only: which addresses listen, then who answers there.

    addresses --connect 4028, 80--> alive --identify (drivers)--> Found --> inventory rows

Nothing is written to any rig, and no password is shown that the caller did not name.
"""

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from shedload.device import Credential, Identity
from shedload.errors import ConfigError, RigError, Unauthorized

CONNECT_S = 1.5
"""Seconds for a connection: a busy control board takes some hundred milliseconds, a silent address never answers."""
IDENTIFY_S = 12.0
"""Seconds for all questions to one rig: stock firmware takes 1-5 s for a web page."""
CONCURRENCY = 200
"""Addresses in work at once; small switches and conntrack tables bear that."""
LARGE = 4096
"""Addresses of a /20: more must be asked for on purpose."""
MOST = 2**20
"""Addresses that are scanned even on purpose: a /12, twenty times the largest site."""
RPC_PORT, WEB_PORT = 4028, 80


class Identify(Protocol):
    """Asks who answers at an address, through a driver."""

    async def __call__(self, driver: str, address: str, credential: Credential | None) -> Identity:
        """Raises RigError."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """A machine that listens. `driver` is the one that understood it, None where none did; `note` says why."""

    address: str
    driver: str | None
    identity: Identity
    note: str = ""


@dataclass(slots=True)
class Progress:
    """How far a scan is."""

    total: int
    done: int = 0
    alive: int = 0


def addresses_of(ranges: Iterable[str], excluded: Iterable[str] = (), *, most: int = MOST) -> list[str]:
    """Every address of the ranges ("10.0.3.0/24", "10.0.3.1-10.0.3.40", "10.0.3.1-40", one address) but the excluded.

    In the order given, each once. Raises ConfigError, also where there are more than `most`.
    """
    spans, out = [_span(text) for text in ranges], [_span(text) for text in excluded]
    if (total := sum(map(len, spans))) > most:
        raise ConfigError("the ranges", f"have {total} addresses, more than {most}", "name the networks rigs are in")
    found = dict.fromkeys(number for span in spans for number in span if not any(number in left for left in out))
    return [str(ipaddress.IPv4Address(number)) for number in found]


async def discover(
    addresses: Sequence[str],
    identify: Identify,
    *,
    credentials: Sequence[Credential] = (),
    concurrency: int = CONCURRENCY,
    ports: tuple[int, int] = (RPC_PORT, WEB_PORT),
    progress: Callable[[Progress], None] = lambda _: None,
) -> AsyncIterator[Found]:
    """Machines as they are found; `ports` are the socket's and the web's."""
    results: asyncio.Queue[Found | None] = asyncio.Queue()
    state = Progress(len(addresses))
    waiting = iter(addresses)

    async def work() -> None:
        for address in waiting:
            found = await _look(address, identify, credentials, ports)
            state.done += 1
            if found is not None:
                state.alive += 1
                results.put_nowait(found)
            progress(state)

    async def scan() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(concurrency, len(addresses))):
                    group.create_task(work())
        finally:
            results.put_nowait(None)

    scanning = asyncio.create_task(scan())
    try:
        while (found := await results.get()) is not None:
            yield found
        await scanning
    finally:
        scanning.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await scanning


async def _look(
    address: str, identify: Identify, credentials: Sequence[Credential], ports: tuple[int, int]
) -> Found | None:
    rpc, web = await asyncio.gather(*(_listens(address, port) for port in ports))
    if not rpc and not web:
        return None
    try:
        async with asyncio.timeout(IDENTIFY_S):
            return await _ask(address, identify, credentials, rpc=rpc, web=web)
    except TimeoutError:
        return Found(address, None, Identity(), f"accepts connections and does not answer within {IDENTIFY_S:g} s")


async def _ask(
    address: str, identify: Identify, credentials: Sequence[Credential], *, rpc: bool, web: bool
) -> Found | None:
    """First the socket, which asks for no password, then the web with the passwords that were named."""
    by_socket = await _by_socket(address, identify) if rpc else None
    stock = by_socket is None or _is_stock(by_socket.identity)
    if not stock or not web:
        return by_socket
    refused = ""
    for credential in credentials:
        try:
            return Found(address, "antminer", await identify("antminer", address, credential))
        except Unauthorized:
            refused = "no password that was named is right"
        except RigError as error:
            refused = error.detail
    if by_socket is not None and by_socket.driver is not None:
        return await _without_password(by_socket, identify, refused)
    if by_socket is not None:
        return by_socket
    return await _by_web(address, identify, refused)


async def _by_socket(address: str, identify: Identify) -> Found:
    try:
        return Found(address, "cgminer", await identify("cgminer", address, None))
    except RigError as error:
        return Found(address, None, Identity(), f"its socket answers nothing that is known: {error.detail}")


async def _without_password(by_socket: Found, identify: Identify, refused: str) -> Found:
    """A stock rig as its driver knows it from the socket alone."""
    note = refused or "no serial and MAC without a password"
    with contextlib.suppress(RigError):
        return Found(by_socket.address, "antminer", await identify("antminer", by_socket.address, None), note)
    return Found(by_socket.address, "antminer", by_socket.identity, note)


async def _by_web(address: str, identify: Identify, refused: str) -> Found | None:
    """A web server without a miner's socket: worth a line only where it asks for a password as rigs do."""
    if refused:
        return Found(address, None, Identity(), refused)
    try:
        return Found(address, "antminer", await identify("antminer", address, None))
    except Unauthorized:
        return Found(address, None, Identity(), "a web server that asks for a password; name one with --credential")
    except RigError:
        return None


def _is_stock(identity: Identity) -> bool:
    return "antminer" in (identity.model or "").lower() or "antminer" in (identity.make or "").lower()


async def _listens(address: str, port: int) -> bool:
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(address, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        await writer.wait_closed()
    return True


def _span(text: str) -> range:
    """A range of addresses as numbers; a network without its own and its broadcast address."""
    try:
        if "-" in text:
            return _between(*text.split("-", 1))
        network = ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        raise ConfigError(
            f"range {text!r}", "is none", "write 10.0.3.0/24, 10.0.3.1-10.0.3.40, 10.0.3.1-40 or 10.0.3.7"
        ) from None
    first, last = int(network.network_address), int(network.broadcast_address)
    return range(first, last + 1) if network.prefixlen >= 31 else range(first + 1, last)


def _between(first: str, last: str) -> range:
    start = ipaddress.IPv4Address(first.strip())
    last = last.strip()
    end = ipaddress.IPv4Address(last if "." in last else f"{str(start).rpartition('.')[0]}.{last}")
    if end < start:
        raise ValueError(last)
    return range(int(start), int(end) + 1)
