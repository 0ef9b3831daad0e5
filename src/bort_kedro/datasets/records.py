"""Records that pass between stages, as JSON on the disk."""

import json
from typing import Any

from kedro.utils import load_obj
from kedro_datasets._typing import JSONPreview

from bort_kedro.datasets.atomic import AtomicJSONDataset
from bort_kedro.frozen import FrozenModel


class RecordDataset(AtomicJSONDataset):
    """Saves a frozen record by its `to_json`, and loads it by `from_json`.

    Args:
        record: Dotted name of the record's class.
    """

    def __init__(self, *, record: str, **json: Any) -> None:
        super().__init__(**json)
        self._record: type[FrozenModel] = load_obj(record)

    def save(self, data: FrozenModel) -> None:  # type: ignore[override]
        super().save.__wrapped__(self, data.to_json())  # type: ignore[attr-defined]

    def _checked(self, data: Any) -> FrozenModel:
        return self._record.from_json(data)

    def preview(self) -> JSONPreview:
        """As Kedro-Viz shows it."""
        return JSONPreview(json.dumps(self.load().to_json()))
