"""``bort-kedro`` and ``python -m bort_kedro``: the commands of the packaged project, of which ``run`` needs no name."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# As the project's own is found, in the folder in which a command is typed, and what a wheel has along.
OWN_LOGGING, PACKAGED_LOGGING = Path("conf/logging.yml"), Path(__file__).parent / "conf" / "logging.yml"


def main(args: Sequence[str] | None = None, **options: Any) -> Any:
    """Entry point of the packaged project; its folder is the one in which it is called, which may be empty.

    The words are those of the command line where none are given; with the option ``standalone_mode=False`` of click a
    run returns its outputs.
    """
    if PACKAGED_LOGGING.exists() and not OWN_LOGGING.exists():
        # Read when Kedro is imported.
        os.environ.setdefault("KEDRO_LOGGING_CONFIG", str(PACKAGED_LOGGING))
    from kedro.framework.project import configure_project

    from bort_kedro.cli import cli

    configure_project(Path(__file__).parent.name)
    words = list(sys.argv[1:] if args is None else args)
    is_named = bool(words) and (words[0] in cli.commands or words[0] == "--help")
    return cli(words if is_named else ["run", *words], **options)


if __name__ == "__main__":
    main()
