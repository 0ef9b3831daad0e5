"""Tasks: the table of them, their rows, splits, units and metrics; `reading` has the official formats."""
