"""The miner's end of Stratum V1: speaks to one pool over one connection and is used once.

    client = StratumClient(worker="account.hall1", password="x", host="pool.example")
    client.start(now)
    loop: write client.data_to_send(); client.receive_data(bytes, now); act on client.events_received();
          at client.next_deadline() call client.tick(now)

The pool may answer in any order, or never, and may notify in the middle of the handshake: everything is told apart by
method or by our own ids, nothing by its place. Jobs that arrive early are held until `Ready`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from shedload.bitcoin.target import Difficulty, parse_difficulty
from shedload.stratum.endpoint import Endpoint
from shedload.stratum.events import (
    ClientEvent,
    DifficultyChanged,
    ExtranonceChanged,
    FailureKind,
    LossCause,
    Message,
    NewJob,
    Ready,
    SubmitLost,
    SubmitResult,
    Unusable,
    VersionMaskChanged,
)
from shedload.stratum.jobs import VERSION_ROLLING_MASK, Job, JobTable, Notify, parse_notify
from shedload.stratum.lines import FROM_POOL_LIMIT, clean_text
from shedload.stratum.messages import Message as Wire
from shedload.stratum.messages import (
    Notification,
    Request,
    RequestId,
    Response,
    encode_error,
    encode_request,
    encode_response,
    outcome,
    parse_hex32,
)
from shedload.stratum.pending import Pending, PendingShares
from shedload.stratum.session import (
    Extranonce,
    granted_extranonce,
    granted_mask,
    judge_reconnect,
    parse_extranonce,
    parse_subscription,
)
from shedload.stratum.shares import Share, ShareBook, Submit

CONFIGURE_TIMEOUT = 3.0
"""Seconds for the configure answer; old pools never give one (taohash waits 2), then we go on without rolling."""

HANDSHAKE_TIMEOUT = 30.0
"""Seconds for subscribe and authorize; mujina's and cpuminer's figure, half of cgminer's."""

SUBMIT_TIMEOUT = 120.0
"""Seconds after which a share's answer is given up; cgminer and ckproxy wait as long."""

SILENCE_TIMEOUT = 120.0
"""Seconds without a line from a pool that should notify every 30-60 s (cgminer 90, cpuminer 120)."""

MAX_ASKED = 32
"""Other requests that may wait; a pool that never answers suggestions must not make us remember them all."""

MAX_UNUSABLE = 16
"""Senseless messages in a row, without one good job, before the pool is given up."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A job that came before we were ready, with what was in force when it came."""

    notify: Notify
    difficulty: Difficulty
    extranonce: Extranonce | None


class StratumClient(Endpoint[ClientEvent]):
    """One connection to a pool; `version_mask` is what the hardware can roll, 0 for none.

    ValueError where user agent, worker or password would not fit a line of 1000 bytes. The password appears in no
    repr, event or error.
    """

    def __init__(
        self,
        *,
        worker: str,
        password: str = "x",  # noqa: S107 -- the field's word for "none"
        user_agent: str = "shedload/0.1",
        host: str = "",
        allowed_hosts: frozenset[str] = frozenset(),
        version_mask: int = VERSION_ROLLING_MASK,
        min_version_bits: int = 2,
        session_id: str | None = None,
        previous_extranonce1: bytes | None = None,
        suggest_difficulty: float | None = None,
        extranonce_subscribe: bool = False,
        pipelined: bool = True,
        configure_timeout: float = CONFIGURE_TIMEOUT,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
        submit_timeout: float = SUBMIT_TIMEOUT,
        silence_timeout: float = SILENCE_TIMEOUT,
    ) -> None:
        super().__init__(FROM_POOL_LIMIT)
        self.jobs = JobTable()
        self.book = ShareBook()
        self.ready = False
        self.rolling = False
        self.version_mask = 0
        self.difficulty: Difficulty = parse_difficulty(1)
        self.extranonce: Extranonce | None = None
        self.session_id = session_id
        self.unmatched_replies = 0
        self._worker = worker
        self._password = password
        self._user_agent = user_agent
        self._host = host
        self._allowed_hosts = allowed_hosts
        self._hardware_mask = version_mask
        self._min_version_bits = min_version_bits
        self._previous_extranonce1 = previous_extranonce1
        self._suggestion = suggest_difficulty
        self._ask_extranonce = extranonce_subscribe
        self._pipelined = pipelined
        self._configure_timeout = configure_timeout
        self._handshake_timeout = handshake_timeout
        self._submit_timeout = submit_timeout
        self._silence_timeout = silence_timeout

        self._last_id = 0
        self._asked: dict[int, Callable[[Response, float], None]] = {}
        self._pending = PendingShares()
        self._configure_deadline: float | None = None
        self._handshake_deadline: float | None = None
        self._last_line: float | None = None
        self._subscribe_asked = self._authorize_asked = self._authorized = False
        self._extranonce_granted = False
        self._held: _Held | None = None
        self._serial = 0
        self._unusable_in_a_row = 0
        self._check_lengths()

    def start(self, now: float) -> None:
        """Begin the handshake; call once, when the connection stands."""
        self._last_line = now
        self._handshake_deadline = now + self._handshake_timeout
        self._configure_deadline = now + self._configure_timeout
        self._configure()
        self._advance()

    def submit(self, job: Job, share: Share, now: float) -> int | None:
        """Send a share and return its token; None where the connection is not ready and nothing was sent."""
        if not self.ready or self.failure is not None:
            return None
        bits = (share.version_bits or 0) if self.rolling else None
        params = Submit(self._worker, job.id, replace(share, version_bits=bits)).params()
        token = self._request("mining.submit", params)
        self.book.count_submitted()
        if (crowded_out := self._pending.add(Pending(token, job, share, now))) is not None:
            self._lose(crowded_out, LossCause.CROWDED_OUT)
        return token

    def suggest_difficulty(self, difficulty: float) -> None:
        """Tell the pool which difficulty would suit us; it may answer by set_difficulty, an error or not at all."""
        # A request with an id: DATUM drops the connection when the id is null.
        value = int(difficulty) if difficulty >= 1 else difficulty
        self._ask("mining.suggest_difficulty", [value], self._ignore)

    def next_deadline(self) -> float | None:
        """Monotonic time at which `tick` has something to do; None before start and after failure."""
        if self.failure is not None or self._last_line is None:
            return None
        deadlines = [self._last_line + self._silence_timeout, self._configure_deadline, self._handshake_deadline]
        if (oldest := self._pending.oldest) is not None:
            deadlines.append(oldest.sent + self._submit_timeout)
        return min(deadline for deadline in deadlines if deadline is not None)

    def tick(self, now: float) -> None:
        """Learn that time has passed: give up answers, the configure reply, the handshake or a silent pool."""
        if self.failure is not None or self._last_line is None:
            return
        for pending in self._pending.expire(now, self._submit_timeout):
            self._lose(pending, LossCause.TIMEOUT)
        if self._configure_deadline is not None and now >= self._configure_deadline:
            self._configure_deadline = None
            self._advance()
        if self._handshake_deadline is not None and now >= self._handshake_deadline:
            missing = "subscribe" if self.extranonce is None else "authorize"
            self._fail(FailureKind.HANDSHAKE_TIMEOUT, f"no answer to {missing} in {self._handshake_timeout:g} s")
        elif now >= self._last_line + self._silence_timeout:
            self._fail(FailureKind.SILENCE, f"no line in {self._silence_timeout:g} s")

    # --- handshake ---

    def _configure(self) -> None:
        """Ask for rolling even where the mask is 0: DATUM writes broken JSON for other extensions alone."""
        if not self._hardware_mask:
            self._configure_deadline = None
            return
        options = {
            "version-rolling.mask": f"{self._hardware_mask:08x}",
            "version-rolling.min-bit-count": self._min_version_bits,
        }
        extensions = ["version-rolling", "subscribe-extranonce"]
        self._ask("mining.configure", [extensions, options], self._on_configured)

    def _advance(self) -> None:
        """Take the next step of the handshake that what we know allows."""
        if self.failure is not None or self.ready:
            return
        configured = self._configure_deadline is None
        if not self._subscribe_asked and (configured or self._pipelined):
            self._subscribe_asked = True
            resume = [self.session_id] if self.session_id else []
            self._ask("mining.subscribe", [self._user_agent, *resume], self._on_subscribed)
        if not self._authorize_asked and self._subscribe_asked and (self.extranonce is not None or self._pipelined):
            self._authorize_asked = True
            self._ask("mining.authorize", [self._worker, self._password], self._on_authorized)
        if self.extranonce is not None and self._authorized and configured:
            self._become_ready(self.extranonce)

    def _become_ready(self, extranonce: Extranonce) -> None:
        self.ready = True
        self._handshake_deadline = None
        resumed = extranonce.first == self._previous_extranonce1
        mask = self.version_mask
        self._emit(Ready(extranonce.first, extranonce.second_size, self.session_id, mask, resumed))
        if self._ask_extranonce and not self._extranonce_granted:
            self._ask("mining.extranonce.subscribe", [], self._ignore)
        if self._suggestion is not None:
            self.suggest_difficulty(self._suggestion)
        if self._held is not None:
            held, self._held = self._held, None
            self._take_job(held.notify, held.difficulty, held.extranonce or extranonce)

    def _on_configured(self, response: Response, _now: float) -> None:
        self._configure_deadline = None
        self._extranonce_granted = granted_extranonce(response.result)
        try:
            mask = granted_mask(response.result)
        except ValueError as error:
            self._refuse("mining.configure", f"mask is {error}")
        else:
            if mask is not None:
                self._roll(mask)
        self._advance()

    def _on_subscribed(self, response: Response, _now: float) -> None:
        refused = outcome(response)
        if response.error is not None and self.session_id is not None:
            # The pool may know nothing of sessions: cgminer then asks again with nothing, and so do we, once.
            self.session_id = None
            self._ask("mining.subscribe", [], self._on_subscribed)
            return
        if response.error is not None or response.result is None:
            self._fail(FailureKind.SUBSCRIBE_REFUSED, self._redact(refused.text))
            return
        try:
            subscription = parse_subscription(response.result)
        except ValueError as error:
            self._fail(FailureKind.SUBSCRIBE_REFUSED, str(error))
            return
        self.extranonce = subscription.extranonce
        self.session_id = subscription.session_id
        self._advance()

    def _on_authorized(self, response: Response, _now: float) -> None:
        answer = outcome(response)
        if not answer.accepted:
            self._fail(FailureKind.UNAUTHORIZED, self._redact(answer.text))
            return
        self._authorized = True
        self._advance()

    # --- what comes in ---

    def _receive(self, message: Wire, now: float) -> None:
        self._last_line = now
        if isinstance(message, Response):
            self._receive_response(message, now)
            return
        act = self._METHODS.get(message.method)
        if act is not None:
            act(self, message, now)
        elif isinstance(message, Request):
            self._send(encode_error(message.id, -3, "Method not found"))

    def _receive_response(self, response: Response, now: float) -> None:
        request_id = _own_id(response.id)
        if (pending := self._pending.take(request_id)) is not None:
            self._settle(pending, response, now)
        elif (answered := self._asked.pop(request_id, None)) is not None:
            answered(response, now)
        else:
            self.unmatched_replies += 1

    def _settle(self, pending: Pending, response: Response, now: float) -> None:
        answer = outcome(response)
        if answer.reason is None:
            self.book.count_acknowledged(float(pending.job.difficulty))
        else:
            self.book.count_refused(answer.reason)
        text, seconds = self._redact(answer.text), now - pending.sent
        result = SubmitResult(pending.token, answer.accepted, answer.reason, text, pending.job, pending.share, seconds)
        self._emit(result)

    def _on_notify(self, message: Notification | Request, _now: float) -> None:
        try:
            notify = parse_notify(message.params)
        except ValueError as error:
            self._refuse(message.method, str(error))
            return
        self._unusable_in_a_row = 0
        if self.ready and self.extranonce is not None:
            self._take_job(notify, self.difficulty, self.extranonce)
            return
        clean = notify.clean or (self._held is not None and self._held.notify.clean)
        self._held = _Held(replace(notify, clean=clean), self.difficulty, self.extranonce)

    def _take_job(self, notify: Notify, difficulty: Difficulty, extranonce: Extranonce) -> None:
        self._serial += 1
        job = Job(self._serial, notify, extranonce.first, extranonce.second_size, difficulty, self.version_mask)
        before = self.jobs.active
        same_work = before is not None and job.same_work_as(before)
        self._emit(NewJob(job, self.jobs.add(job), same_work))

    def _on_difficulty(self, message: Notification | Request, _now: float) -> None:
        try:
            self.difficulty = parse_difficulty((message.params or (None,))[0])
        except ValueError as error:
            self._refuse(message.method, str(error))
            return
        self._emit(DifficultyChanged(self.difficulty))

    def _on_extranonce(self, message: Notification | Request, _now: float) -> None:
        first, second_size = (*(message.params or ()), None, None)[:2]
        if second_size is None and self.extranonce is not None:
            second_size = self.extranonce.second_size  # some senders leave it out and mean the old one
        try:
            self.extranonce = parse_extranonce(first, second_size)
        except ValueError as error:
            self._refuse(message.method, str(error))
            return
        self._emit(ExtranonceChanged(self.extranonce.first, self.extranonce.second_size))

    def _on_mask(self, message: Notification | Request, _now: float) -> None:
        try:
            self._roll(parse_hex32((message.params or (None,))[0], padded=False))
        except ValueError as error:
            self._refuse(message.method, str(error))

    def _on_reconnect(self, message: Notification | Request, _now: float) -> None:
        self._emit(judge_reconnect(message.params, self._host, self._allowed_hosts))

    def _on_show_message(self, message: Notification | Request, _now: float) -> None:
        self._emit(Message(self._redact(clean_text((message.params or ("",))[0]))))
        self._answer(message, result=True)

    def _on_get_version(self, message: Notification | Request, _now: float) -> None:
        self._answer(message, self._user_agent)

    def _on_ping(self, message: Notification | Request, _now: float) -> None:
        self._answer(message, "pong")

    _METHODS: ClassVar[dict[str, Callable[["StratumClient", Notification | Request, float], None]]] = {
        "mining.notify": _on_notify,
        "mining.set_difficulty": _on_difficulty,
        "mining.set_extranonce": _on_extranonce,
        "mining.set_version_mask": _on_mask,
        "client.reconnect": _on_reconnect,
        "client.show_message": _on_show_message,
        "client.get_version": _on_get_version,
        "mining.ping": _on_ping,
    }

    # --- small steps ---

    def _roll(self, granted: int) -> None:
        """Take a mask: some pools grant bits that nobody asked for (AntPool's 5fffe000), so ours decides too."""
        self.rolling = bool(self._hardware_mask)
        mask = granted & self._hardware_mask
        if mask != self.version_mask:
            self.version_mask = mask
            self._emit(VersionMaskChanged(mask))

    def _ask(self, method: str, params: list[Any], answered: Callable[[Response, float], None]) -> None:
        self._asked[self._request(method, params)] = answered
        if len(self._asked) > MAX_ASKED:
            del self._asked[next(iter(self._asked))]

    def _request(self, method: str, params: list[Any]) -> int:
        self._last_id += 1
        self._send(encode_request(self._last_id, method, params))
        return self._last_id

    def _answer(self, message: Notification | Request, result: Any) -> None:
        if isinstance(message, Request):
            self._send(encode_response(message.id, result))

    def _ignore(self, _response: Response, _now: float) -> None:
        """Whatever was answered, we go on as before."""

    def _refuse(self, method: str, reason: str) -> None:
        self._emit(Unusable(method, reason))
        self._unusable_in_a_row += 1
        if self._unusable_in_a_row >= MAX_UNUSABLE:
            self._fail(FailureKind.PROTOCOL, f"{MAX_UNUSABLE} senseless messages, the last {method}: {reason}")

    def _lose(self, pending: Pending, cause: LossCause) -> None:
        self.book.count_lost()
        self._emit(SubmitLost(pending.token, cause, pending.job, pending.share))

    def _fail(self, kind: FailureKind, reason: str) -> None:
        if self.failure is None:
            for pending in self._pending.expire(0.0, timeout=0.0):
                self._lose(pending, LossCause.DISCONNECTED)
        super()._fail(kind, reason)

    def _redact(self, text: str) -> str:
        """Keep a pool that quotes our password from writing it into our log; `x` is no secret."""
        return text.replace(self._password, "***") if len(self._password) > 3 else text

    def _check_lengths(self) -> None:
        encode_request(1 << 40, "mining.authorize", [self._worker, self._password])
        encode_request(1 << 40, "mining.subscribe", [self._user_agent, "x" * 128])
        encode_request(1 << 40, "mining.submit", [self._worker, "x" * 128, "x" * 64, "x" * 8, "x" * 8, "x" * 8])


def _own_id(value: RequestId | None) -> int:
    """Read an id as one of ours: some servers send it back as text or as a float. 0 is never ours."""
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else 0
    if isinstance(value, float):
        return int(value) if value.is_integer() else 0
    return value or 0
