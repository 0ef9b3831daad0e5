"""Where MLflow keeps the runs."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import URL


def database_uri(file: Path) -> str:
    """MLflow's name for a SQLite file, whatever signs its path holds.

    With the driver it is no other database; without it MLflow takes the name's quoted signs for those of a folder, and
    makes that folder.
    """
    uri: str = URL.create("sqlite+pysqlite", database=file.as_posix()).render_as_string()
    return uri
