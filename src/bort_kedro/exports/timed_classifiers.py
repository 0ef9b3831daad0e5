"""Classifiers to be timed in the runtime that they are shipped for: right in every size, with drawn weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BertForSequenceClassification

from bort_kedro.encoders.encoder import bert_config
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.exports.runtimes import RUNTIMES, TRACED_LENGTH, convert, open_session
from bort_kedro.latency.shapes import OtherRuntime
from bort_kedro.latency.timed_encoders import WEIGHT_SCALE
from bort_kedro.progress import track

# That write and run exports.
PACKAGES = ("onnxruntime", "openvino", "nncf")


def timed_runtime(name: str, *, num_threads: int) -> OtherRuntime:
    """A runtime, a key of `RUNTIMES`, as `latency.shapes` takes it in the place of PyTorch."""
    versions = {package: version(package) for package in PACKAGES}
    return OtherRuntime({"name": name, "versions": versions}, _Exported(name, num_threads))


@dataclass(frozen=True)
class _Exported:
    name: str
    num_threads: int

    def __call__(
        self, group: Sequence[BertShape], vocabulary_size: int, max_positions: int, device: str
    ) -> dict[str, Callable[..., object]]:
        # A graph is traced with so many tokens.
        num_positions = max(max_positions, TRACED_LENGTH)
        return {
            shape.identifier: self._timed(drawn_classifier(shape, vocabulary_size, num_positions))
            for shape in track(group, f"exporting to {RUNTIMES[self.name].title}", total=len(group))
        }

    def _timed(self, model: BertForSequenceClassification) -> Callable[..., object]:
        ids = np.arange(model.config.max_position_embeddings)[None] % model.config.vocab_size
        with TemporaryDirectory() as place:
            # No answer is looked at, so one input of no meaning is enough to calibrate with.
            convert(self.name, model, [{"input_ids": ids, "attention_mask": np.ones_like(ids)}], Path(place))
            session = open_session(self.name, Path(place), num_threads=self.num_threads)

        def answer(input_ids: Tensor) -> object:
            ids = input_ids.numpy()
            return session(input_ids=ids, attention_mask=np.ones_like(ids))

        return answer


def drawn_classifier(shape: BertShape, vocabulary_size: int, max_positions: int) -> BertForSequenceClassification:
    """A classifier of two labels, no two of whose weights are alike, which an exporter would write once."""
    config = bert_config(shape, vocabulary_size=vocabulary_size, max_positions=max_positions)
    generator = torch.Generator().manual_seed(0)
    model: BertForSequenceClassification = BertForSequenceClassification(config)
    with torch.no_grad():
        for weights in model.parameters():
            nn.init.normal_(weights, std=WEIGHT_SCALE, generator=generator)
    return model
