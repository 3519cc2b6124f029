"""Asks a running daemon over its HTTP interface.

    status, why, order, control --Client--> /api/v1/... --> JSON | Trouble

Blocking, on the standard library: a command asks two or three things and ends.
"""

import http.client
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

from controller.cli.trouble import WRONG, Trouble
from controller.secrets import read_secret

DEFAULT_URL = "http://127.0.0.1:9477"
URL_VARIABLE = "SHEDLOAD_URL"
TOKEN_VARIABLE = "SHEDLOAD_TOKEN_FILE"  # noqa: S105 - the name of a variable
DEADLINE = 10.0
"""Seconds; the daemon answers in milliseconds and gives up itself after 15 s."""
MAX_ANSWER = 32 * 1024 * 1024
UNREACHABLE = 2
"""Exit code where no daemon answers."""


class Client:
    """A daemon at an address; `token` is needed to change anything, and for everything where it is not on loopback."""

    def __init__(self, url: str, token: str | None = None) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise Trouble(f"{url!r} is no address of a daemon", f"Write one such as {DEFAULT_URL}.", WRONG)
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._tls = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._token = token

    def get(self, path: str) -> Any:
        """Read something. Raises Trouble."""
        return self._ask("GET", path)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Make something. Raises Trouble."""
        return self._ask("POST", path, body)

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        """Set something. Raises Trouble."""
        return self._ask("PUT", path, body)

    def delete(self, path: str) -> Any:
        """End something. Raises Trouble."""
        return self._ask("DELETE", path)

    def status(self) -> dict[str, Any]:
        """The whole site. Raises Trouble."""
        found: dict[str, Any] = self.get("/api/v1/status")
        return found

    def rig(self, name: str) -> dict[str, Any]:
        """One rig with its last decision and commands. Raises Trouble."""
        found: dict[str, Any] = self.get(f"/api/v1/rigs/{quote(name, safe='')}")
        return found

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        kind = http.client.HTTPSConnection if self._tls else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=DEADLINE)
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            connection.request(method, path, None if body is None else orjson.dumps(body), headers)
            with connection.getresponse() as answer:
                status, content = answer.status, answer.read(MAX_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise Trouble(
                f"no daemon answers at {self.url}: {reason}",
                "Is it running? Start it with `shedload run`, or name it with --url or --config.",
                UNREACHABLE,
            ) from None
        finally:
            connection.close()
        return self._read(status, content)

    def _read(self, status: int, content: bytes) -> Any:
        try:
            value = orjson.loads(content)
        except orjson.JSONDecodeError:
            raise Trouble(
                f"what answers at {self.url} is no shedload daemon", "Check the address.", UNREACHABLE
            ) from None
        if status < 400:
            return value
        problem = value.get("error", "it said no") if isinstance(value, dict) else "it said no"
        if status == 401:
            raise Trouble(
                f"the daemon at {self.url} wants its token: {problem}",
                f"Name the token's file: --config FILE, --token-file FILE or {TOKEN_VARIABLE}.",
            )
        raise Trouble(f"the daemon said no: {problem}")


def connect(url: str | None, config: Path | None, token_file: Path | None = None) -> Client:
    """The daemon that is meant: by --url, by its configuration, by the environment, else on this machine's port.

    Raises Trouble, and ConfigError where a file that was named is wrong.
    """
    given = token_file or _path(os.environ.get(TOKEN_VARIABLE))
    where, token = url, None if given is None else read_secret(given)
    if config is not None:
        from controller.config import load  # noqa: PLC0415 - slow, and seldom needed

        settings = load(config)
        where = where or _address(settings.api.host, settings.api.port)
        token = token or settings.api.token() or _own_token(settings.site.state_dir)
    return Client(where or os.environ.get(URL_VARIABLE) or DEFAULT_URL, token)


def _address(host: str, port: int) -> str:
    """Where a daemon that listens there is reached from its own machine."""
    near = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - read, not bound
    return f"http://[{near}]:{port}" if ":" in near else f"http://{near}:{port}"


def _own_token(state_dir: Path) -> str | None:
    path = state_dir / "api.token"
    try:
        return read_secret(path) if path.exists() else None
    except OSError:
        return None  # another user's folder: reading may still be allowed


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
