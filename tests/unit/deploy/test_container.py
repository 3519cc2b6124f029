"""The Containerfile: what it copies exists, nobody is root, and paths and ports are those of the program."""

import fnmatch
import json
import re
import tomllib
from pathlib import Path

import pytest

from controller.settings import ApiSettings

ROOT = Path(__file__).parents[3]
FILE = ROOT / "deploy" / "Containerfile"


def instructions() -> list[tuple[str, str]]:
    """Instruction and arguments, continued lines joined, comments gone."""
    text = re.sub(r"^\s*#.*\n", "", FILE.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def of(name: str) -> list[str]:
    return [rest for word, rest in instructions() if word == name]


def copied() -> list[str]:
    """Sources that come from the checkout."""
    return [source for rest in of("COPY") if "--from=" not in rest for source in rest.split()[:-1]]


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    begins = max(place for place, (word, _) in enumerate(found) if word == "FROM")
    return found[begins:]


def test_every_instruction_is_known() -> None:
    known = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "RUN", "STOPSIGNAL"}
    assert {word for word, _ in instructions()} <= known | {"USER", "VOLUME", "WORKDIR"}


@pytest.mark.parametrize("source", copied())
def test_what_is_copied_exists_and_is_not_ignored(source: str) -> None:
    readme = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["readme"]
    assert (ROOT / source).exists() or source == readme
    lines = (ROOT / "deploy" / "Containerfile.dockerignore").read_text().splitlines()
    allowed = [line[1:] for line in lines if line.startswith("!")]
    assert any(fnmatch.fnmatch(source, pattern) for pattern in allowed)


def test_every_package_of_the_distribution_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages <= set(copied())


def test_nobody_is_root_at_the_end() -> None:
    users = [rest for word, rest in last_stage() if word == "USER"]
    assert users
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])


def test_the_image_has_no_compiler_and_installs_by_hash() -> None:
    assert len(of("FROM")) == 2
    assert not [rest for word, rest in last_stage() if word == "RUN" and ("apt-get" in rest or "pip" in rest)]
    installs = [rest for rest in of("RUN") if "pip install" in rest]
    assert all("--require-hashes" in rest or "--no-index" in rest for rest in installs)


def test_python_is_one_that_the_project_supports() -> None:
    (base,) = of("ARG")
    version = re.search(r"python:(\d+)\.(\d+)-", base)
    assert version is not None
    assert (int(version[1]), int(version[2])) >= (3, 11)


def test_port_health_and_command() -> None:
    port = ApiSettings().port
    assert of("EXPOSE") == [str(port)]
    assert f"127.0.0.1:{port}/-/healthy" in of("HEALTHCHECK")[0]
    command = json.loads(of("ENTRYPOINT")[0]) + json.loads(of("CMD")[0])
    assert command == ["shedload", "run", "--config", "/etc/shedload/shedload.toml"]
    (state,) = re.findall(r"STATE_DIRECTORY=(\S+)", " ".join(of("ENV")))
    assert of("VOLUME") == [state]
