"""One tree of errors; the class says what to do next.

ShedloadError
  ConfigError         the operator's text is wrong; says where, what and what would do; exit code 2
  ProtocolError       a peer broke its protocol; drop the connection and count it
  StoreError          nothing could be written; only lowering commands may go out
  RigError            one rig, one exchange
    Unreachable       no connection: retry later with backoff
    NoAnswer          sent, but no complete answer before the deadline: the outcome is unknown, read back
    Garbled           an answer came and means nothing: retry, keep the bytes for the log
    Refused           the rig understood and said no: report, do not repeat
      Unauthorized    the credential is wrong or writing is locked: stop until the operator acts
      Unsupported     this firmware has no such verb: never send it
    WrongMachine      another machine answers at this address: no write may go out
"""


class ShedloadError(Exception):
    """Base of every error that shedload raises on purpose."""


class ConfigError(ShedloadError):
    """Something the operator wrote is wrong.

    `where` names file and line or key, `problem` what stands there, `remedy` what would do.
    """

    def __init__(self, where: str, problem: str, remedy: str = "") -> None:
        self.where = where
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{where}: {problem}" + (f"; {remedy}" if remedy else ""))


class ProtocolError(ShedloadError):
    """A peer broke its protocol; the connection is of no more use."""


class StoreError(ShedloadError):
    """The store could not take a record."""


class RigError(ShedloadError):
    """An exchange with one rig failed; `detail` is short, bounded text fit for a log."""

    retryable = True
    kind = "error"

    def __init__(self, detail: str) -> None:
        cut = detail[:300]
        if not cut.isprintable():  # it may quote the peer: nothing of that may steer a terminal or end a line
            cut = "".join(sign if sign.isprintable() else "?" for sign in cut)
        self.detail = cut
        super().__init__(cut)


class Unreachable(RigError):
    """No connection could be made."""

    kind = "unreachable"


class NoAnswer(RigError):
    """The request may have arrived; no complete answer came before the deadline. The outcome is unknown."""

    kind = "no_answer"


class Garbled(RigError):
    """An answer arrived that means nothing; `raw` holds its first bytes."""

    kind = "garbled"

    def __init__(self, detail: str, raw: bytes = b"") -> None:
        super().__init__(detail)
        self.raw = raw[:512]


class Refused(RigError):
    """The rig understood the request and said no; `code` is the vendor's, where it gave one."""

    retryable = False
    kind = "refused"

    def __init__(self, detail: str, code: int | str | None = None) -> None:
        super().__init__(detail)
        self.code = code


class Unauthorized(Refused):
    """The credential was not accepted, or writing is locked on the rig."""

    kind = "unauthorized"


class Unsupported(Refused):
    """This firmware has no such verb."""

    kind = "unsupported"


class WrongMachine(RigError):
    """Another machine than the expected one answers at this address."""

    retryable = False
    kind = "wrong_machine"
