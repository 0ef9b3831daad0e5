"""What pyproject.toml cannot say: a wheel takes the configuration along, as ``bort_kedro/conf``."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfiguration(build_py):
    """Copies ``conf`` into the package, without what ``conf/local`` states of one machine."""

    def run(self) -> None:
        """Build the package; an editable one finds the configuration where it is."""
        super().run()
        if not self.editable_mode:
            built = Path(self.build_lib) / "bort_kedro" / "conf"
            shutil.rmtree(built, ignore_errors=True)
            shutil.copytree("conf", built, ignore=shutil.ignore_patterns("local"))
            # Kedro wants the folder to be there.
            (built / "local").mkdir()
            (built / "local" / ".gitkeep").touch()


setup(cmdclass={"build_py": BuildWithConfiguration})
