"""A cluster that requires a token."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.machines import run_command

pytestmark = [pytest.mark.slow, pytest.mark.ray]
TOKEN = "0123456789abcdef0123456789abcdef"
HEAD = """
import sys
from tests.integration.machines import Machines, wait_for
made = Machines()
wait_for(made.answers)
print(made.dashboard, flush=True)
sys.stdin.read()
made.close()
"""


@pytest.fixture(scope="module")
def dashboard() -> Iterator[str]:
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    head = subprocess.Popen(
        [sys.executable, "-c", HEAD], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert head.stdin is not None
    assert head.stdout is not None
    yield next(line.strip() for line in head.stdout if line.startswith("http"))
    head.stdin.close()
    head.wait(timeout=60)


def test_without_a_token_the_way_to_give_one_is_told(dashboard: str, tmp_path: Path) -> None:
    nobody = {"HOME": str(tmp_path), "RAY_AUTH_TOKEN": None}
    for mode in (None, "disabled"):
        done = run_command(["runs", "--address", dashboard], RAY_AUTH_MODE=mode, **nobody)
        assert (done.returncode, "requires a token: put the cluster's token" in done.stderr) == (2, True), done.stderr
    wrong = nobody | {"RAY_AUTH_TOKEN": "f" * 32}
    done = run_command(["submit", "--task", "arithmetic", "--address", dashboard], RAY_AUTH_MODE=None, **wrong)
    assert (done.returncode, "requires a token" in done.stderr, "Traceback" in done.stderr) == (2, True, False)


def test_a_token_at_hand_is_used_without_further_words(dashboard: str, tmp_path: Path) -> None:
    done = run_command(["runs", "--address", dashboard], RAY_AUTH_MODE=None, RAY_AUTH_TOKEN=TOKEN, HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(TOKEN)
    done = run_command(["runs", "--address", dashboard], RAY_AUTH_MODE=None, RAY_AUTH_TOKEN=None, HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
