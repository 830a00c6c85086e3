# SPDX-License-Identifier: Apache-2.0
"""Builds the wheel of the CUDA backend in the build folder of the project's own wheel."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# pip copies nothing: it builds in place.
ROOT = Path(__file__).resolve().parents[2]
PYTHON = f"cp{sys.version_info.major}{sys.version_info.minor}"
TAG = f"{PYTHON}-{PYTHON}-{sysconfig.get_platform().replace('-', '_')}"  # setup.py: the same
BUILD = ROOT / "build" / TAG
VERSION = re.search(r'"([\d.]+)"', (ROOT / "python/ostria/_version.py").read_text())[1]


class BuildLibrary(build_ext):
    """Compiles libostria_cuda.so and puts it into the package."""

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        configure = ["cmake", "-S", str(ROOT), "-B", str(BUILD), "-G", "Ninja"]
        configure += [f"-DPython_EXECUTABLE={sys.executable}", "-DOSTRIA_INPLACE=OFF"]
        configure += [f"-DCMAKE_MAKE_PROGRAM={shutil.which('ninja')}"]
        configure += ["-DOSTRIA_BUILD_TESTS=OFF", "-DOSTRIA_REQUIRE_PYTHON=ON"]
        configure += ["-DOSTRIA_REQUIRE_CUDA=ON", *shlex.split(os.environ.get("CMAKE_ARGS", ""))]
        install = ["cmake", "--install", str(BUILD), "--component", "cuda", "--strip"]
        subprocess.run(configure, check=True)
        subprocess.run(["cmake", "--build", str(BUILD), "--target", "ostria_cuda"], check=True)
        subprocess.run([*install, "--prefix", str(target)], check=True, stdout=subprocess.DEVNULL)


setup(
    version=VERSION,
    install_requires=[f"ostria=={VERSION}"],
    ext_modules=[Extension("ostria_cuda._library", sources=[])],
    cmdclass={"build_ext": BuildLibrary},
    options={
        "build": {"build_base": str(BUILD / "wheel_cuda")},
        "egg_info": {"egg_base": str(BUILD)},
    },
)
