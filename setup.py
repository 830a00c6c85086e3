# SPDX-License-Identifier: Apache-2.0
"""Builds the wheel: CMake compiles into build/<wheel tag>, which is kept between builds.

Everything that can be declared is in pyproject.toml. CMAKE_ARGS adds options, as in
`CMAKE_ARGS=-DOSTRIA_DNNL_ROOT=/opt/onednn pip install .`; `make setup` uses the same folder, so
that the C++ tests and the wheel share every object file.
"""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PYTHON = f"cp{sys.version_info.major}{sys.version_info.minor}"
TAG = f"{PYTHON}-{PYTHON}-{sysconfig.get_platform().replace('-', '_')}"  # cmake/setup.sh: the same
BUILD = ROOT / "build" / TAG


class BuildLibraries(build_ext):
    """Compiles libostria.so and the extension and puts them beside the package's Python files."""

    def build_extension(self, ext: Extension) -> None:
        for tool in ("cmake", "ninja"):
            if not shutil.which(tool):
                raise SystemExit(f"ostria: building needs {tool}, and it is not on the PATH")
        configure = ["cmake", "-S", str(ROOT), "-B", str(BUILD), "-G", "Ninja"]
        configure += [f"-DPython_EXECUTABLE={sys.executable}", "-DOSTRIA_INPLACE=OFF"]
        # Not the ninja of an earlier build: pip's build environments come and go.
        configure += [f"-DCMAKE_MAKE_PROGRAM={shutil.which('ninja')}"]
        configure += ["-DOSTRIA_BUILD_TESTS=OFF", "-DOSTRIA_REQUIRE_PYTHON=ON"]
        configure += shlex.split(os.environ.get("CMAKE_ARGS", ""))
        target = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        install = ["cmake", "--install", str(BUILD), "--component", "python", "--strip"]
        subprocess.run(configure, check=True)
        subprocess.run(["cmake", "--build", str(BUILD), "--target", "ostria_python"], check=True)
        subprocess.run([*install, "--prefix", str(target)], check=True, stdout=subprocess.DEVNULL)


class BuildPython(build_py):
    """Starts from an empty folder: a file deleted from the sources must leave the wheel too."""

    def run(self) -> None:
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


BUILD.mkdir(parents=True, exist_ok=True)
setup(
    ext_modules=[Extension("ostria._native", sources=[])],
    cmdclass={"build_ext": BuildLibraries, "build_py": BuildPython},
    options={
        "build": {"build_base": f"build/{TAG}/wheel"},
        "egg_info": {"egg_base": f"build/{TAG}"},
    },
)
