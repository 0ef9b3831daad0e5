"""Kedro datasets of this project: they move bytes, whole or not at all, and know no mathematics."""
