"""A plug-in of pytest for ``make gpu``: a test that is done stays done, and none begins when the time is over.

Large models are left out: the oracle alone takes a minute for one of them. The file that ``GPU_TESTS_DONE`` names says
which tests began and ended, under ``GPU_TESTS_CODE``; tests that began and never ended come last.
"""

import contextlib
import json
import os
import time
from collections import Counter
from pathlib import Path

from sizes import large, models_of

FILE, CODE = Path(os.environ["GPU_TESTS_DONE"]), os.environ["GPU_TESTS_CODE"]
END = time.monotonic() + float(os.environ["GPU_TESTS_SECONDS"])
CUT, NO_TESTS = 124, 5  # exit codes
failed, before = set(), 0


def _lines():
    for text in FILE.read_text().splitlines() if FILE.exists() else ():
        with contextlib.suppress(ValueError):  # a torn line says nothing
            line = json.loads(text)
            if line["code"] == CODE:
                yield line["test"], line["how"]


def _add(test, how):
    with FILE.open("a") as file:
        file.write(json.dumps({"test": test, "how": how, "code": CODE}) + "\n")


def pytest_collection_modifyitems(config, items):
    global before
    done = {test for test, how in _lines() if how == "ended"}
    began = Counter(test for test, how in _lines() if how == "began")
    chosen = [item for item in items if item.get_closest_marker("gpu") and not any(map(large, models_of(item)))]
    before = sum(item.nodeid in done for item in chosen)
    items[:] = sorted((item for item in chosen if item.nodeid not in done), key=lambda item: began[item.nodeid])


def pytest_runtest_logstart(nodeid):
    _add(nodeid, "began")


def pytest_runtest_logreport(report):
    if report.failed:
        failed.add(report.nodeid)
    elif report.when == "teardown" and report.nodeid not in failed:
        _add(report.nodeid, "ended")


def pytest_runtest_makereport(item):
    if time.monotonic() > END:
        item.session.shouldstop = "out of time"


def pytest_sessionfinish(session, exitstatus):
    if session.shouldstop == "out of time":
        session.exitstatus = 1 if failed else CUT
    elif exitstatus == NO_TESTS and before:
        session.exitstatus = 0
