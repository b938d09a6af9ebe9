import os
import subprocess
import sys
from pathlib import Path

import pytest

from alia_ray.cluster.machine import free_memory, usable_cpus

GB = 10**9


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of 16 CPUs with 64 GB free; `write(path, text)` adds files of the kernel's."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    for name in ("SLURM_JOB_ID", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)

    def write(path: str, text: str) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return tmp_path

    write("proc/meminfo", f"MemTotal: 100 kB\nMemAvailable: {64 * GB // 1024} kB\n")
    return write


def test_without_limits_all_of_the_machine_may_be_used(machine):
    root = machine("proc/self/cgroup", "0::/\n")
    assert usable_cpus(root) == 16
    assert free_memory(root) == pytest.approx(64 * GB, rel=1e-6)


def test_a_quota_of_version_2_counts_wherever_in_the_path_it_stands(machine):
    machine("proc/self/cgroup", "0::/user.slice/job.scope\n")
    machine("sys/fs/cgroup/user.slice/job.scope/cpu.max", "max 100000\n")
    root = machine("sys/fs/cgroup/user.slice/cpu.max", "350000 100000\n")
    assert usable_cpus(root) == 3


def test_a_quota_below_one_cpu_is_one_cpu(machine):
    machine("proc/self/cgroup", "0::/\n")
    assert usable_cpus(machine("sys/fs/cgroup/cpu.max", "50000 100000\n")) == 1


def test_a_quota_of_version_1_counts_also_in_a_container_that_is_mounted_as_the_root(machine):
    machine("proc/self/cgroup", "4:memory:/docker/ab\n3:cpu,cpuacct:/docker/ab\n")
    machine("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n")
    assert usable_cpus(machine("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n")) == 2


def test_no_quota_of_version_1_is_no_limit(machine):
    machine("proc/self/cgroup", "3:cpu,cpuacct:/\n")
    machine("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    assert usable_cpus(machine("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")) == 16


def test_what_slurm_allotted_on_this_node_counts_where_it_is_not_enforced(machine, monkeypatch):
    root = machine("proc/self/cgroup", "0::/\n")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "6")
    assert usable_cpus(root) == 16  # a variable that was left over, outside of any job
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    assert usable_cpus(root) == 6


def test_memory_is_what_the_control_group_leaves(machine):
    machine("proc/self/cgroup", "0::/slurm/job_1\n")
    machine("sys/fs/cgroup/slurm/memory.max", f"{16 * GB}\n")
    machine("sys/fs/cgroup/slurm/memory.current", f"{6 * GB}\n")
    root = machine("sys/fs/cgroup/slurm/memory.stat", f"anon 1\ninactive_file {2 * GB}\n")
    assert free_memory(root) == 12 * GB


def test_memory_of_version_1_without_a_limit_is_the_machines(machine):
    machine("proc/self/cgroup", "4:memory:/\n")
    machine("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    root = machine("sys/fs/cgroup/memory/memory.usage_in_bytes", f"{6 * GB}\n")
    assert free_memory(root) == pytest.approx(64 * GB, rel=1e-6)


def test_a_process_that_is_bound_to_one_cpu_counts_one():
    code = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
        "from alia_ray.cluster.machine import usable_cpus; print(usable_cpus())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"
