"""Models at a revision, in a cache laid out as that of the Hugging Face hub; and code that comes with a model."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from skilljobs.checkpoints.adapter_files import Adapter
from skilljobs.checkpoints.source import find_again, find_model
from skilljobs.errors import InputError
from skilljobs.lm.load import load_model
from skilljobs.pipeline.opening import planned_fields
from skilljobs.plan.job_plan import plan_job
from skilljobs.spec import JobSpec
from tests.models import save_random_llama

FIRST, SECOND = "1" * 40, "2" * 40

CODE = """
from transformers import LlamaConfig, LlamaForCausalLM

class StrangerConfig(LlamaConfig):
    model_type = "stranger"

class StrangerForCausalLM(LlamaForCausalLM):
    config_class = StrangerConfig
"""


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a model with two commits in the cache: `main` is the second one, the tag `v1` the first."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--somebody--something"
    (folder / "refs").mkdir(parents=True)
    for seed, (ref, commit) in enumerate([("v1", FIRST), ("main", SECOND)]):
        save_random_llama(folder / "snapshots" / commit, 16, 24, 2, 2, seed)
        (folder / "refs" / ref).write_text(commit)
    return "somebody/something"


def test_a_revision_is_resolved_to_its_commit(cached: str) -> None:
    main, tagged, named = (find_model(cached, revision=revision) for revision in (None, "v1", FIRST))
    assert (main.revision, tagged.revision, named.revision) == (SECOND, FIRST, FIRST)
    assert tagged.digest == named.digest != main.digest
    assert find_again(tagged).path == tagged.path


def test_another_machine_finds_the_model_with_all_that_was_said_of_it(cached: str, small_llama: Path) -> None:
    for found in (find_model(cached, revision="v1"), find_model(str(small_llama), trust_remote_code=True)):
        source = replace(found, adapter=Adapter(Path("/adapter"), "digest"), quantize="8bit")
        assert find_again(source) == source


def test_another_commit_is_another_fingerprint(cached: str) -> None:
    def fields(revision: str | None) -> dict[str, object]:
        spec = JobSpec(task="arithmetic", model=cached, revision=revision, soft_prompt="random", limit=8)
        return planned_fields(plan_job(spec))

    main, tagged, named = fields(None), fields("v1"), fields(FIRST)
    assert (main["commit"], tagged["commit"]) == (SECOND, FIRST)
    assert tagged == named


def test_a_revision_that_is_not_there_is_named(cached: str) -> None:
    with pytest.raises(InputError, match="no model 'somebody/something' at the revision 'v2'"):
        find_model(cached, revision="v2")


@pytest.mark.parametrize("local", [True, False])
def test_a_revision_of_a_model_on_this_machine_is_refused(small_llama: Path, local: bool) -> None:
    with pytest.raises(InputError, match=r"--revision main is for models on the Hugging Face hub"):
        find_model(str(small_llama) if local else "tiny", revision="main")


@pytest.fixture
def stranger(tmp_path: Path, small_llama: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model whose architecture is in a file beside it, which notes that it was run."""
    folder = tmp_path / "stranger"
    shutil.copytree(small_llama, folder)
    config = json.loads((folder / "config.json").read_text())
    auto_map = {"AutoConfig": "strange.StrangerConfig", "AutoModelForCausalLM": "strange.StrangerForCausalLM"}
    config |= {"model_type": "stranger", "architectures": ["StrangerForCausalLM"], "auto_map": auto_map}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "strange.py").write_text(f"open({str(folder / 'ran')!r}, 'w').close()\n{CODE}")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    return folder


def test_code_is_run_only_if_it_is_trusted(stranger: Path, small_llama: Path) -> None:
    with pytest.raises(InputError, match="needs Python code of its own, which only --trust-remote-code runs"):
        load_model(find_model(str(stranger)), "float32", "cpu")
    assert not (stranger / "ran").exists()
    model = load_model(find_model(str(stranger), trust_remote_code=True), "float32", "cpu")
    assert (stranger / "ran").exists()
    expected = load_model(find_model(str(small_llama)), "float32", "cpu")
    ids = torch.arange(5, 15)[None]
    assert torch.equal(model(ids).logits, expected(ids).logits)


def test_code_that_may_be_run_is_in_the_digest(stranger: Path) -> None:
    def digests() -> tuple[str, str]:
        return find_model(str(stranger)).digest, find_model(str(stranger), trust_remote_code=True).digest

    without, trusted = digests()
    (stranger / "strange.py").write_text("# changed")
    assert digests()[0] == without
    assert digests()[1] != trusted


def test_code_in_another_repository_is_refused(stranger: Path) -> None:
    config = json.loads((stranger / "config.json").read_text())
    config["auto_map"]["AutoModelForCausalLM"] = "somebody/else--strange.StrangerForCausalLM"
    (stranger / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="names code in another repository"):
        find_model(str(stranger), trust_remote_code=True)
    find_model(str(stranger))


def test_a_directory_that_would_load_another_model_is_refused(stranger: Path) -> None:
    (stranger / "adapter_config.json").write_text('{"base_model_name_or_path": "somewhere/else"}')
    with pytest.raises(InputError, match="holds an adapter"):
        find_model(str(stranger))
