"""Records by the thousand: as flat rows, as one table, and compacted in one file."""
