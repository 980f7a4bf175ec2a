"""Fixtures that several rooms share: real data where it is, small models, one Ray for the session."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["HF_HUB_OFFLINE"] = "1"

hypothesis.settings.register_profile("same examples every time", derandomize=True)
hypothesis.settings.load_profile("same examples every time")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def bigbench() -> Path:
    """The released BIG-bench arithmetic examples."""
    path = SHARED_DATA / "bigbench_arithmetic" / "arithmetic.jsonl.gz"
    if not path.exists():
        pytest.skip("the real data sets are not here")
    return path


@pytest.fixture(scope="session")
def ray_here() -> Iterator[Callable[[], None]]:
    """One Ray for all tests that need it, and scorers that stay loaded. Gives what ends scorers that wait."""
    import ray

    from skilljobs.cluster.shared_scorers import scorers_shared

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100 * 1024 * 1024,
        logging_level="ERROR",
        log_to_driver=False,
    )
    with scorers_shared() as release:
        yield release
    ray.shutdown()


@pytest.fixture(scope="session")
def small_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of random weights with the tiny model's tokenizer: 2 layers of 24 neurons."""
    from tests.models import save_random_llama

    return save_random_llama(tmp_path_factory.mktemp("models") / "small", width=16, neurons=24, layers=2, heads=2)


@pytest.fixture(scope="session")
def wide_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of random weights of width 1024, where float32 products depend on how they are blocked."""
    from tests.models import save_random_llama

    return save_random_llama(tmp_path_factory.mktemp("models") / "wide", width=1024, neurons=1536, layers=2, heads=8)
