"""Rows as an Arrow table with fixed types, and the table as a pandas frame."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from suite.store.rows import HEAVY, PACKAGES

if TYPE_CHECKING:
    import pandas as pd

LAYOUT = 2
"""Version of the columns; raise it when a column is added or means something else."""

TEXT = (
    *("cell_id", "run_id", "status", "started", "finished"),
    *("configuration", "label", "method", "variant", "model", "task"),
    *("settings", "recipe", "cell", "execution", "protocol", "evaluation", "files"),
    *("error", "audited", "revision", "suite", "python", *PACKAGES),
    *("device", "hardware", "data_digest", "start", "weights", "nonfinite"),
    *("architecture", "outside", "trained"),
    *("path", "folder"),
)
WHOLE = ("w_bits", "a_bits", "seed")
FILE = ("digest", "size", "mtime", "seen")
"""What tells whether a file is still the one that was read; not shown."""

MEASURED = ("m.", "t.", "mem.")
"""Beginnings of the columns that depend on the task: metrics, time, memory."""


def schema(names: Collection[str], heavy: Collection[str] = ()) -> pa.Schema:
    """The fixed columns, and the ones among `names` that depend on task and method, sorted.

    heavy: which of the HEAVY columns are there.
    """
    fields = [(name, pa.string()) for name in TEXT]
    fields += [(name, pa.int64()) for name in WHOLE]
    fields += [("e_bits", pa.float64()), ("dirty", pa.bool_()), ("digest", pa.string())]
    fields += [(name, pa.int64()) for name in FILE[1:]]
    fields += [(name, pa.string()) for name in HEAVY if name in heavy]
    fields += [(name, pa.float64()) for name in sorted(names) if name.startswith(MEASURED)]
    fields += [(name, pa.string()) for name in sorted(names) if name.startswith("needs.")]
    return pa.schema(fields)


def table(rows: Sequence[dict[str, Any]], heavy: Collection[str] = ()) -> pa.Table:
    """Rows as a table; what a row lacks is null."""
    whole = schema({name for row in rows for name in row}, heavy)
    columns = [
        pa.array([row.get(field.name) for row in rows], type=field.type, from_pandas=False)
        for field in whole
    ]
    return pa.Table.from_arrays(columns, schema=whole)


def together(tables: Sequence[pa.Table], heavy: Collection[str] = ()) -> pa.Table:
    """One table of all, with the columns of all in the order of `schema`."""
    whole = schema({name for one in tables for name in one.column_names}, heavy)
    return pa.concat_tables([fitted(one, whole) for one in tables] or [whole.empty_table()])


def fitted(one: pa.Table, whole: pa.Schema) -> pa.Table:
    """The table with exactly the columns of `whole`; what it lacks is null."""
    have = set(one.column_names)
    columns = [
        one.column(field.name).cast(field.type)
        if field.name in have
        else pa.nulls(len(one), field.type)
        for field in whole
    ]
    return pa.Table.from_arrays(columns, schema=whole)


def frame(one: pa.Table) -> pd.DataFrame:
    """The table as pandas shows it: paths whole, sorted by run, file bookkeeping left out."""
    path = pc.binary_join_element_wise(one.column("folder"), one.column("path"), "/")
    one = one.set_column(one.column_names.index("path"), "path", path).drop_columns(list(FILE))
    one = _sorted(one)
    found: pd.DataFrame = one.to_pandas(split_blocks=True, self_destruct=True)
    return found


def _sorted(one: pa.Table) -> pa.Table:
    """By run id and cell id; a table in strict order of run ids is left as it is."""
    runs = one.column("run_id")
    if len(one) < 2 or pc.all(pc.less(runs.slice(0, len(one) - 1), runs.slice(1))).as_py():
        return one
    return one.sort_by([("run_id", "ascending"), ("cell_id", "ascending")])
