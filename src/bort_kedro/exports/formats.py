"""What an export is called and made with; light, for what is imported before every command."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from bort_kedro.errors import ConfigurationError

# Written last; without it the folder of an export is not whole.
MANIFEST = "export.json"
# By format: distributions that convert to it and open it.
PACKAGES = {
    "onnx": ("onnx", "onnxruntime"),
    "onnx_int8": ("onnx", "onnxruntime"),
    "openvino_int8": ("openvino", "nncf"),
}


def require_packages(formats: Sequence[str]) -> None:
    """Refuse formats whose packages are not installed.

    Raises:
        ConfigurationError: Naming the packages and the extra that brings them.
    """
    packages = dict.fromkeys(package for name in formats for package in PACKAGES[name])
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ConfigurationError(
            f"Exports to {', '.join(formats)} need the packages {', '.join(missing)}, which are not installed. Install "
            "them with `pip install 'bort-kedro[export]'`, or take those formats out of params:evaluate.export.formats."
        )
