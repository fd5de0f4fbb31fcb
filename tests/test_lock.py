"""The lock is closed: what any locked package requires is locked too, in a version that it accepts.

Packages are installed without resolving anything (tools/bootstrap.py), so a requirement that the lock leaves out would
be missing at run time. `pip check` does not look at extras such as google-auth[requests]; this does. The requirements
come from the metadata of what is installed, so they hold for this platform and this Python.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("run", "extras", "dev")
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^ ;\\]+) *(?:;([^\\]+))?", re.M)


def lock_text(lock: str) -> str:
    return (ROOT / "requirements" / f"{lock}.txt").read_text()


def pins(text: str) -> dict[str, str]:
    """Name -> version of each package that the lock installs here."""
    found: dict[str, str] = {}
    for name, version, marker in _PIN.findall(text):
        line = Requirement(f"{name}=={version}{f';{marker}' if marker else ''}")
        if line.marker is None or line.marker.evaluate():
            found[canonicalize_name(name)] = version
    return found


def wanted(lock: str) -> list[Requirement]:
    """What the project itself asks for: `run` installs and builds it, `extras` and `dev` add theirs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = [*project["project"]["dependencies"], *project["dependency-groups"]["build"]]
    if lock != "run":
        lines += [line for extra in project["project"]["optional-dependencies"].values() for line in extra]
    if lock == "dev":
        lines += [line for group in project["dependency-groups"].values() for line in group]
    return [Requirement(line) for line in lines]


@cache
def required_by(name: str, extra: str = "") -> tuple[Requirement, ...]:
    """The requirements on this platform of an installed package, with one of its extras ("" for none)."""
    requirements = [Requirement(line) for line in distribution(name).requires or ()]
    return tuple(each for each in requirements if each.marker is None or each.marker.evaluate({"extra": extra}))


def gaps(lock: str, text: str) -> dict[str, str]:
    """Each package that the lock lacks or has in a version that is not accepted, with the reason."""
    locked = pins(text)
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    todo = [("pyproject.toml", each) for each in wanted(lock)]
    todo += [("the lock", Requirement(f"{name}=={version}")) for name, version in locked.items()]
    while todo:
        by, requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if name not in locked:
            found[name] = f"{by} requires {requirement}, which is not locked"
        elif not requirement.specifier.contains(locked[name], prereleases=True):
            found[name] = f"{by} requires {requirement}, but {locked[name]} is locked"
        else:
            for extra in {"", *requirement.extras}:
                if (name, extra) not in seen:
                    seen.add((name, extra))
                    todo += [(name, each) for each in required_by(name, extra)]
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_what_is_installed_is_what_is_locked(lock: str) -> None:
    """Otherwise the requirements below would be those of other versions; `make test` installs what the lock says."""
    locked = pins(lock_text(lock))
    assert {name: distribution(name).version for name in locked} == locked


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_locked(lock: str) -> None:
    assert gaps(lock, lock_text(lock)) == {}


@pytest.mark.parametrize("lock", LOCKS)
def test_no_pin_can_be_left_out(lock: str) -> None:
    """Whichever line is removed, the gap is seen; a line whose removal leaves none would serve nothing."""
    text = lock_text(lock)
    for name in pins(text):
        without = re.sub(rf"^{re.escape(name)}==.*\n(?: +--hash=.*\n)*", "", text, flags=re.M | re.I)
        assert without != text
        assert "not locked" in gaps(lock, without).get(name, ""), name


def test_extras_are_followed() -> None:
    """google-auth needs `requests` only for the extra of that name, which google-genai requires."""
    assert "google-auth[requests]" in " ".join(str(each) for each in required_by("google-genai"))
    assert "requests" not in {each.name for each in required_by("google-auth")}
    assert "requests" in {each.name for each in required_by("google-auth", "requests")}


def test_a_version_that_is_not_accepted_is_seen() -> None:
    text = re.sub(r"^click==\S+", "click==1.0", lock_text("run"), flags=re.M)
    assert "but 1.0 is locked" in gaps("run", text)["click"]
