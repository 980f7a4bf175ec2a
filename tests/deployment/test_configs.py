"""The files that put skilljobs on machines, held against the validators of Ray, Kubernetes and hadolint; no network."""

import copy
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]
LAUNCHERS = ["cluster.yaml", "cluster/aws.yaml", "cluster/gcp.yaml"]
START = {
    "--metrics-export-port=8080",
    "--disable-usage-stats",
    "RAY_AUTH_MODE=token",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV=0",
}
HEAD = {"--head", "--port=6379", "--autoscaling-config=~/ray_bootstrap_config.yaml", "--dashboard-host=127.0.0.1"}
DOCKERFILE = (ROOT / "cluster/Dockerfile").read_text(encoding="utf-8")
PACKAGE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")
PINS = {canonicalize_name(name): version for name, version in re.findall(r"^(\S+)==(\S+)$", CONSTRAINTS, re.MULTILINE)}
OF_TORCH = ("nvidia-", "cuda-", "triton")  # CUDA, at the versions that torch's own wheel names
INSTALL = "cd ~/skilljobs-source && ~/skilljobs-venv/bin/pip install -c constraints.txt -e ."

COMMANDS = [
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
]


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return loaded


def commands(config: dict[str, Any]) -> Iterator[str]:
    for key in COMMANDS:
        yield from config.get(key, [])


def bash_accepts(script: str) -> bool:
    return subprocess.run(["bash", "-n", "-c", script], capture_output=True).returncode == 0


@pytest.mark.parametrize("name", LAUNCHERS)
class TestLauncher:
    def test_ray_accepts_it(self, name: str) -> None:
        validate_config(prepare_config(load(name)))

    @pytest.mark.parametrize("broken", [{"max_worker": 2}, {"auth": {"ssh_usr": "x"}}, {"setup_commands": "pip"}])
    def test_ray_refuses_a_broken_copy(self, name: str, broken: dict[str, Any]) -> None:
        config = copy.deepcopy(load(name)) | broken
        with pytest.raises((jsonschema.ValidationError, TypeError)):
            validate_config(prepare_config(config))

    def test_ray_starts_with_a_token_and_a_port_for_metrics(self, name: str) -> None:
        config = load(name)
        starts = {}
        for kind in ("head", "worker"):
            (starts[kind],) = (c for c in config[f"{kind}_start_ray_commands"] if "ray start" in c)
            assert set(starts[kind].split()) >= START
        assert set(starts["head"].split()) >= HEAD
        assert "--address=$RAY_HEAD_IP:6379" in starts["worker"].split()
        # with autoscaler v2 the workers of one's own machines were never started
        assert ("RAY_enable_autoscaler_v2=0" in starts["head"]) == (config["provider"]["type"] == "local")

    def test_every_node_installs_with_the_constraints(self, name: str) -> None:
        config = prepare_config(load(name))
        for kind in ("head", "worker"):
            installs = [c for c in config[f"{kind}_setup_commands"] if "pip install" in c]
            assert installs[0] == INSTALL
            assert all("constraints.txt" in command for command in installs)
        added = {name for c in config["head_setup_commands"] for name in re.findall(r"constraints\.txt ([\w-]+)$", c)}
        assert added <= PINS.keys()

    def test_what_is_mounted_can_be_installed_and_is_no_more(self, name: str) -> None:
        config = load(name)
        assert config["file_mounts"].pop("~/.ray/auth_token") == "~/.ray/auth_token"
        mounted = {local.removeprefix("./") for local in config["file_mounts"].values()}
        needed = {"pyproject.toml", "constraints.txt", "skilljobs", PACKAGE["readme"], *PACKAGE["license-files"]}
        assert mounted == needed
        assert all((ROOT / local).exists() for local in mounted)
        assert all(remote == f"~/skilljobs-source/{local[2:]}" for remote, local in config["file_mounts"].items())
        assert {"runs", ".git", ".venv"} <= set(config["rsync_exclude"])

    def test_bash_reads_every_command(self, name: str) -> None:
        assert all(bash_accepts(command) for command in commands(load(name)))


def test_the_constraints_leave_no_version_open() -> None:
    open_versions, seen = set(), set()
    found = [Requirement(text) for text in PACKAGE["dependencies"]]
    while found:
        wanted = found.pop()
        name = canonicalize_name(wanted.name)
        if (name, *wanted.extras) in seen or name.startswith(OF_TORCH):
            continue
        seen.add((name, *wanted.extras))
        if name not in PINS:
            open_versions.add(name)
        for text in metadata.requires(name) or []:
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras)):
                found.append(needed)
    assert not open_versions


def test_bash_refuses_a_broken_command() -> None:
    assert not bash_accepts("if true; then")


@pytest.mark.parametrize("name", ["cluster/aws.yaml", "cluster/gcp.yaml"])
def test_clouds_pay_for_gpus_only_while_a_job_wants_them(name: str) -> None:
    config = load(name)
    gpu = config["available_node_types"]["gpu"]
    assert gpu["min_workers"] == 0 < gpu["max_workers"] <= config["max_workers"]
    node = gpu["node_config"]
    assert "SPOT" in str(node.get("InstanceMarketOptions", node.get("scheduling"))).upper()


STRING, FLAG, COUNT = {"type": "string"}, {"type": "boolean"}, {"type": "integer", "minimum": 0}
POD = {"type": "object"}  # what is inside is Kubernetes' own, and checked by its schema


def fields(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


START_PARAMS = {"type": "object", "additionalProperties": STRING}
RAYJOB = fields(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=fields(["name"], name={"type": "string", "pattern": "^[a-z]([-a-z0-9]{0,45}[a-z0-9])?$"}),
    spec=fields(
        ["entrypoint", "rayClusterSpec"],
        entrypoint=STRING,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
        backoffLimit=COUNT,
        shutdownAfterJobFinishes=FLAG,
        ttlSecondsAfterFinished=COUNT,
        rayClusterSpec=fields(
            ["headGroupSpec", "rayVersion"],
            rayVersion=STRING,
            authOptions=fields(["mode"], mode={"enum": ["disabled", "token"]}),
            enableInTreeAutoscaling=FLAG,
            autoscalerOptions=fields(
                [],
                version={"enum": ["v1", "v2"]},
                upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
                idleTimeoutSeconds=COUNT,
            ),
            headGroupSpec=fields(["template"], rayStartParams=START_PARAMS, template=POD),
            workerGroupSpecs={
                "type": "array",
                "items": fields(
                    ["groupName", "minReplicas", "maxReplicas", "template"],
                    groupName=STRING,
                    replicas=COUNT,
                    minReplicas=COUNT,
                    maxReplicas=COUNT,
                    rayStartParams=START_PARAMS,
                    template=POD,
                ),
            },
        ),
    ),
)
"""The fields of KubeRay 1.7's RayJob that ours uses."""


class TestRayJob:
    job = load("cluster/rayjob.yaml")
    spec = job["spec"]
    cluster = spec["rayClusterSpec"]
    groups = (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])

    def test_its_fields_are_those_of_the_resource(self) -> None:
        jsonschema.validate(self.job, RAYJOB)

    def test_another_field_is_refused(self) -> None:
        broken = copy.deepcopy(self.job)
        broken["spec"]["rayClusterSpec"]["authOptions"]["modes"] = "token"
        with pytest.raises(jsonschema.ValidationError, match="modes"):
            jsonschema.validate(broken, RAYJOB)

    def test_pods_fit_the_schema_of_kubernetes(self) -> None:
        for group in self.groups:
            kubernetes_validate.validate(pod_template(group["template"]), KUBERNETES, strict=True)

    def test_a_broken_pod_is_refused(self) -> None:
        broken = copy.deepcopy(self.groups[1]["template"])
        broken["spec"]["containers"][0]["volumeMount"] = []
        with pytest.raises(kubernetes_validate.ValidationError, match="volumeMount"):
            kubernetes_validate.validate(pod_template(broken), KUBERNETES, strict=True)

    def test_rays_autoscaler_reads_what_a_node_has(self) -> None:
        resource = {"metadata": {"name": "skilljobs", "namespace": "default"}, "spec": self.cluster}
        config = _derive_autoscaling_config_from_ray_cr(resource)
        types = config["available_node_types"]
        assert types["headgroup"]["resources"] == {"CPU": 4, "memory": 16 * 2**30}
        assert types["gpu"]["resources"] == {"CPU": 7, "GPU": 1, "memory": 24 * 2**30}
        assert 1 <= types["gpu"]["min_workers"] < types["gpu"]["max_workers"] == config["max_workers"]

    def test_all_nodes_are_of_one_version(self) -> None:
        assert self.cluster["rayVersion"] == PINS[canonicalize_name("ray")]
        (image,) = {
            container["image"] for group in self.groups for container in group["template"]["spec"]["containers"]
        }
        assert image.endswith(f"/skilljobs:{PACKAGE['version']}")

    def test_it_wants_a_token_and_ends_with_its_job(self) -> None:
        assert self.cluster["authOptions"] == {"mode": "token"}
        assert self.spec["shutdownAfterJobFinishes"]
        assert self.spec["ttlSecondsAfterFinished"] > 0
        assert self.spec["backoffLimit"] > 0

    def test_every_node_sees_the_runs_and_shows_metrics(self) -> None:
        out = re.search(r"--out (\S+)", self.spec["entrypoint"])
        assert out is not None
        for group in self.groups:
            pod = group["template"]["spec"]
            container = pod["containers"][0]
            assert {"name": "runs", "mountPath": out[1]} in container["volumeMounts"]
            assert [volume["persistentVolumeClaim"] for volume in pod["volumes"]] == [{"claimName": "skilljobs-runs"}]
            assert {"name": "metrics", "containerPort": 8080} in container["ports"]
            assert group["rayStartParams"]["metrics-export-port"] == "8080"

    def test_its_pods_are_not_root_and_own_what_the_image_made(self) -> None:
        user = re.search(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE)
        assert user is not None
        for group in self.groups:
            context = group["template"]["spec"]["securityContext"]
            assert context == {"runAsNonRoot": True, "runAsUser": int(user[1]), "fsGroup": int(user[1])}

    def test_bash_reads_the_entrypoint(self) -> None:
        assert bash_accepts(self.spec["entrypoint"])


KUBERNETES = "1.32"


def pod_template(template: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "ray"}, "template": template}


class TestImage:
    def test_hadolint_has_nothing_to_say(self) -> None:
        self.lint(DOCKERFILE, 0)

    def test_hadolint_would_have(self) -> None:
        self.lint("FROM debian\nRUN cd /tmp\n", 1)

    @staticmethod
    def lint(text: str, code: int) -> None:
        program = Path(sys.executable).with_name("hadolint")
        done = subprocess.run([program, "-"], input=text, capture_output=True, text=True)
        assert done.returncode == code, done.stdout

    def test_dependencies_are_installed_exactly_and_before_the_source(self) -> None:
        dependencies = DOCKERFILE.index("-c constraints.txt -r requirements.txt")
        assert DOCKERFILE.index("COPY pyproject.toml constraints.txt") < dependencies < DOCKERFILE.index("COPY . .")
        assert "--no-deps . && pip check" in DOCKERFILE

    def test_its_requirements_are_those_of_the_package(self) -> None:
        script = re.search(r'RUN python -c "(.*)"', DOCKERFILE)
        assert script is not None
        # in double quotes the shell leaves \n alone
        done = subprocess.run([sys.executable, "-c", script[1]], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == PACKAGE["dependencies"]

    def test_it_has_what_the_launcher_and_the_probes_call(self) -> None:
        (line,) = re.findall(r"apt-get install -y --no-install-recommends (.*) \\", DOCKERFILE)
        assert set(line.split()) == {"openssh-client", "rsync", "wget"}

    def test_only_what_is_installed_goes_into_it(self) -> None:
        lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        patterns = [line for line in lines if line and not line.startswith("#")]
        kept = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
        assert patterns[0] == "*"
        assert kept == {"pyproject.toml", "constraints.txt", "skilljobs", PACKAGE["readme"], *PACKAGE["license-files"]}


def test_readme_names_only_files_that_exist() -> None:
    text = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    for name in re.findall(r"(?:ray (?:up|down|dashboard|exec)|kubectl apply -f|docker build -f) ([\w/.]+\w)", text):
        assert (ROOT / name).is_file(), name
    for name in re.findall(r"\]\(([\w./]+)(?:#\w+)?\)", text):
        assert (ROOT / "docs" / name).is_file(), name
