"""Where a rig is: host and port out of the inventory's `address` and options."""

from collections.abc import Mapping
from dataclasses import dataclass

from shedload.errors import ConfigError

LAST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host (best an address literal: it costs no look-up) and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def endpoint(address: str, default_port: int) -> Endpoint:
    """Read "host", "host:port", "[v6]:port" or a bare IPv6 address. Raises ConfigError."""
    host, port = address, ""
    if address.startswith("["):
        host, _, rest = address[1:].partition("]")
        port = rest.removeprefix(":")
    elif address.count(":") == 1:
        host, port = address.split(":")
    if not host or any(c.isspace() or c in "/@" for c in host):
        raise ConfigError("address", f"{address!r} is no host", "write an address such as 10.0.3.17 or 10.0.3.17:4028")
    return Endpoint(host, _port(port, f"address {address!r}") if port else default_port)


def port_option(options: Mapping[str, str], name: str, default: int) -> int:
    """A port out of the options of an inventory row. Raises ConfigError."""
    text = options.get(name)
    return default if text is None else _port(text, f"option {name}")


def _port(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= LAST_PORT):
        raise ConfigError(where, f"{text!r} is no port", f"give a number from 1 to {LAST_PORT}")
    return int(text)
