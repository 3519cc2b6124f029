"""The topics of one site, as MQTT clients see them; names inside v1 only ever get more.

shedload/v1/<site>/status                 online | offline; retained, last will
shedload/v1/<site>/state                  JSON; retained, every 5 s and on change
shedload/v1/<site>/group/<group>/state    JSON; retained, every 15 s and on change
shedload/v1/<site>/event/<type>           JSON; never retained
"""

from dataclasses import dataclass

FORBIDDEN = frozenset("+#/$")
LONGEST = 128
"""Characters of one level."""


@dataclass(frozen=True, slots=True)
class Topics:
    """Makes the site's topics; a name that cannot be one level of a topic is a ValueError."""

    root: str
    site: str

    def __post_init__(self) -> None:
        _level(self.site)

    @property
    def status(self) -> str:
        """Whether the daemon is there."""
        return f"{self.root}/{self.site}/status"

    @property
    def state(self) -> str:
        """How the site is doing."""
        return f"{self.root}/{self.site}/state"

    def group(self, name: str) -> str:
        """How a group is doing. Raises ValueError."""
        return f"{self.root}/{self.site}/group/{_level(name)}/state"

    def event(self, kind: str) -> str:
        """Something that happened. Raises ValueError."""
        return f"{self.root}/{self.site}/event/{_level(kind)}"


def _level(name: str) -> str:
    if not name or len(name) > LONGEST or any(sign in FORBIDDEN or not sign.isprintable() for sign in name):
        raise ValueError(f"{name[:40]!r} cannot stand in a topic")
    return name
