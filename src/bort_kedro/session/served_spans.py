"""Of a task of tagged words what MLflow's registry keeps beside the model: this file, whole, which needs transformers
and no more of this project. MLflow's own way to serve such a model tells the types of the spans and not the words."""

import re
from bisect import bisect_right
from typing import Any

import mlflow
import pandas as pd
import torch


class SpanModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """Answers texts, in the column ``text``, with their spans, as `finetuning.windows` reads them."""

    def load_context(self, context: Any) -> None:
        """Open the folder of the model."""
        from transformers import AutoModelForTokenClassification, AutoTokenizer

        # As `opening.py` does, which is not there.
        own: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
        folder = context.artifacts["model"]
        self._model = AutoModelForTokenClassification.from_pretrained(folder, use_safetensors=True, **own).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(folder, **own)
        self._max_tokens = context.model_config["max_tokens"]

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """A row for each text; ``spans`` are objects of type, text, start and end in characters, and the least of the
        probabilities of its words."""
        return pd.DataFrame({"spans": [self._spans(text) for text in model_input["text"]]})

    def _spans(self, text: str) -> list[dict[str, Any]]:
        spans: list[dict[str, Any]] = []
        places = [match.span() for match in re.finditer(r"\S+", text)]
        kind_before = ""
        for (start, end), (tag, score) in zip(places, self._tags(text, [start for start, _ in places]), strict=True):
            prefix, _, kind = tag.partition("-")
            if kind and prefix == "I" and kind == kind_before:
                spans[-1] |= {"end": end, "score": min(spans[-1]["score"], score)}
            elif kind:
                spans.append({"type": kind, "start": start, "end": end, "score": score})
            kind_before = kind
        return [span | {"text": text[span["start"] : span["end"]]} for span in spans]

    def _tags(self, text: str, starts: list[int]) -> list[tuple[str, float]]:
        """The tag of each word with its probability: what its first token says where most is seen around it."""
        room = self._max_tokens - self._tokenizer.num_special_tokens_to_add()
        overlap = room // 2
        step = room - overlap
        whole = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        offsets = whole["offset_mapping"]
        windows = self._tokenizer(
            text,
            truncation=True,
            max_length=self._max_tokens,
            stride=overlap,
            return_overflowing_tokens=True,
            return_special_tokens_mask=True,
        )
        said, of_text = [], []
        for number, special in enumerate(windows["special_tokens_mask"]):
            inputs = {name: torch.tensor([windows[name][number]]) for name in self._tokenizer.model_input_names}
            with torch.inference_mode():
                said.append(self._model(**inputs).logits[0].softmax(-1))
            of_text.append([place for place, is_special in enumerate(special) if not is_special])
        bounds = [number * step + overlap // 2 for number in range(1, len(said))]
        tags = []
        for start in starts:
            token = min(bisect_right(offsets, start, key=lambda offset: offset[1]), max(0, len(offsets) - 1))
            window = bisect_right(bounds, token)
            place = of_text[window][token - window * step] if offsets else 0
            score, label = said[window][place].max(-1)
            tags.append((self._model.config.id2label[int(label)], float(score)))
        return tags


mlflow.models.set_model(SpanModel())
