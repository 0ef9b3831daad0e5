"""The embedded corpus, as the catalog has it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bort_kedro.datasets.text_sources import InstalledDocumentationDataset

EMBEDDED = "embedded"
PACKAGES = ("numpy", "scipy", "pandas", "sklearn")


def embedded_text(packages: Sequence[str] = PACKAGES) -> pd.DataFrame:
    """Documentation of installed packages, one row a document."""
    return InstalledDocumentationDataset(list(packages)).load()
