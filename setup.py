"""Builds the C back end of shedload.hashing; everything else about the project stands in pyproject.toml.

The extension is optional: without a compiler the install goes on and hashing uses hashlib. With SHEDLOAD_REQUIRE_C=1
(continuous integration, release wheels) a failed compile fails the install.
"""

import os
import sys

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

REQUIRED = os.environ.get("SHEDLOAD_REQUIRE_C") == "1"

MISSING = "the C extension could not be built: apt install gcc python3-dev"


class BuildExtension(build_ext):
    """Says in one line what a failed compile needs and what happens without it."""

    def build_extension(self, ext: Extension) -> None:
        """Compile; setuptools itself lets an optional extension fail."""
        try:
            super().build_extension(ext)
        except Exception:
            consequence = "SHEDLOAD_REQUIRE_C=1 makes it mandatory" if REQUIRED else "hashing goes on with hashlib"
            sys.stderr.write(f"shedload: {MISSING} ({consequence})\n")
            raise


setup(
    ext_modules=[
        Extension(
            "shedload.hashing._sha256d",
            sources=["shedload/hashing/_sha256d.c"],
            depends=["shedload/hashing/_compress.h", "shedload/hashing/_lanes.h"],
            extra_compile_args=["-O3"],
            define_macros=[("Py_LIMITED_API", "0x030b0000")],
            py_limited_api=True,
            optional=not REQUIRED,
        )
    ],
    cmdclass={"build_ext": BuildExtension},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
