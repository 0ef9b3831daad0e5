"""Nodes that read across the namespaces of tasks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def across_namespaces() -> Iterator[None]:
    """Without Kedro's warning of dotted names, which it gives for every one outside its own namespace."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="[\\s\\S]*dataset names contain '.' characters")
        yield
