"""Makes the private environment that `make` works in: `python3 deploy/environment.py .venv runtime|test`.

Only the standard library, because nothing is installed yet. It says exactly what to install where something is missing.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)


def main() -> int:
    """Make or complete the environment; returns the exit code."""
    place, kind = ROOT / sys.argv[1], sys.argv[2]
    problem = missing()
    if problem:
        print(f"make: {problem}", file=sys.stderr)
        return 1
    python = place / "bin" / "python"
    if not python.exists():
        step(f"making the private environment {place.name}/")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
    if not compiler():
        print(
            "make: no C compiler or no Python.h: hashing will use hashlib, which is slower. "
            "For the C code: apt install gcc python3-dev",
            file=sys.stderr,
        )
    step(f"installing what requirements/{kind}.lock names")
    pip(python, "--require-hashes", "-r", str(ROOT / "requirements" / f"{kind}.lock"))
    step("installing shedload itself")
    pip(python, "--no-build-isolation", "--no-deps", "--editable", str(ROOT))
    return 0


def missing() -> str:
    """What stands in the way, and what to install; empty when nothing does."""
    if sys.version_info < OLDEST:
        return f"Python {OLDEST[0]}.{OLDEST[1]} or newer is needed, this is {sys.version.split()[0]}"
    try:
        import ensurepip  # noqa: F401, PLC0415 - Debian ships it apart
        import venv  # noqa: F401, PLC0415
    except ImportError:
        return "Python cannot make environments here. Install: apt install python3-venv"
    return ""


def compiler() -> bool:
    """Whether the C extension can be built here."""
    import sysconfig  # noqa: PLC0415

    header = Path(sysconfig.get_path("include")) / "Python.h"
    return header.exists() and shutil.which(os.environ.get("CC", "cc").split()[0]) is not None


def pip(python: Path, *arguments: str) -> None:
    """Run pip quietly; its own words come when it fails."""
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, cwd=ROOT)


def step(text: str) -> None:
    """Say what is going on: the first run takes a minute."""
    print(f"make: {text} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as failure:
        print(f"make: {' '.join(map(str, failure.cmd[:4]))} ... failed; its own message stands above", file=sys.stderr)
        sys.exit(1)
