"""The pool's end of Stratum V1: serves one rig over one connection and is used once.

    server = StratumServer(allot=...)          simulated pool and proxy; shares are judged here and answered at once
    server.start(now)
    loop: write server.data_to_send(); server.receive_data(bytes, now); act on server.events_received();
          at server.next_deadline() call server.tick(now)

The owner sends work: `set_difficulty`, `set_extranonce` take effect with the next `send_job`, which writes them in
front of the notify, because many rigs apply them at a notify only. Send something every 30-60 s or rigs leave.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from shedload.bitcoin.target import Difficulty, parse_difficulty, target_of_difficulty
from shedload.stratum.admission import Allotment, admit_any, minimum_of_password, suggested
from shedload.stratum.endpoint import Endpoint, Flood
from shedload.stratum.events import (
    Answered,
    Authorized,
    DifficultySuggested,
    FailureKind,
    JobWanted,
    Joined,
    MaskAgreed,
    ServerEvent,
    ShareJudged,
    Subscribed,
)
from shedload.stratum.jobs import VERSION_ROLLING_MASK, Job, JobTable, Notify, encode_notify
from shedload.stratum.lines import FROM_RIG_LIMIT, FROM_STRANGER_LIMIT, clean_text
from shedload.stratum.messages import (
    Message,
    Notification,
    Request,
    RequestId,
    Response,
    encode_error,
    encode_notification,
    encode_request,
    encode_response,
    parse_hex32,
    wire_difficulty,
)
from shedload.stratum.shares import (
    ERROR_OF_VERDICT,
    MAX_WORKER,
    NTIME_FORWARD,
    Judgement,
    SeenShares,
    Submit,
    Verdict,
    judge,
    parse_submit,
)

SUBSCRIBE_TIMEOUT = 15.0
"""Seconds a stranger may take to subscribe: DATUM's figure."""

AUTHORIZE_TIMEOUT = 60.0
"""Seconds to authorize: ckpool's figure."""

STRANGER_BYTES = 8 * 1024
"""Bytes taken before authorize; an honest handshake is under 600."""

MAX_WORKERS = 64
"""Names authorized on one connection; another proxy behind us may bring several."""

MAX_IN_FLIGHT = 64
"""Submits that may wait for an owner's answer where answers are not automatic."""

INVALID_JOB_AFTER = 60.0
INVALID_RECONNECT_AFTER = 120.0
INVALID_DROP_AFTER = 180.0
"""Seconds of nothing but invalid shares after which a job, a reconnect and the end are due: ckpool's ladder."""


class StratumServer(Endpoint[ServerEvent]):
    """One rig's connection.

    `allot` is asked at subscribe, with the session id the rig would resume, and returns None when there is no room.
    With `auto_reply` off each ShareJudged waits for `answer`.
    """

    def __init__(
        self,
        *,
        allot: Callable[[str | None], Allotment | None],
        admit: Callable[[str, str], bool] = admit_any,
        version_mask: int = VERSION_ROLLING_MASK,
        difficulty: Difficulty | float = 1,
        allow_set_extranonce: bool = True,
        check_worker: bool = True,
        auto_reply: bool = True,
        stale_grace: float = 0.0,
        ntime_forward: int = NTIME_FORWARD,
        subscribe_timeout: float = SUBSCRIBE_TIMEOUT,
        authorize_timeout: float = AUTHORIZE_TIMEOUT,
    ) -> None:
        super().__init__(FROM_STRANGER_LIMIT)
        self.jobs = JobTable()
        self.allotment: Allotment | None = None
        self.workers: list[str] = []
        self.user_agent = ""
        self.difficulty: Difficulty = parse_difficulty(difficulty)
        self.minimum_difficulty: Difficulty | None = None
        self.version_mask = 0
        self.rolling = False
        self.takes_extranonce = False
        self.seen = SeenShares()
        self._allot = allot
        self._admit = admit
        self._offered_mask = version_mask
        self._requested_mask = 0
        self._allow_set_extranonce = allow_set_extranonce
        self._check_worker = check_worker
        self._auto_reply = auto_reply
        self._stale_grace = stale_grace
        self._ntime_forward = ntime_forward
        self._subscribe_timeout = subscribe_timeout
        self._authorize_timeout = authorize_timeout

        self._started: float | None = None
        self._taken = 0
        self._joined_told = False
        self._difficulty_sent: Difficulty | None = None
        self._extranonce_due = False
        self._clean_at = float("-inf")
        self._serial = 0
        self._in_flight = 0
        self._last_id = 0
        self._invalid_since: float | None = None
        self._invalid_stage = 0

    @property
    def joined(self) -> bool:
        """Subscribed and authorized: the rig takes jobs."""
        return self.allotment is not None and bool(self.workers)

    def start(self, now: float) -> None:
        """Begin to count the handshake's deadlines; call once, when the connection stands."""
        self._started = now

    # --- what the owner sends ---

    def set_difficulty(self, difficulty: Difficulty | float) -> None:
        """Judge jobs from the next one on by this; ValueError where it is no difficulty."""
        self.difficulty = parse_difficulty(difficulty)

    def set_extranonce(self, extranonce1: bytes, extranonce2_size: int) -> None:
        """Give another extranonce from the next job on; only for rigs with `takes_extranonce`, others ignore it."""
        assert self.allotment is not None, "not subscribed"
        self.allotment = replace(self.allotment, extranonce1=extranonce1, extranonce2_size=extranonce2_size)
        self._extranonce_due = True

    def set_version_mask(self, mask: int) -> None:
        """Offer another mask at once; bits of the old one stay good for jobs already sent."""
        self._offered_mask = mask
        agreed = mask & self._requested_mask
        if self.rolling and agreed != self.version_mask:
            self.version_mask = agreed
            self._send(encode_notification("mining.set_version_mask", [f"{agreed:08x}"]))

    def send_job(self, notify: Notify, now: float, line: bytes | None = None) -> Job:
        """Send work, with the difficulty and extranonce that became due; return the job as the rig has it.

        Bits of the notify's version inside the rig's mask are cleared: miners disagree on what they would mean.
        `line` is the same notify encoded once by `encode_notify` for many rigs; not used where bits must be cleared.
        """
        assert self.allotment is not None, "not subscribed"
        if self.difficulty != self._difficulty_sent:
            self._send(encode_notification("mining.set_difficulty", [wire_difficulty(self.difficulty)]))
            self._difficulty_sent = self.difficulty
        if self._extranonce_due:
            params = [self.allotment.extranonce1.hex(), self.allotment.extranonce2_size]
            self._send(encode_notification("mining.set_extranonce", params))
            self._extranonce_due = False
        if notify.version & self.version_mask:
            notify, line = replace(notify, version=notify.version & ~self.version_mask), None
        self._serial += 1
        first, size = self.allotment.extranonce1, self.allotment.extranonce2_size
        job = Job(self._serial, notify, first, size, self.difficulty, self.version_mask)
        if self.jobs.add(job):
            self._clean_at = now
        self._send(line or encode_notify(notify))
        return job

    def send_reconnect(self, host: str = "", port: int | None = None, wait: int = 0) -> None:
        """Ask the rig to dial again; without a port it dials the same place."""
        self._send(encode_notification("client.reconnect", [] if port is None else [host, port, wait]))

    def send_message(self, text: str) -> None:
        """Show a text to whoever looks at the rig."""
        self._send(encode_notification("client.show_message", [text]))

    def ask_version(self) -> None:
        """Ask for the rig's software; the answer comes as Answered."""
        self._last_id += 1
        self._send(encode_request(self._last_id, "client.get_version", []))

    def send_raw(self, line: bytes) -> None:
        """Write bytes as they are: for pools that shall misbehave."""
        self._send(line)

    def answer(self, judged: ShareJudged, *, result: Any = None, error: Any = None) -> None:
        """Answer a share by hand; without a result and an error, as the judgement says."""
        self._in_flight = max(0, self._in_flight - 1)
        if result is not None or error is not None:
            self._send(encode_response(judged.request_id, result, error))
        else:
            self._reply(judged.request_id, judged.judgement)

    # --- time ---

    def next_deadline(self) -> float | None:
        """Monotonic time at which `tick` has something to do; None where nothing is awaited."""
        if self.failure is not None or self._started is None:
            return None
        if self.allotment is None:
            return self._started + self._subscribe_timeout
        if not self.workers:
            return self._started + self._authorize_timeout
        return None if self._invalid_since is None else self._invalid_since + _LADDER[self._invalid_stage]

    def tick(self, now: float) -> None:
        """Learn that time has passed: a stranger that never joins, a rig that sends only invalid shares."""
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return
        if self.allotment is None or not self.workers:
            missing = "subscribe" if self.allotment is None else "authorize"
            self._fail(FailureKind.HANDSHAKE_TIMEOUT, f"no {missing} in time")
            return
        self._invalid_stage += 1
        if self._invalid_stage == 1:
            self._emit(JobWanted())
        elif self._invalid_stage == 2:
            self.send_reconnect()
        else:
            self._fail(FailureKind.INVALID_SHARES, f"only invalid shares for {INVALID_DROP_AFTER:g} s")

    # --- what comes in ---

    def _weigh(self, line: bytes) -> None:
        self._taken += len(line)
        if not self.workers and self._taken > STRANGER_BYTES:
            raise Flood(f"more than {STRANGER_BYTES} bytes before authorize")

    def _receive(self, message: Message, now: float) -> None:
        if isinstance(message, Response):
            if message.error is None:
                self._emit(Answered(_bounded(message.result)))
            return
        method = message.method
        if method.startswith("eth_") or method == "login":
            self._fail(FailureKind.WRONG_PROTOCOL, f"speaks another coin's protocol: {clean_text(method, 40)}")
            return
        if method.startswith("mining.suggest"):
            self._on_suggest(message, now)
            return
        act = self._METHODS.get(method)
        if act is not None:
            act(self, message, now)
        else:
            self._respond(message, error=[-3, "Method not found", None])

    def _on_configure(self, message: Notification | Request, _now: float) -> None:
        params = message.params or ()
        extensions = params[0] if params else None
        options = params[1] if len(params) > 1 and isinstance(params[1], dict) else {}
        if not isinstance(extensions, list):
            self._respond(message, error=[-1, "params not found", None])
            return
        result: dict[str, Any] = {}
        for extension in extensions:
            if extension == "version-rolling":
                result |= self._grant_rolling(options.get("version-rolling.mask"))
            elif extension == "minimum-difficulty":
                result[extension] = self._raise_minimum(options.get("minimum-difficulty.value"))
            elif extension == "subscribe-extranonce":
                self.takes_extranonce = result[extension] = self._allow_set_extranonce
            elif isinstance(extension, str):
                result[extension[:64]] = extension == "info"
        self._respond(message, result)

    def _grant_rolling(self, requested: Any) -> dict[str, Any]:
        """Grant the bits both can roll; min-bit-count is a hint that some firmwares write wrongly: not read."""
        try:
            mask = 0xFFFF_FFFF if requested is None else parse_hex32(requested, padded=False)
        except ValueError as error:
            return {"version-rolling": f"mask is {error}"}
        if not self._offered_mask:
            return {"version-rolling": False}
        self.rolling = True
        self._requested_mask = mask
        self.version_mask = mask & self._offered_mask
        self._emit(MaskAgreed(self.version_mask))
        return {"version-rolling": True, "version-rolling.mask": f"{self.version_mask:08x}"}

    def _raise_minimum(self, value: Any) -> bool:
        try:
            self.minimum_difficulty = parse_difficulty(value)
        except ValueError:
            return False
        return True

    def _on_subscribe(self, message: Notification | Request, _now: float) -> None:
        params = message.params or ()
        if self.allotment is None:
            session = params[1] if len(params) > 1 and isinstance(params[1], str) else None
            allotment = self._allot(session)
            if allotment is None:
                self._respond(message, error=[20, "No room for another miner", None])
                self._fail(FailureKind.FULL, "no extranonce left")
                return
            self.allotment = allotment
            self.seen = self.seen if allotment.seen is None else allotment.seen  # an empty one is false, and meant
            self.user_agent = clean_text(params[0]) if params and isinstance(params[0], str) else ""
            self._emit(Subscribed(self.user_agent, allotment.extranonce1, allotment.extranonce2_size))
        given = self.allotment
        subscriptions = [["mining.set_difficulty", given.session_id], ["mining.notify", given.session_id]]
        self._respond(message, [subscriptions, given.extranonce1.hex(), given.extranonce2_size])
        self._tell_joined()

    def _on_authorize(self, message: Notification | Request, _now: float) -> None:
        worker, password = (*(message.params or ()), None, None)[:2]
        if not isinstance(worker, str) or len(worker) > MAX_WORKER or not worker.isprintable():
            self._respond(message, result=False, error=[-1, "worker is no short text", None])
            return
        password = password if isinstance(password, str) else ""
        known = worker in self.workers
        if not known and (len(self.workers) >= MAX_WORKERS or not self._admit(worker, password)):
            self._respond(message, result=False, error=[24, "Unauthorized worker", None])
            return
        self._respond(message, result=True)
        if known:
            return
        self.workers.append(worker)
        self._lines.limit = FROM_RIG_LIMIT
        wanted = minimum_of_password(password)
        self.minimum_difficulty = wanted if wanted is not None else self.minimum_difficulty
        self._emit(Authorized(worker, wanted))
        self._tell_joined()

    def _tell_joined(self) -> None:
        if self.joined and not self._joined_told:
            self._joined_told = True
            self._emit(Joined(self.workers[0]))

    def _on_extranonce_subscribe(self, message: Notification | Request, _now: float) -> None:
        self.takes_extranonce = self._allow_set_extranonce
        if self.takes_extranonce:
            self._respond(message, result=True)
        else:
            self._respond(message, result=False, error=[20, "Not supported.", None])

    def _on_suggest(self, message: Notification | Request, _now: float) -> None:
        """Take suggest_difficulty, suggest_target, and the old form with the number in the method's name."""
        try:
            difficulty = suggested(message.method, (message.params or (None,))[0])
        except ValueError:
            self._respond(message, error=[-1, "params not found", None])
            return
        self._emit(DifficultySuggested(difficulty))
        self._respond(message, result=True)

    def _on_ping(self, message: Notification | Request, _now: float) -> None:
        self._respond(message, "pong")

    def _on_nothing(self, _message: Notification | Request, _now: float) -> None:
        """ESP-Miner's way to answer a ping, and the legacy mining.capabilities: no reply is expected."""

    def _on_submit(self, message: Notification | Request, now: float) -> None:
        submit, job = None, None
        try:
            submit = parse_submit(message.params)
        except ValueError:
            judgement = Judgement(Verdict.MALFORMED)
        else:
            job = self.jobs.find(submit.job_id)
            judgement = self._judge(submit, job, now)
        self._climb(judgement.verdict, now)
        request_id = message.id if isinstance(message, Request) else None
        self._emit(ShareJudged(request_id, submit, job, judgement))
        if self._auto_reply:
            self._reply(request_id, judgement)
            return
        self._in_flight += 1
        if self._in_flight > MAX_IN_FLIGHT:
            self._fail(FailureKind.FLOOD, f"more than {MAX_IN_FLIGHT} shares wait for an answer")

    _METHODS: ClassVar[dict[str, Callable[["StratumServer", Notification | Request, float], None]]] = {
        "mining.configure": _on_configure,
        "mining.subscribe": _on_subscribe,
        "mining.authorize": _on_authorize,
        "mining.submit": _on_submit,
        "mining.extranonce.subscribe": _on_extranonce_subscribe,
        "mining.ping": _on_ping,
        "pong": _on_nothing,
        "mining.capabilities": _on_nothing,
    }

    # --- shares ---

    def _judge(self, submit: Submit, job: Job | None, now: float) -> Judgement:
        if self.allotment is None:
            return Judgement(Verdict.NOT_SUBSCRIBED)
        if not self.workers or (self._check_worker and submit.worker not in self.workers):
            return Judgement(Verdict.UNAUTHORIZED)
        if job is None:
            return Judgement(Verdict.JOB_NOT_FOUND)
        return judge(
            self._with_present_mask(job),
            submit.share,
            self.seen,
            state=self.jobs.state(job),
            # A lower difficulty since the job was sent is the rig's to use: ckpool's refusals here cost honest work.
            target=max(job.target, target_of_difficulty(self.difficulty)),
            accept_stale=now - self._clean_at < self._stale_grace,
            ntime_forward=self._ntime_forward,
        )

    def _with_present_mask(self, job: Job) -> Job:
        """BIP310: a new mask counts at once; bits of the one the job was sent with stay good for it."""
        union = job.version_mask | self.version_mask
        return job if union == job.version_mask or job.notify.version & union else replace(job, version_mask=union)

    def _reply(self, request_id: RequestId | None, judgement: Judgement) -> None:
        if judgement.accepted:
            self._send(encode_response(request_id, result=True))
        else:
            self._send(encode_error(request_id, *ERROR_OF_VERDICT[judgement.verdict]))

    def _climb(self, verdict: Verdict, now: float) -> None:
        """Step on or off the ladder of those who send nothing valid; late is not invalid."""
        if verdict in {Verdict.ACCEPTED, Verdict.STALE}:
            self._invalid_since = None
            self._invalid_stage = 0
        elif self._invalid_since is None:
            self._invalid_since = now

    def _respond(self, message: Notification | Request, result: Any = None, error: Any = None) -> None:
        if isinstance(message, Request):
            self._send(encode_response(message.id, result, error))


_LADDER = (INVALID_JOB_AFTER, INVALID_RECONNECT_AFTER, INVALID_DROP_AFTER)


def _bounded(result: Any) -> Any:
    return clean_text(result) if isinstance(result, str) else None
