"""The CGI pages of stock Antminer firmware, one method each; says what to ask, not when."""

import re
from typing import Any

from drivers._antminer_conf import Change, Conf, form_body, generation, json_body
from drivers._antminer_sample import Generation, Sample
from drivers._antminer_socket import sample_stats
from drivers._antminer_web import identity, sample_web_stats, web_pools
from drivers._http import Web
from drivers._pools import pool_readings
from shedload.cgminer.repair import decode_json
from shedload.device import Fault, FaultCode, Identity, PoolReading
from shedload.errors import Garbled, NoAnswer, Refused, Unsupported
from shedload.units import Watts

READ_S = 5.0
"""Each page is a process on a slow ARM board; answers take tenths of a second, seconds under load."""
WRITE_S = 45.0
"""A write of the configuration goes to flash before it answers: at least 30 s are needed."""
BLINK_S = 3.0
"""`startBlink` of the old generations may never answer."""
REBOOT_S = 8.0
"""A reboot answers at once or hangs up."""
AUXILIARY_S = 1.5
"""Port 6060 is a small server of its own that answers at once where it exists."""

_POWER = re.compile(rb"miner power\s*:\s*(\d{1,6}(?:\.\d+)?)")
_WARNINGS = (
    ("P:1", FaultCode.OVERHEAT),
    ("P:2", FaultCode.COLD),
    ("V:", FaultCode.POWER_SUPPLY),
    ("R:", FaultCode.HASHRATE),
    ("N:", FaultCode.HASHRATE),
    ("J0:8", FaultCode.BOARD),
    ("J0:6", FaultCode.SENSOR),
    ("M:", FaultCode.CONTROL_BOARD),
    ("J", FaultCode.BOARD),
    ("L", FaultCode.BOARD),
)
"""Codes of `:6060/warning` by their beginning, the longer ones first."""


class Cgi:
    """The pages of one rig. Every method raises RigError."""

    def __init__(self, web: Web, auxiliary: Web) -> None:
        self._web = web
        self._auxiliary = auxiliary
        self._auxiliary_met = False

    async def identity(self) -> Identity:
        """Who answers."""
        return identity(await self._read("get_system_info"))

    async def configuration(self) -> Conf:
        """The whole configuration; Garbled where its end is lost, since it is read to be written back."""
        found = await self._web.get_json("/cgi-bin/get_miner_conf.cgi", deadline_s=READ_S)
        if found.partial or not isinstance(found.value, dict) or not isinstance(found.value.get("pools"), list):
            raise Garbled("get_miner_conf is not a whole configuration")
        return found.value

    async def write(self, before: Conf, change: Change, *, text_modes: bool = False) -> bool:
        """Replace the configuration; False where no answer came. Only reading back tells what became of it."""
        page = "/cgi-bin/set_miner_conf.cgi"
        try:
            if generation(before) is Generation.NEW:
                body = json_body(before, change, text_modes=text_modes)
                answer = await self._web.post_json(page, body, deadline_s=WRITE_S)
            else:
                answer = await self._web.post_form(page, form_body(before, change), deadline_s=WRITE_S)
        except NoAnswer:
            return False
        _refuse_errors(answer)
        return True

    async def statistics(self) -> Any:
        """The whole `stats.cgi`."""
        return await self._read("stats")

    async def sample(self, kind: Generation | None) -> Sample:
        """The statistics, by whichever page this generation has."""
        if kind in {Generation.OLD, Generation.X17}:
            return await self._old_sample()
        try:
            return sample_web_stats(await self._read("stats"))
        except Unsupported:
            return await self._old_sample()

    async def pools(self, kind: Generation | None) -> tuple[PoolReading, ...]:
        """The pools with their share counts."""
        if kind in {Generation.OLD, Generation.X17}:
            found = await self._read("miner_pools")
            rows = found.get("POOLS") if isinstance(found, dict) else None
            return pool_readings(row for row in rows or () if isinstance(row, dict))
        return pool_readings(web_pools(await self._read("pools")))

    async def summary(self) -> Any:
        """The whole `summary.cgi`."""
        return await self._read("summary")

    async def blinking(self, kind: Generation | None) -> bool | None:
        """True if the locating light is on; None where the firmware does not say."""
        if kind is Generation.NEW:
            found = await self._read("get_blink_status")
            told = found.get("blink") if isinstance(found, dict) else None
        else:
            answer = await self._web.post_form("/cgi-bin/blink.cgi", "action=onPageLoaded", deadline_s=READ_S)
            found = decode_json(answer).value
            told = found.get("isBlinking") if isinstance(found, dict) else None
        return None if told is None else told is True or str(told).lower() == "true"

    async def blink(self, kind: Generation, *, on: bool) -> None:
        """Switch the light; the old generations may not answer, so look at it afterwards."""
        page = "/cgi-bin/blink.cgi"
        if kind is Generation.NEW:
            await self._web.post_json(page, {"blink": on}, deadline_s=READ_S)
            return
        try:
            await self._web.post_form(page, f"action={'startBlink' if on else 'stopBlink'}", deadline_s=BLINK_S)
        except NoAnswer:
            return

    async def reboot(self) -> bool:
        """Restart the control board; False if it hung up or kept silent, which is how most rigs obey."""
        try:
            await self._web.post_form("/cgi-bin/reboot.cgi", "", deadline_s=REBOOT_S)
        except NoAnswer:
            return False
        return True

    async def power(self) -> Watts:
        """The draw as port 6060 tells it; Unsupported where it does not, as on most rigs, which have it closed."""
        if not self._auxiliary_met and not await self._auxiliary.knock(deadline_s=AUXILIARY_S):
            raise Unsupported("nobody listens on port 6060")
        self._auxiliary_met = True
        answer = await self._auxiliary.get("/miner_power", deadline_s=AUXILIARY_S)
        match = _POWER.search(answer)
        if match is None:
            raise Unsupported("port 6060 knows no miner_power")
        return Watts(float(match[1]))

    async def warnings(self) -> tuple[Fault, ...]:
        """The fault that port 6060 warns of."""
        found = decode_json(await self._auxiliary.get("/warning", deadline_s=AUXILIARY_S)).value
        told = str(found.get("error_message", "None")) if isinstance(found, dict) else "None"
        if told in {"None", ""}:
            return ()
        code = next((fault for start, fault in _WARNINGS if told.startswith(start)), FaultCode.OTHER)
        return (Fault(code, f"warning {told[:80]}", vendor_code=told[:20]),)

    async def _read(self, page: str) -> Any:
        return (await self._web.get_json(f"/cgi-bin/{page}.cgi", deadline_s=READ_S)).value

    async def _old_sample(self) -> Sample:
        return sample_stats(await self._read("miner_stats"))


def _refuse_errors(answer: bytes) -> None:
    """A write answers with JSON, with "ok" or with nothing; only the first can be a no."""
    try:
        found = decode_json(answer).value
    except Garbled:
        return
    if isinstance(found, dict) and str(found.get("stats", "success")) != "success":
        raise Refused(f"set_miner_conf: {str(found.get('msg', ''))[:120]}", str(found.get("code", ""))[:20])
