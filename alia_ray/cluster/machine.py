"""What this process may use of its machine: CPUs and memory, as affinity, control groups and Slurm grant them.

Ray counts `multiprocessing.cpu_count()` and the control group that is mounted at its root, so that in a Slurm job,
under `taskset` or in a systemd slice it takes the whole machine for its own (ray-project/ray#34846).
"""

import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")


def usable_cpus(root: Path = _ROOT) -> int:
    """CPUs that this process may use, at least 1; a quota of 2.5 CPUs counts as 2.

    The least of its affinity (`taskset`, cpusets), the quotas of its control group and of all above it (version 1
    and 2), and what Slurm allotted to the job on this node (SLURM_CPUS_ON_NODE), which not every site enforces.
    root: where /proc and /sys/fs/cgroup are.
    """
    allowed = getattr(os, "sched_getaffinity", None)  # Linux only
    limits = [float(len(allowed(0)) if allowed else os.cpu_count() or 1)]
    for group in _groups("cpu", root):
        limits += _quota(group)
    if "SLURM_JOB_ID" in os.environ and (allotted := os.environ.get("SLURM_CPUS_ON_NODE", "")).isdigit():
        limits.append(int(allotted))
    return max(1, int(min(limits)))


def free_memory(root: Path = _ROOT) -> int:
    """Bytes that this process and its children may still take: the machine's, or less by a control group's limit.

    Pages of files that the kernel would give back count as free, as they do for the machine.
    """
    free = [machine_memory(root)]
    for group in _groups("memory", root):
        limit = _number(group / "memory.max", group / "memory.limit_in_bytes")
        used = _number(group / "memory.current", group / "memory.usage_in_bytes")
        if limit is not None and used is not None:
            free.append(max(0, limit - used + _inactive_files(group)))
    return min(free)


def machine_memory(root: Path = _ROOT) -> int:
    """Bytes that the kernel could give without swapping; where it does not say, all that are installed."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:  # not Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of this process's control group and those above it, as far as they are mounted here.

    A line of /proc/self/cgroup is ID:CONTROLLERS:PATH; version 2 names no controllers (man 7 cgroups). A container
    sees its own group at the mount's root, whatever the path says.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux, or no /proc
        return
    mounts = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = next((mounts / name for name in (controllers, controller) if (mounts / name).is_dir()), mounts)
        below = Path(path.lstrip("/"))
        yield from (mount / part for part in (below, *below.parents) if ".." not in part.parts)


def _quota(group: Path) -> list[float]:
    """The CPUs that a group may use in a period, if it is limited."""
    try:
        quota, period = (group / "cpu.max").read_text().split()
    except (OSError, ValueError):
        quota, period = str(_number(group / "cpu.cfs_quota_us")), str(_number(group / "cpu.cfs_period_us"))
    return [int(quota) / int(period)] if quota.isdigit() and period.isdigit() else []


def _number(*files: Path) -> int | None:
    """The number in the first of some files that there is; None for "max" and for none."""
    for file in files:
        try:
            return int(file.read_text())
        except (OSError, ValueError):
            continue
    return None


def _inactive_files(group: Path) -> int:
    try:
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
