"""One worker of the local queue: runs one job in this process, then ends.

python -m suite.cluster.worker CELL_JSON RUN_DIRECTORY
"""

from __future__ import annotations

import sys

from suite.cluster.slots import pin
from suite.cores import wait_without_spinning_if_shared
from suite.errors import LowbitError


def main(cell: str, run_directory: str) -> int:
    """Exit code: 0 done, 130 stopped with its state saved, else what failed."""
    pin()
    wait_without_spinning_if_shared()
    from suite.cluster.job import CellJob

    try:
        CellJob(cell, run_directory)()
    except LowbitError as problem:
        print(f"lowbit: {problem}", file=sys.stderr)
        return problem.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
