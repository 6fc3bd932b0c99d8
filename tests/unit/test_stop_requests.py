"""Stop requests that reach a job outside of its training, and its data workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

RAISES = """
import os, signal, sys, time
from suite.cluster.stopping import ignore, watch
from suite.signals import Interrupted
watch()
try:
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    time.sleep(5)
except Interrupted as stopped:
    for which in ("SIGTERM", "SIGUSR2"):
        os.kill(os.getpid(), getattr(signal, which))
    print(stopped)
"""

TRAINING = """
import os, signal
from suite.cluster.stopping import watch
from suite.signals import Interrupted, StopFlag
watch()
with StopFlag() as flag:
    os.kill(os.getpid(), signal.SIGUSR2)
    print("saved", flag.name)
try:
    os.kill(os.getpid(), signal.SIGTERM)
except Interrupted:
    print("left")
"""

WORKERS = """
import os, signal, time
import torch
from torch.utils.data import DataLoader, Dataset
from suite.signals import leave_to_parent

class Numbers(Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, index):
        time.sleep(0.05)
        return torch.tensor([index, os.getpid()])

if __name__ == "__main__":
    loader = DataLoader(Numbers(), batch_size=None, num_workers=2,
                        multiprocessing_context="forkserver", worker_init_fn=leave_to_parent)
    seen = []
    for number, worker in (row.tolist() for row in loader):
        seen.append(number)
        for which in (signal.SIGUSR2, signal.SIGTERM):
            os.kill(worker, which)
    print(seen)
"""


def said(program: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR2"])
def test_a_stop_request_outside_of_a_training_ends_the_job_once(name: str) -> None:
    assert said(RAISES, name) == f"stopped by {name}"


def test_within_a_training_the_flag_counts_and_afterwards_the_job_leaves_at_once() -> None:
    assert said(TRAINING).splitlines() == ["saved SIGUSR2", "left"]


def test_data_workers_go_on_through_stop_requests(tmp_path: object) -> None:
    """Guards leave_to_parent: without it the first worker dies of SIGUSR2 and the pass with it."""
    script = f"{tmp_path}/workers.py"
    with open(script, "w", encoding="utf-8") as file:
        file.write(WORKERS)
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(list(range(8)))


def test_python_starts_with_stop_signals_ignored() -> None:
    """Guards scripts.SAFE_START: without it USR2 kills a job that has not come to its handlers."""
    from suite.cluster.scripts import SAFE_START

    program = "import os,signal;os.kill(os.getpid(),signal.SIGUSR2);print('alive')"
    done = subprocess.run(
        f'{SAFE_START} {sys.executable} -c "{program}"',
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "alive"
    bare = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
    time.sleep(0.2)
    bare.send_signal(signal.SIGUSR2)
    assert bare.wait(timeout=30) == -signal.SIGUSR2
