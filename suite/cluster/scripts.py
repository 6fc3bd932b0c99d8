"""From a profile to submitit's executor: the sbatch script that one batch of jobs gets."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from submitit.slurm.slurm import SlurmExecutor

from suite.cluster.endings import EXITS
from suite.cluster.profile import Profile
from suite.errors import UsageError

SAFE_START = """sh -c 'trap "" USR2 TERM; exec "$0" "$@"'"""
"""Python starts with stop signals ignored: before its handlers are set, USR2 would kill it."""

ENDING = "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
"""SLURM's name of the running job, as the shell spells it: `12` or `12_3`."""


MEMORY = "exceeded (job|step)? ?memory limit|oom.?kill"
"""What slurmstepd writes, without and with cgroups, when it kills a step for its memory."""


class Scripts(SlurmExecutor):
    """submitit's executor, which can also only show the script of an array of `count` jobs."""

    @classmethod
    def affinity(cls) -> int:
        return 1  # a script can be shown where no SLURM is

    def script(self, count: int) -> str:
        if count > 1:
            self.parameters["map_count"] = count
        return self._make_submission_file_text(self._submitit_command_str, "")


def executor(folder: Path, profile: Profile, name: str, code: str, waits: str = "") -> Scripts:
    """An executor for jobs of the sweep in `folder`.

    profile: already that of the jobs' resources. name: what squeue shows. code: folder of the
    snapshot. waits: SLURM's words for a dependency, or empty. Raises UsageError for a folder
    that SLURM cannot be given.
    """
    _check(folder)
    found = Scripts(folder / "logs", max_num_timeout=10**6, python=_python(profile))
    found.update_parameters(**_parameters(folder, profile, name, code, waits))
    return found


def _python(profile: Profile) -> str:
    return f"{SAFE_START} {profile.python or shlex.quote(sys.executable)}"


def _parameters(folder: Path, profile: Profile, name: str, code: str, waits: str) -> dict[str, Any]:
    wanted = {
        field: getattr(profile, field)
        for field in ("partition", "account", "constraint", "qos", "exclude", "gres")
        if getattr(profile, field)
    }
    return {
        **wanted,
        "job_name": name,
        "nodes": profile.nodes,
        "ntasks_per_node": profile.tasks_per_node,
        "cpus_per_task": profile.cpus_per_task,
        **_memory(profile),
        "time": profile.time_minutes,
        "signal_delay_s": profile.signal_seconds,
        "array_parallelism": profile.array_parallelism,
        "stderr_to_stdout": True,
        # A rank that fails alone would leave the others waiting for it.
        "srun_args": ["--kill-on-bad-exit=1"],
        "setup": [*profile.setup, _path(code)],
        "teardown": _teardown(folder),
        "additional_parameters": {
            "requeue": True,
            **({"clusters": profile.clusters} if profile.clusters else {}),
            "chdir": str(folder),
            **({"dependency": waits} if waits else {}),
            **profile.extra,
        },
    }


def _memory(profile: Profile) -> dict[str, str]:
    """One of sbatch's ways to ask for memory; none where `extra` has its own."""
    if profile.mem_per_cpu_gb is not None:
        return {"mem_per_cpu": f"{round(1024 * profile.mem_per_cpu_gb)}MB"}
    whole = profile.node_memory_gb
    return {} if whole is None else {"mem": f"{round(1024 * whole)}MB"}


def _path(code: str) -> str:
    """The snapshot before anything else that Python could import."""
    return f'export PYTHONPATH={shlex.quote(code)}"${{PYTHONPATH:+:$PYTHONPATH}}"'


def _teardown(folder: Path) -> list[str]:
    """Leave the exit code where `lowbit status` finds it without accounting.

    Where SLURM kills a step for its memory it says so in the log, and not always in the accounts.
    """
    log = f'{shlex.quote(str(folder / "logs"))}/"{ENDING}_0_log.out"'
    return [
        "code=$?",
        f'tail -n 20 {log} | grep -qiE "{MEMORY}" && [ "$code" = 137 ] && code={EXITS["oom"]}',
        f'echo "$code" > {shlex.quote(str(folder / "exits"))}/"{ENDING}"',
        'exit "$code"',
    ]


def _check(folder: Path) -> None:
    odd = [c for c in str(folder) if c in "%\"'\\" or ord(c) < 32]
    if odd:
        raise UsageError(
            f"SLURM cannot write logs into {str(folder)!r}: its name holds {odd[0]!r}; use another "
            "results folder (--results)."
        )
