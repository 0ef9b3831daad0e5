"""What the benchmark of tokens told from the first one says of its outcomes, and the whole of it on a tiny encoder."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from benchmarks.configured import raw_parameters
from benchmarks.finetune import builtin, first_token, students
from benchmarks.finetune.first_token import MASKED, Outcome, part_of
from bort_kedro.configuration import check_parameters
from bort_kedro.datasets.token_blocks import TokenBlocksDataset
from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.pipelines.corpus.nodes import split_documents
from bort_kedro.text.tokens import Tokens
from tiny_benchmarks import tiny_text, written


def outcome(arm, task, hidden):
    return Outcome(arm, {MASKED: np.array(hidden, dtype=bool), "order": np.array(task, dtype=bool)})


def test_the_page_has_scores_leads_by_seed_and_example_and_the_floors():
    # Two seeds, four examples, two hidden tokens.
    without = [outcome(0, [1, 0, 0, 0], [1, 0]), outcome(0, [1, 0, 0, 0], [1, 0])]
    told = [outcome(4, [1, 1, 1, 1], [1, 0]), outcome(4, [1, 1, 0, 0], [1, 0])]
    part = part_of({0: without, 4: told}, {"order": {"constant": 0.5, "tfidf": 0.625}})
    assert "| 0 | 50.0 ± 0.0 % | 25.0 ± 0.0 % |" in part.text
    assert "| 4 | 50.0 ± 0.0 % | 75.0 ± 25.0 % |" in part.text
    assert "| – | 50.0 % |" in part.text
    assert "| – | 62.5 % |" in part.text
    # By seed 0.75 and 0.25: 0.25 of the mean; by example 0, 1, 0.5, 0.5: 0.204; together 0.323.
    assert "| 4 | +0.0 ± 0.0 | +50.0 ± 32.3 |" in part.text
    figures = {each.name: each.value for each in part.figures}
    assert figures["order, 4 told: lead over 0"] == 0.5
    assert figures["hidden tokens, 0 told: accuracy"] == 0.5


@pytest.mark.session
def test_students_are_pretrained_fine_tuned_and_compared(
    monkeypatch, tmp_path, tiny_tokenizer, tiny_blocks, tiny_vocabulary
):
    config = bert_config(BertShape(1, 2, 16, 32), vocabulary_size=len(tiny_tokenizer), max_positions=32)
    candidate = Pretrained(build_masked_lm(config, seed=0), tiny_tokenizer)

    def smoke_finetuning(**changes):
        return check_parameters(raw_parameters("smoke", finetune=changes)).finetune

    def tiny_parameters():
        student = {"optimization": {"num_steps": 3}, "batch_tokens": 64}
        return raw_parameters("smoke", pretrain_distill={"student": student}, corpus={"max_positions": 32})

    documents, _ = split_documents(tiny_text(), check_parameters(raw_parameters("smoke")).corpus)
    documents.to_parquet(tmp_path / "documents.parquet")
    TokenBlocksDataset(str(tmp_path / "tokens")).save(
        Tokens(tiny_vocabulary, dict.fromkeys(("train", "validation", "test"), tiny_blocks), "tiny")
    )
    # Another process would see nothing of what is put in place here.
    monkeypatch.setattr(first_token, "fresh_processes", lambda count, environment: ThreadPoolExecutor(1))
    for module in (first_token, students):
        monkeypatch.setattr(
            module, "latest", lambda pattern: tmp_path / ("tokens" if "tokens" in pattern else "documents.parquet")
        )
    monkeypatch.setattr(students, "encoder_of_run", lambda name: candidate)
    monkeypatch.setattr(students, "raw_parameters", tiny_parameters)
    monkeypatch.setattr(builtin, "base_finetuning", smoke_finetuning)
    monkeypatch.setattr(first_token, "TASKS", ("order",))
    words = ["--num-seeds", "2", "--arms", "0", "1"]
    first_token.main([*words, "--folder", str(tmp_path / "docs"), "--states", str(tmp_path / "states")])
    page, figures = written(tmp_path / "docs", "first-token")
    assert "Written by `make bench-first-token` on " in page
    assert "| Told of a block | hidden tokens | order |" in page
    assert figures["order, 1 told: lead over 0"]["unit"] == "share"
    assert 0 <= figures["hidden tokens, 1 told: accuracy"]["value"] <= 1
