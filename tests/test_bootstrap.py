"""`tools/bootstrap.py` in a project of its own: it installs what is locked and checks the result.

The index is a directory of wheels that the test writes, so nothing is fetched.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

BOOTSTRAP = Path(__file__).resolve().parent.parent / "tools" / "bootstrap.py"
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "asbru"
version = "0"
"""
BACKEND = """
import shutil

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return shutil.copy("asbru-0-py3-none-any.whl", wheel_directory).rpartition("/")[2]
"""


def write_wheel(directory: Path, name: str, version: str, requires: Iterable[str] = ()) -> Path:
    """A wheel with one empty module in it."""
    stem = f"{name}-{version}"
    file = directory / f"{stem}-py3-none-any.whl"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    content = {
        f"{name}.py": "",
        f"{stem}.dist-info/METADATA": "\n".join(metadata) + "\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*content, f"{stem}.dist-info/RECORD"])
    with zipfile.ZipFile(file, "w") as wheel:
        for path, text in {**content, f"{stem}.dist-info/RECORD": record}.items():
            wheel.writestr(path, text)
    return file


class Project:
    """A directory with the tool, a lock, and wheels to install from."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "project"
        self.wheels = directory / "wheels"
        self.wheels.mkdir()
        for name in ("tools", "requirements"):
            (self.directory / name).mkdir(parents=True)
        shutil.copy(BOOTSTRAP, self.directory / "tools")
        (self.directory / "pyproject.toml").write_text(PROJECT)
        (self.directory / "backend.py").write_text(BACKEND)
        write_wheel(self.directory, "asbru", "0")

    def lock(self, *wheels: Path) -> None:
        lines = []
        for wheel in wheels:
            name, version = wheel.name.split("-")[:2]
            lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
        for group in ("run", "extras", "dev"):
            (self.directory / "requirements" / f"{group}.txt").write_text("".join(lines))

    def bootstrap(self) -> subprocess.CompletedProcess[str]:
        offline = {
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "UV_NO_INDEX": "1",
            "UV_FIND_LINKS": str(self.wheels),
        }
        return subprocess.run(
            [sys.executable, "tools/bootstrap.py", "run"],
            cwd=self.directory,
            env=os.environ | offline,
            capture_output=True,
            text=True,
            check=False,
        )


def test_what_the_lock_says_is_installed_and_nothing_else(tmp_path: Path) -> None:
    """A requirement is neither resolved behind the lock's back, even where the index has it, nor left out unseen."""
    project = Project(tmp_path)
    one = write_wheel(project.wheels, "one", "1")
    for name, version in (("three", "1"), ("one", "2")):
        write_wheel(project.wheels, name, version)

    for version, requirement in (("1", "three"), ("2", "one>=2")):
        project.lock(one, write_wheel(project.wheels, "two", version, [requirement]))
        done = project.bootstrap()
        assert done.returncode == 1
        reported, _, remedy = done.stderr.partition("The packages installed from requirements/run.txt")
        assert "two" in reported and requirement.partition(">")[0] in reported
        assert "make lock" in remedy and "Traceback" not in done.stderr

    assert project.bootstrap().returncode == 1, "a failure must not count as installed"

    project.lock(one, write_wheel(project.wheels, "two", "3", ["one>=1"]))
    done = project.bootstrap()
    assert (done.returncode, done.stderr) == (0, "")
    assert "No broken" not in done.stdout
    imports = [str(project.directory / ".venv/bin/python"), "-c", "import one, two, asbru"]
    assert subprocess.run(imports, check=False).returncode == 0
    again = project.bootstrap()
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
