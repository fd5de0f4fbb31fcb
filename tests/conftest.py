"""What holds for every test.

On CI nothing may be skipped: a skip there means that something a test needs was not installed, so it is a failure
(`.ci/run` installs everything). On a developer's machine a skip says what is missing and stays a skip.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes is never a verdict: the machine may be busy.
settings.register_profile("asbru", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("asbru")

NOTHING_MAY_BE_SKIPPED = bool(os.environ.get("CI"))


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure on CI; an expected failure (xfail) also reports as skipped and is left alone."""
    if NOTHING_MAY_BE_SKIPPED and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"Skipped, and on CI nothing may be: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse_skip(report)
    return report
