"""``python -m bort_kedro`` runs the packaged project, with the options of ``kedro run``."""

from pathlib import Path
from typing import Any

from kedro.framework.project import configure_project

from bort_kedro.cli import cli


def main(*args: Any, **kwargs: Any) -> Any:
    """Entry point of the packaged project."""
    configure_project(Path(__file__).parent.name)
    return cli.commands["run"](*args, **kwargs)


if __name__ == "__main__":
    main()
