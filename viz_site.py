"""The graph and every result as a folder of files, for any web server: what `make viz-site` runs in a project.

Kedro-Viz has it as `kedro viz build`, with paths of this machine among the code, and beside `build/docs`.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import fsspec
from kedro_viz.integrations.deployment.base_deployer import BaseDeployer
from kedro_viz.server import load_and_populate_data

import bort_kedro

SITE = Path("build") / "viz"
# Links of Kedro-Viz's page to fonts of another site, without which it takes one of the reader's.
FONTS = re.compile(r'<link\b[^>]*\bhref="https://fonts\.[^>]*>\s*')


class FolderDeployer(BaseDeployer):
    """Writes what Kedro-Viz shows into a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._path, self._fs = folder, fsspec.filesystem("file")


def without_paths(text: str, project: Path, package: Path, home: Path) -> str:
    """The text with paths as seen from the project.

    Args:
        text: Of one of Kedro-Viz's files.
        project: Its folder, whose name Kedro-Viz puts before the paths of code.
        package: The folder ``bort_kedro``, which may lie anywhere.
        home: The user's.
    """
    text = text.replace(package.as_posix(), "src/bort_kedro")
    text = re.sub(rf'("filepath": ?"){re.escape(project.name)}/', r"\1", text)
    return text.replace(f"{project.as_posix()}/", "").replace(f"{home.as_posix()}/", "~/")


def main() -> None:
    """Write the site of the project in whose folder this is called."""
    project, package = Path.cwd().resolve(), Path(bort_kedro.__file__).resolve().parent
    shutil.rmtree(SITE, ignore_errors=True)
    SITE.mkdir(parents=True)
    load_and_populate_data(project, package_name=package.name)
    FolderDeployer(SITE).deploy(is_all_previews_enabled=True)
    for file in (path for path in (SITE / "api").rglob("*") if path.is_file()):
        file.write_text(without_paths(file.read_text("utf-8"), project, package, Path.home()), "utf-8")
    for file in SITE.glob("*.html"):
        file.write_text(FONTS.sub("", file.read_text("utf-8")), "utf-8")
    print(f"Written: {SITE}. To look at it: python -m http.server --bind 127.0.0.1 --directory {SITE}")  # noqa: T201


if __name__ == "__main__":
    main()
