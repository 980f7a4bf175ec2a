"""A Ray that is started here is not open to the network."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, psutil
from skilljobs.cluster.session import ray_session
with ray_session() as cluster:
    ours = psutil.Process().children(recursive=True) + [psutil.Process()]
    listening = [
        connection.laddr.ip
        for process in ours
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
print(json.dumps(listening))
"""


@pytest.mark.slow
@pytest.mark.ray
def test_a_local_ray_listens_on_loopback_alone() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    addresses = json.loads(done.stdout.splitlines()[-1])
    assert len(addresses) >= 4
    assert {address.removeprefix("::ffff:") for address in addresses} == {"127.0.0.1"}
