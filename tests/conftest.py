"""What every test shares: one thread a process (several run side by side), and Hypothesis without deadlines."""

from __future__ import annotations

import gc
import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # every program that tests start would compile the tree
os.environ.pop("COLUMNS", None)  # pytest-xdist sets it: tables are as wide as they are, as in a pipe
# Programs that tests start find this tree first, whatever is installed, and the helpers.
os.environ["PYTHONPATH"] = os.pathsep.join(
    os.path.join(os.path.dirname(os.path.abspath(__file__)), folder) for folder in ("..", "helpers")
)

from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings
from shared_traces import share_traces, share_with_other_processes

sys.dont_write_bytecode = False  # every process would rewrite the assertions of all tests

# A shared machine stalls at times: a slow example is no failure. Failures are reproduced from the printed blob.
settings.register_profile(
    "default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_collection_finish() -> None:
    """What was imported until here stays to the end, and the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """`make versions` names libraries that its environments lack on purpose; what compares with them is skipped."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in os.environ.get("BERT_ONNX_TESTS_WITHOUT", "").split(","):
            raise
        pytest.skip(f"{error.name} is not in this environment")


@pytest.fixture(scope="session", autouse=True)
def shared_traces_of_all_processes(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where pytest-xdist runs several processes, whose temporary folders lie in one."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        share_with_other_processes(tmp_path_factory.getbasetemp().parent / "traces")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before every test."""
    share_traces(item.path)
