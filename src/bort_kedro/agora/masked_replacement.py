"""Words replaced by what a masked-LM encoder finds likely in their place; all other characters stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from bort_kedro.agora.hidden_words import HiddenRow, ReplacementTokens, WordHider
from bort_kedro.encoders.families import longest_sequence, predicted_logits
from bort_kedro.text.batching import plan_epoch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bort_kedro.agora.settings import TransformationSettings
    from bort_kedro.encoders.pretrained import Pretrained
    from bort_kedro.tasks.units import Row


class MaskedReplacement:
    """Hides words and draws others from the distribution of a pretrained encoder's own head.

    Every token of a hidden word is drawn by itself, given what is left of both texts, and never as it was. Which words
    are hidden and which tokens drawn: see `hidden_words`. The encoder lies on the device that is to be used. It sees as
    many tokens of a row as the settings say, if it takes as many.
    """

    def __init__(
        self, pretrained: Pretrained, settings: TransformationSettings, *, protects_spans: bool = False
    ) -> None:
        self._model, self._settings = pretrained.model, settings
        self._tokens = ReplacementTokens(pretrained.tokenizer)
        longest = longest_sequence(pretrained.model.config)
        self._hide = WordHider(
            pretrained.tokenizer,
            self._tokens,
            changed_share=settings.changed_share,
            max_tokens=settings.max_tokens if longest is None else min(settings.max_tokens, longest),
            protects_spans=protects_spans,
        )
        self._top_k = min(settings.top_k, self._tokens.vocabulary.size)

    def __call__(
        self, rows: Sequence[Row], sides: Sequence[tuple[int, ...]], generators: Sequence[np.random.Generator]
    ) -> list[Row]:
        """The rows with words replaced, each by its own generator, so that it does not matter what shares its batch.

        Only the rounding of what the encoder says may depend on that. Sides are those of `WordHider`; a row without a
        word that may change is as it was.
        """
        hidden = list(self._hide(rows, sides, generators))
        changed = list(rows)
        for batch in self._batches(hidden):
            members = [hidden[place] for place in batch]
            noise = [generators[place].gumbel(size=(len(hidden[place].columns), self._top_k)) for place in batch]
            drawn = self._drawn(members, np.concatenate(noise))
            ends = np.cumsum([len(member.columns) for member in members])
            for place, member, ids in zip(batch, members, np.split(drawn, ends[:-1]), strict=True):
                changed[place] = self._spelled(rows[place], member, ids.tolist())
        return changed

    def _batches(self, hidden: Sequence[HiddenRow]) -> list[list[int]]:
        """Rows that hide anything, those of similar length together."""
        hiding = np.array([place for place, row in enumerate(hidden) if row.words], dtype=np.int64)
        if not len(hiding):
            return []
        lengths = np.array([len(hidden[place].ids) for place in hiding])
        plan = plan_epoch(lengths, batch_tokens=self._settings.batch_tokens, seed=0, epoch=0)
        return [hiding[members].tolist() for members in plan]

    @torch.inference_mode()
    def _drawn(self, rows: Sequence[HiddenRow], noise: NDArray[np.float64]) -> NDArray[np.int64]:
        """(N,) ids for all hidden tokens of a batch, row by row.

        Of (N, k) Gumbel noise, the largest of logits / temperature + noise is a draw from their softmax.
        """
        vocabulary, device = self._tokens.vocabulary, self._model.device
        shape = len(rows), max(len(row.ids) for row in rows)
        input_ids = np.full(shape, vocabulary.pad_id, dtype=np.int64)
        type_ids, is_token = np.zeros_like(input_ids), np.zeros_like(input_ids)
        for place, row in enumerate(rows):
            at = place, slice(len(row.ids))
            input_ids[at], type_ids[at], is_token[at] = row.ids, row.type_ids, 1
        predicted = np.concatenate([place * shape[1] + row.columns for place, row in enumerate(rows)])
        originals = input_ids.ravel()[predicted]
        input_ids.ravel()[predicted] = vocabulary.mask_id
        arrays = (input_ids, is_token, predicted, type_ids)
        tokens, mask, places, types = (torch.from_numpy(array).to(device) for array in arrays)
        logits = predicted_logits(self._model.eval(), tokens, mask, places, token_type_ids=types)
        logits = logits[:, : vocabulary.size].float()
        original = torch.from_numpy(originals).to(device)
        candidates = torch.from_numpy(self._tokens.candidates).to(device)
        allowed = candidates[torch.from_numpy(self._tokens.begins_word[originals]).to(device)]
        allowed.scatter_(1, original[:, None], False)
        values, ids = logits.masked_fill(~allowed, -torch.inf).topk(self._top_k)
        # By id: two that are almost equally likely may change their ranks with the padding, but not their noise.
        ids, order = ids.sort()
        scores = values.gather(1, order) / self._settings.temperature + torch.from_numpy(noise).to(device, values.dtype)
        drawn: NDArray[np.int64] = ids.gather(1, scores.argmax(-1, keepdim=True))[:, 0].cpu().numpy()
        return drawn

    def _spelled(self, row: Row, hidden: HiddenRow, drawn: Sequence[int]) -> Row:
        """The row with the drawn tokens spelled in the place of its hidden words."""
        spellings = [self._tokens.spellings[token] for token in drawn]
        texts = [row[0], row[1] or ""]
        # From behind, so that the places before stay right.
        for word in reversed(hidden.words):
            first = len(spellings) - len(word.tokens)
            text = texts[word.side]
            texts[word.side] = text[: word.start] + "".join(spellings[first:]) + text[word.end :]
            del spellings[first:]
        return texts[0], None if row[1] is None else texts[1]
