"""What a run is made of besides its script: code version, packages, hardware, variables. Never writes."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stethoscope.facts.run import RunRecord

GIT_S = 0.25
"""Time that all questions to git may take together; what is not answered by then stays out of the record."""
MOST_DIFF_BYTES = 2**20
"""A longer diff is cut."""

TOLD_VARIABLES = """
CUDA_VISIBLE_DEVICES CUDA_LAUNCH_BLOCKING CUDA_DEVICE_ORDER CUBLAS_WORKSPACE_CONFIG NVIDIA_TF32_OVERRIDE
HIP_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES OMP_NUM_THREADS OMP_PROC_BIND OMP_SCHEDULE OMP_DYNAMIC
MKL_NUM_THREADS MKL_CBWR OPENBLAS_NUM_THREADS NUMEXPR_NUM_THREADS KMP_AFFINITY PYTHONHASHSEED PYTHONOPTIMIZE
RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE MASTER_ADDR MASTER_PORT TORCHELASTIC_RUN_ID
SLURM_JOB_ID
"""
"""Variables whose values are recorded: they change results or say where in a launch this process was."""
TOLD_FAMILIES = ("PYTORCH_", "TORCH_", "TORCHINDUCTOR_", "TORCHDYNAMO_", "NCCL_", "GLOO_")
SECRET_WORDS = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "API_KEY", "AUTH")


def describe_environment(directory: Path) -> RunRecord:
    """A record with `git`, `python`, `packages`, `hardware` and `environment` filled in.

    Args:
        directory: where the script runs; git is asked about the repository that holds it.

    Cost: 0.1 s usually, 0.3 s at most.
    """
    return RunRecord(
        git=describe_git(directory),
        python=platform.python_version(),
        packages=describe_packages(),
        hardware=describe_hardware(),
        environment=describe_variables(os.environ),
    )


def describe_git(directory: Path) -> dict[str, Any]:
    """`commit`, `branch`, `dirty` and `diff` of the repository that holds a directory; empty outside of one.

    Only tracked files count. What git does not answer in time is missing.
    """
    until = time.monotonic() + GIT_S
    head = _git(directory, until, "rev-parse", "--verify", "HEAD")
    if head is None:
        return {}
    told: dict[str, Any] = {"commit": head.strip()}
    branch = _git(directory, until, "symbolic-ref", "--short", "-q", "HEAD")
    told["branch"] = (branch or "").strip()  # empty when no branch is checked out
    # `diff` would write the index anew when a file was only touched. Told not to, it lists that file without
    # a change, and those lines are taken out.
    quiet = ("-c", "diff.autoRefreshIndex=false")
    diff = _git(directory, until, *quiet, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD")
    if diff is not None:
        diff = re.sub(r"^diff --git .*\n(?=diff --git |\Z)", "", diff, flags=re.MULTILINE)
        told["dirty"] = bool(diff)
        told["diff"] = diff if len(diff) <= MOST_DIFF_BYTES else diff[:MOST_DIFF_BYTES] + "\n(cut)\n"
    return told


def _git(directory: Path, until: float, *words: str) -> str | None:
    """What git prints; None when it fails, is missing, or is too slow."""
    left = until - time.monotonic()
    if left <= 0:
        return None
    variables = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", *words], cwd=directory, env=variables, timeout=left, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def describe_packages() -> dict[str, str]:
    """Version of every installed distribution that Python would import, by normalized name.

    Read off the names of their metadata folders (PEP 376, PEP 503): parsing the metadata of 500 distributions
    takes a quarter of a second, and listing their names none of it.
    """
    found: dict[str, str] = {}
    for place in dict.fromkeys(sys.path):
        try:
            names = sorted(os.listdir(place or "."))
        except OSError:
            continue  # the path names what does not exist, or an archive
        for name in names:
            stem, ending = os.path.splitext(name)
            if ending in (".dist-info", ".egg-info") and "-" in stem:
                package, version = stem.split("-")[:2]
                # The first on the path is the one that is imported.
                found.setdefault(re.sub(r"[-_.]+", "-", package).lower(), version)
    return dict(sorted(found.items()))


def describe_hardware() -> dict[str, Any]:
    """The machine. Accelerators and threads are known only once the script has imported torch itself."""
    told: dict[str, Any] = {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": _cores(),
        "memory_gib": _memory_gib(),
        "accelerators": [],
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        told["torch_threads"] = torch.get_num_threads()
        told["accelerators"] = _accelerators(torch)
    return told


def describe_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Those of the environment variables that change results; never one that may hold a secret."""
    told = TOLD_VARIABLES.split()
    return {
        name: value
        for name, value in sorted(variables.items())
        if (name in told or name.startswith(TOLD_FAMILIES)) and not any(word in name for word in SECRET_WORDS)
    }


def _accelerators(torch: Any) -> list[str]:
    # Asking for properties would start CUDA in a process that may not want it: only a started one is asked.
    if torch.cuda.is_initialized():
        return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return []


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux: Python's own answer has to do
    return platform.processor()


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gib() -> float:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return 0.0
