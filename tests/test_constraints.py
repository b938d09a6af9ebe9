"""The pinned versions, and that whatever installs the project takes them."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NODE = {**default_environment(), "sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"}


def pinned(machine: str, **environment: str) -> dict[str, str]:
    """name -> version, on a node of a kind."""
    lines = (ROOT / "constraints" / f"{machine}.txt").read_text().splitlines()
    there = [
        each for each in map(Requirement, lines) if not each.marker or each.marker.evaluate(NODE | environment)
    ]
    versions = {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in there}
    assert len(versions) == len(there)  # one version of each
    return versions


def wanted(machine: str) -> Iterator[Requirement]:
    """What pyproject.toml asks for on a machine of a kind, and for the tests."""
    extras = PROJECT["project"]["optional-dependencies"]
    for line in [*PROJECT["project"]["dependencies"], *extras[machine], *PROJECT["dependency-groups"]["dev"]]:
        yield Requirement(line)


@pytest.mark.parametrize("machine", ["cpu", "gpu"])
def test_each_line_is_a_name_and_one_version_and_names_no_host(machine):
    for line in (ROOT / "constraints" / f"{machine}.txt").read_text().splitlines():
        assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*==[0-9][\w.!+]*( ; [\w\s()'\".<>=!]+)?", line), line


@pytest.mark.parametrize("machine", ["cpu", "gpu"])
@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_every_dependency_is_pinned_to_a_version_that_the_project_allows(machine, python):
    versions = pinned(machine, python_version=python, python_full_version=f"{python}.9")
    for each in wanted(machine):
        assert each.specifier.contains(versions[canonicalize_name(each.name)]), each


@pytest.mark.parametrize(
    ("place", "machine"),
    [
        ("Makefile", "cpu"),
        ("cluster.yaml", "gpu"),
        ("jobs/kuberay.yaml", "gpu"),
        ("jobs/slurm.sh", "gpu"),
        ("README.md", "gpu"),
        ("docs/cluster.md", "gpu"),
    ],
)
def test_whatever_installs_the_project_takes_the_pinned_versions(place, machine):
    text = (ROOT / place).read_text()
    installs = [
        line for line in text.splitlines() if re.search(r"pip.* (install .*\[|sync )", line, re.IGNORECASE)
    ]
    assert installs
    assert all(f"constraints/{machine}.txt" in line for line in installs), installs
