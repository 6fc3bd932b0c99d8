"""`python -m tests.perf.spent ARGUMENTS`: run `lowbit ARGUMENTS`, and say what it took.

The last line of standard output is JSON: code, the exit code; seconds of wall time, imports
included; mib, the peak memory of this process and, for each core, of its largest worker.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time


def main() -> None:
    start = time.perf_counter()
    from suite.cli import app

    code = app(sys.argv[1:], standalone_mode=False)
    seconds = time.perf_counter() - start
    own, worker = (
        resource.getrusage(who).ru_maxrss / 1024
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    mib = own + len(os.sched_getaffinity(0)) * worker
    print(json.dumps({"code": code, "seconds": round(seconds, 3), "mib": round(mib)}))


if __name__ == "__main__":
    main()
