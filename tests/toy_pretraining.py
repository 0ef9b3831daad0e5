"""A pretraining of seconds over made-up tokens."""

from __future__ import annotations

import numpy as np
import torch

from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.pretraining.distillation import Distillation
from bort_kedro.pretraining.launch import PretrainingJob
from bort_kedro.pretraining.pretrain import new_encoder, pretraining_identity
from bort_kedro.pretraining.settings import DistillationSettings, PretrainingSettings
from bort_kedro.text.tokens import TokenBlocks, Tokens, Vocabulary
from bort_kedro.text.vocabulary_map import VocabularyMap
from bort_kedro.training.settings import OptimizationSettings

SHAPE = BertShape(num_hidden_layers=1, num_attention_heads=2, hidden_size=16, intermediate_size=16)
VOCABULARY = Vocabulary(size=50, mask_id=4, pad_id=1, special_ids=(0, 1, 2, 3, 4), fingerprint="made up")


def made_up_tokens():
    generator = np.random.default_rng(0)
    blocks = [[0, *generator.integers(5, 50, size=size), 2] for size in generator.integers(6, 14, size=64)]
    return Tokens(VOCABULARY, {"train": TokenBlocks.from_blocks(blocks, vocabulary_size=50)}, "made up")


def settings(dropout=0.1, **optimization):
    values = {
        "num_steps": 300,
        "learning_rate": 1e-2,
        "warmup_share": 0.1,
        "weight_decay": 0.01,
        "adam_beta2": 0.98,
        "adam_epsilon": 1e-3,
        "max_gradient_norm": 1.0,
        "seed": 0,
        "mixed_precision": "no",
        "checkpoint_every_steps": 5,
        "schedule": "linear",
        "bias_correction": True,
        "gradient_accumulation_steps": 1,
    }
    return PretrainingSettings(
        optimization=OptimizationSettings(**values | optimization),
        batch_tokens=64,
        masked_share=0.3,
        dropout=dropout,
        initialization="published",
        num_threads=1,
        whole_word_masking=False,
        gradient_checkpointing=False,
        torch_compile=False,
    )


def mixture(masked_lm=1.0, num_heads=4, until=None, **weights):
    """Kinds of distillation by their weights; those that are not named have none."""
    kinds = {"logits": {"temperature": 2.0}, "relations": {"num_heads": num_heads}, "hidden_states": {}}
    for name in ("relations", "hidden_states"):
        kinds[name]["teacher_layer"] = None
    return DistillationSettings(
        masked_lm_weight=masked_lm,
        **{
            name: {"weight": weights.get(name, 0.0), "until": (until or {}).get(name, 1.0), **others}
            for name, others in kinds.items()
        },
    )


# Bort's weights of the two parts of the loss.
PUBLISHED = mixture(masked_lm=0.1, logits=0.5)


def job_for(root, how, *, tokens=None, tokenizer=None, kinds=PUBLISHED, teacher_shape=SHAPE):
    tokens = tokens or made_up_tokens()
    distillation = None
    if tokenizer is not None:
        teacher = build_masked_lm(bert_config(teacher_shape, vocabulary_size=50, max_positions=16), seed=9)
        distillation = Distillation(Pretrained(teacher, tokenizer), VocabularyMap(torch.arange(50), 50, None), kinds)
    model = new_encoder(SHAPE, tokens, max_positions=16, settings=how)
    return PretrainingJob(
        model, tokens, how, TrainingStates(root, keep=2), "tiny", "random", distillation, None, "", None
    )


def folder_of(job):
    identity = pretraining_identity(
        job.model.config, job.tokens, job.settings, start="random", distillation=job.distillation
    )
    return job.states.of(job.name, identity)
