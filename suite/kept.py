"""Files beside a record: they are what the record says, or they are not read."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from suite.errors import EnvironmentProblem, Missing
from suite.models.checkpoint import digest, read_tensors
from suite.results import Record, Store


def left_by(record: Record, store: Store) -> Path:
    """The weights file (or that of the quantizers alone) that a finished cell left.

    Raises Missing when it is gone, EnvironmentProblem when its tensors are not those that the
    record has the digest of. A record that names none (of an earlier version) is taken as it is.
    """
    path = store.beside(record.cell_id, record.run_id, "safetensors")
    if not path.is_file():
        raise Missing(
            f"The weights {path} of the finished cell {record.cell_id} are not there; run that "
            "cell again with --fresh, or copy them beside its record."
        )
    whole = "weights" in record.files or "quantizers" not in record.files
    wanted = record.provenance.get("weights" if whole else "quantizers")
    found = _digest(path, path.stat().st_mtime_ns, path.stat().st_size)
    if wanted is not None and found != wanted:
        raise EnvironmentProblem(
            f"The weights {path} are not those of their record (digest {found}, the record has "
            f"{wanted}); copy them again, or run that cell again with --fresh."
        )
    return path


@cache
def _digest(path: Path, changed: int, size: int) -> str:
    """Digest of a file's tensors, once a process for a file of one age and size."""
    return digest(read_tensors(path))
