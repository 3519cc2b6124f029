"""HTTP digest authentication as the small web server on a rig does it: MD5, qop=auth, every field checked."""

import hashlib
import random
import re
from collections import OrderedDict
from collections.abc import Mapping

REALM = "antMiner Configuration"
KEPT_NONCES = 256
"""Older nonces are forgotten and answered with stale=true, as a server with little memory does."""
FIELD = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')


class DigestGate:
    """Knows one user and password; gives challenges and checks answers."""

    def __init__(self, user: str, password: str, rng: random.Random, realm: str = REALM) -> None:
        self.user = user
        self.password = password
        self.realm = realm
        self._rng = rng
        self._nonces: OrderedDict[str, set[int]] = OrderedDict()

    def challenge(self, *, stale: bool = False) -> str:
        """The value of WWW-Authenticate for a new nonce."""
        nonce = f"{self._rng.getrandbits(128):032x}"
        self._nonces[nonce] = set()
        while len(self._nonces) > KEPT_NONCES:
            self._nonces.popitem(last=False)
        more = ", stale=true" if stale else ""
        return f'Digest realm="{self.realm}", nonce="{nonce}", qop="auth"{more}'

    def refusal(self, method: str, path: str, authorization: str | None) -> str | None:
        """None when the request may pass, else the challenge to answer with."""
        if authorization is None or not authorization.lower().startswith("digest "):
            return self.challenge()
        fields = {name.lower(): quoted or bare for name, quoted, bare in FIELD.findall(authorization[7:])}
        if not self._answers(method, path, fields):
            return self.challenge()
        seen = self._nonces.get(fields["nonce"])
        count = int(fields["nc"], 16)
        if seen is None or count in seen:
            return self.challenge(stale=True)
        seen.add(count)
        return None

    def _answers(self, method: str, path: str, fields: Mapping[str, str]) -> bool:
        if any(not fields.get(name) for name in ("username", "realm", "nonce", "uri", "response", "cnonce", "nc")):
            return False
        if fields["username"] != self.user or fields["realm"] != self.realm or fields["uri"] != path:
            return False
        if fields.get("qop") != "auth" or not re.fullmatch("[0-9a-fA-F]{8}", fields["nc"]):
            return False
        secret = _md5(f"{self.user}:{self.realm}:{self.password}")
        request = _md5(f"{method}:{path}")
        due = _md5(":".join((secret, fields["nonce"], fields["nc"], fields["cnonce"], "auth", request)))
        return due == fields["response"].lower()


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
