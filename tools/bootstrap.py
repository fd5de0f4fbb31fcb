"""Make the local environment (.venv) that `make run` and `make test` use.

    python3 tools/bootstrap.py run|extras|dev

Runs on a bare machine: Python 3.11 or later and nothing else; standard library only. It neither needs nor uses
root. Installs what `requirements/run.txt` or `requirements/dev.txt` locks, wheels only and by hash, then the project
itself (editable), checks that the result fits together, and leaves a stamp so that the next call returns at once. The
package index, proxies and
certificates are whatever the environment says to pip (`PIP_*`, pip.conf); this file names none.

Where pip comes from, first that works:
1. `.venv` itself, from an earlier call;
2. ensurepip (Debian keeps it in python3-venv);
3. uv on PATH;
4. the system's own pip, 22.3 or later;
5. Debian and Ubuntu: the package python3-pip-whl, fetched by apt into a temporary directory and unpacked there.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "asbru-installed"
GROUPS = ("run", "extras", "dev")
"""Each holds what those before it need: the gateway, its extras (aws, google), what developers need."""
LOCKS = {group: ROOT / "requirements" / f"{group}.txt" for group in GROUPS}

NO_PIP = """\
Cannot find or fetch pip, which is needed once, to install what Asbru depends on. Any one of these helps:
    Debian, Ubuntu:  apt-get install python3-venv
    Fedora, RHEL:    dnf install python3-pip
    Alpine:          apk add py3-pip
    anywhere:        put uv on PATH
Then run the same command again.
"""
NOT_CLOSED = """\
The packages installed from requirements/{lock} do not fit together; the lines above say which.
    After a change of dependencies, lock them again:   make lock
    Packages left in .venv from another time go with:  make clean
Then run the same command again.
"""

Command = Callable[..., list[str]]
"""pip for .venv, whoever provides it: a verb and its options make the command line."""


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in GROUPS:
        print("usage: bootstrap.py run|extras|dev", file=sys.stderr)
        return 2
    if sys.version_info < (3, 11):
        found = sys.version.split()[0]
        print(f"Asbru needs Python 3.11 or later; {sys.executable} is {found}. Set PYTHON=…", file=sys.stderr)
        return 2
    group = arguments[0]
    wanted = fingerprint()
    if installed(group, wanted):
        return 0
    print(f"Installing what requirements/{group}.txt locks into .venv …", flush=True)
    make_venv()
    with tempfile.TemporaryDirectory(prefix="asbru-pip-") as scratch:
        pip = find_pip(Path(scratch))
        if pip is None:
            print(NO_PIP, file=sys.stderr, end="")
            return 3
        # Wheels only: building a source package would run code that no hash covers. No dependencies: the lock names
        # every package. With them pip resolves extras such as google-auth[requests] again and takes a newer release.
        install = pip("install", "--quiet", "--no-deps")
        call([*install, "--require-hashes", "--only-binary", ":all:", "-r", str(LOCKS[group])])
        call([*install, "--no-build-isolation", "--editable", str(ROOT)])
        check = subprocess.run(pip("check"), capture_output=True, text=True, check=False)
        if check.returncode != 0:
            print(
                check.stdout, check.stderr, NOT_CLOSED.format(lock=LOCKS[group].name), sep="", end="", file=sys.stderr
            )
            return 1
    STAMP.write_text(f"{group} {wanted}\n")
    return 0


def fingerprint() -> str:
    """What the environment was made from: the locks, the project's metadata, where it lies and the Python."""
    digest = hashlib.sha256(f"{ROOT}\n{minor_version()}\n".encode())
    for path in (*LOCKS.values(), ROOT / "pyproject.toml"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def installed(group: str, wanted: str) -> bool:
    """Whether an earlier call has done the work, or more."""
    if not (STAMP.exists() and PYTHON.exists()):
        return False
    stamp = STAMP.read_text().split()
    return stamp[1:] == [wanted] and stamp[0] in GROUPS[GROUPS.index(group) :]


def make_venv() -> None:
    """Create .venv, or keep the one that is there when this Python's minor version made it."""
    settings = VENV / "pyvenv.cfg"
    made_by = re.search(r"^version(?:_info)? *= *(\d+\.\d+)", settings.read_text(), re.M) if settings.exists() else None
    if made_by and made_by[1] == minor_version() and runs([str(PYTHON), "-c", ""]):
        STAMP.unlink(missing_ok=True)
        return
    venv.create(VENV, clear=True, with_pip=False, symlinks=True)


def minor_version() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def find_pip(scratch: Path) -> Command | None:
    """A pip, or uv, that works on .venv; None when there is none and none can be fetched."""
    own = [str(PYTHON), "-m", "pip"]
    if runs([*own, "--version"]):
        return lambda verb, *options: [*own, verb, *options]
    if importlib.util.find_spec("ensurepip") and runs([str(PYTHON), "-m", "ensurepip", "--default-pip"]):
        return lambda verb, *options: [*own, verb, *options]
    if uv := shutil.which("uv"):
        return lambda verb, *options: [uv, "pip", verb, "--python", str(PYTHON), *options]
    system = [sys.executable, "-m", "pip", "--python", str(PYTHON)]
    if runs([*system, "--version"]):
        return lambda verb, *options: [*system, verb, *options]
    wheel = debian_pip_wheel(scratch)
    # A wheel is a zip file with pip in it, and pip can be run from there; so it installs itself first.
    if wheel and runs([str(PYTHON), f"{wheel}/pip", "install", "--quiet", "--no-index", "--no-deps", str(wheel)]):
        return lambda verb, *options: [*own, verb, *options]
    return None


def debian_pip_wheel(scratch: Path) -> Path | None:
    """Fetch and unpack python3-pip-whl with apt's own trust, as any user, touching nothing of the system's."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return None
    for directory in ("state/lists/partial", "cache/archives/partial"):
        (scratch / directory).mkdir(parents=True)
    options = {
        "Dir::State": scratch / "state",
        "Dir::State::lists": scratch / "state" / "lists",
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": scratch / "cache",
        "Debug::NoLocking": "1",
        "APT::Sandbox::User": "",
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    runs([*apt, "update"])  # one broken source among several must not stop us: the download below decides
    if not runs([*apt, "download", "python3-pip-whl"], cwd=scratch):
        return None
    for package in scratch.glob("python3-pip-whl*.deb"):
        if runs(["dpkg-deb", "-x", str(package), str(scratch / "unpacked")]):
            return next((scratch / "unpacked").glob("usr/share/python-wheels/pip-*.whl"), None)
    return None


def runs(command: list[str], cwd: Path | None = None) -> bool:
    """Run a command quietly; whether it succeeded. With ASBRU_BOOTSTRAP_DEBUG set, its output is shown."""
    shown = None if os.environ.get("ASBRU_BOOTSTRAP_DEBUG") else subprocess.DEVNULL
    return subprocess.run(command, cwd=cwd, stdout=shown, stderr=shown, check=False).returncode == 0


def call(command: list[str]) -> None:
    """Run a command that must succeed, showing what it says; ends the program with its exit code otherwise."""
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "UV_COMPILE_BYTECODE": "1"}
    code = subprocess.run(command, env=environment, check=False).returncode
    if code != 0:
        print(f"Failed: {' '.join(command)}", file=sys.stderr)
        sys.exit(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
