"""A Stratum session without sockets: vectors, a client and a server that talk to each other, lines of a pool."""

import json
from pathlib import Path
from typing import Any

from shedload.stratum.admission import Allotment
from shedload.stratum.client import StratumClient
from shedload.stratum.jobs import Job, Notify, parse_notify
from shedload.stratum.server import StratumServer
from shedload.stratum.shares import Submit, parse_submit

_VECTORS = Path(__file__).resolve().parents[1] / "vectors"

VECTORS: dict[str, Any] = json.loads((_VECTORS / "stratum.json").read_text())
SESSION: dict[str, Any] = json.loads((_VECTORS / "stratum-session.json").read_text())

MASK = 0x1FFFE000
NOTIFY: list[Any] = SESSION["notify"]["params"]


def line(**members: Any) -> bytes:
    """One message as a peer writes it."""
    return json.dumps(members).encode() + b"\n"


def notification(method: str, *params: Any) -> bytes:
    """A notification as a pool writes it."""
    return line(id=None, method=method, params=list(params))


def notify_line(**changes: Any) -> bytes:
    """The invented session's mining.notify with some fields changed, by name."""
    return notification("mining.notify", *notify_params(**changes))


def notify_params(**changes: Any) -> list[Any]:
    """The invented session's nine parameters with some fields changed, by name."""
    names = ["job_id", "prevhash", "coinb1", "coinb2", "branches", "version", "nbits", "ntime", "clean"]
    values = dict(zip(names, NOTIFY, strict=True))
    assert changes.keys() <= values.keys()
    return list((values | changes).values())


def notify(**changes: Any) -> Notify:
    """The same, parsed."""
    return parse_notify(notify_params(**changes))


def job_of(vector: dict[str, Any], difficulty: float = 1, mask: int | None = None) -> Job:
    """The job of a vector in its own session."""
    rolled = int(vector["version_mask"], 16) if mask is None else mask
    first = bytes.fromhex(vector["extranonce1"])
    return Job(1, parse_notify(vector["notify"]), first, vector["extranonce2_size"], difficulty, rolled)


def solutions(worker: str = "rig.1") -> list[Submit]:
    """Every genuine share of the invented session."""
    return [
        parse_submit([worker, *solution["submit_params"][1:]])
        for job in SESSION["jobs"]
        for solution in job["solutions"]
    ]


def session_server(**options: Any) -> StratumServer:
    """A server that gives the invented session's extranonce."""
    first = bytes.fromhex(SESSION["subscribe"]["extranonce1"])
    size = SESSION["subscribe"]["extranonce2_size"]
    server = StratumServer(allot=lambda _session: Allotment(first, size, "cafe01"), **options)
    server.start(0.0)
    return server


def session_client(**options: Any) -> StratumClient:
    """A client at time 0, its handshake not yet sent."""
    client = StratumClient(**({"worker": "rig.1", "host": "pool.example"} | options))
    client.start(0.0)
    return client


def handshaken(**options: Any) -> StratumClient:
    """A client that is ready in the invented session; its events so far are dropped."""
    client = session_client(**options)
    client.data_to_send()
    client.receive_data(handshake_replies(), 0.0)
    assert client.ready
    client.events_received()
    return client


def handshake_replies(mask: str = "1fffe000", first: str = "0badcafe", size: int = 4) -> bytes:
    """What a good pool answers to requests 1, 2 and 3."""
    return (
        line(id=1, result={"version-rolling": True, "version-rolling.mask": mask}, error=None)
        + line(id=2, result=[[["mining.notify", "cafe01"]], first, size], error=None)
        + line(id=3, result=True, error=None)
    )


def exchange(client: StratumClient, server: StratumServer, now: float) -> None:
    """Carry bytes both ways until neither has anything to say."""
    while True:
        up, down = client.data_to_send(), server.data_to_send()
        if not up and not down:
            return
        server.receive_data(up, now)
        client.receive_data(down, now)


def sent(endpoint: StratumClient | StratumServer) -> list[dict[str, Any]]:
    """What the endpoint wants to write, as objects."""
    return [json.loads(text) for text in endpoint.data_to_send().splitlines()]
