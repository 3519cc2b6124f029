"""A valid configuration to vary, and ways to read what is wrong with it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from controller.config import Config, ConfigProblems, load

MINIMAL = """\
[site]
name = "home"
currency = "USD"
timezone = "Asia/Almaty"
power_cap_kw = 10
inventory = "slots.csv"
state_dir = "state"
"""


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Config]:
    """Load MINIMAL and more text behind it."""

    def load_text(more: str = "", *, base: str = MINIMAL, mode: int = 0o600, **environ: str) -> Config:
        path = tmp_path / "shedload.toml"
        path.write_text(base + more)
        path.chmod(mode)
        return load(path, environ)

    return load_text


@pytest.fixture
def problems(read: Callable[..., Config], tmp_path: Path) -> Callable[..., list[str]]:
    """What is wrong, one text a problem, without the folder."""

    def problems_of(more: str = "", **options: object) -> list[str]:
        with pytest.raises(ConfigProblems) as caught:
            read(more, **options)
        return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]

    return problems_of
