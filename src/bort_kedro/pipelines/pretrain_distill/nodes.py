"""Nodes of the pretraining stage."""

from functools import partial
from typing import Any, cast

import pandas as pd
from plotly.graph_objects import Figure

from bort_kedro.datasets.teacher_cache import TeacherCaches
from bort_kedro.datasets.text_streams import HubTextStream, TextFilesStream
from bort_kedro.encoders.pretrained import Pretrained, require_same_tokenizer
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.frozen import JsonObject
from bort_kedro.params import PretrainDistillParams
from bort_kedro.pretraining.settings import PretrainingSettings
from bort_kedro.text.settings import CorpusSettings
from bort_kedro.text.tokens import Tokens
from bort_kedro.training.observer import Training
from bort_kedro.training.saved_state import States

STAGE = "pretrain_distill"


def train_teacher(
    maximum_point_encoder: Pretrained, tokens: Tokens, training_states: States, pretrain_distill: PretrainDistillParams
) -> tuple[Pretrained, pd.DataFrame]:
    """Train the search's maximum point further."""
    from bort_kedro.encoders.encoder import shape_of

    training = cast("PretrainingSettings", pretrain_distill.teacher)  # where it is null there is no such node
    require_same_tokenizer(maximum_point_encoder.tokenizer, tokens, model="maximum_point_encoder", stage="search")
    model = maximum_point_encoder.model
    history = _train(
        model,
        tokens,
        training_states,
        training,
        pretrain_distill,
        name="teacher",
        start=maximum_point_encoder.fingerprint,
        description="training the teacher",
        told_as=Training("teacher", "teacher", shape_of(model.config).to_row()),
    )
    return Pretrained(model, maximum_point_encoder.tokenizer), history


def _train(
    model: Any,
    tokens: Tokens,
    training_states: States,
    training: PretrainingSettings,
    pretrain_distill: PretrainDistillParams,
    *,
    name: str,
    start: str,
    description: str,
    told_as: Training,
    distillation: Any = None,
    stream: Any = None,
) -> pd.DataFrame:
    """Train a model in place; its history."""
    from bort_kedro.pretraining.launch import PretrainingJob, run_job
    from bort_kedro.pretraining.pretrain import definite

    job = PretrainingJob(
        model,
        tokens,
        definite(training),
        states=training_states,
        name=f"{STAGE}/{name}",
        start=start,
        distillation=distillation,
        stream=stream,
        description=description,
        told_as=told_as,
    )
    result = run_job(job, pretrain_distill.launch)
    return pd.DataFrame(result.history).assign(**result.spent())


def distill_student(
    selected_shape: dict[str, int],
    tokens: Tokens,
    tokenizer: Any,
    teacher_encoder: Pretrained,
    training_states: States,
    teacher_cache: TeacherCaches,
    pretrain_distill: PretrainDistillParams,
    corpus: CorpusSettings,
    selected_encoder: Pretrained | None = None,
    text_stream: TextFilesStream | HubTextStream | None = None,
    corpus_documents: pd.DataFrame | None = None,
) -> tuple[Pretrained, pd.DataFrame]:
    """Pretrain the selected shape, under the teacher if distillation counts."""
    from bort_kedro.pretraining.distillation import cache_of, distillation_of
    from bort_kedro.text.trimming import vocabulary_map

    distillation = distillation_of(
        pretrain_distill.distillation,
        teacher_encoder,
        vocabulary_map(tokenizer, teacher_encoder.tokenizer),
        cache_of(pretrain_distill.teacher_cache, teacher_cache),
    )
    shape = BertShape.from_row(selected_shape)
    model = _drawn_student(shape, tokens, corpus, pretrain_distill)
    start = _begin(model, tokens, tokenizer, pretrain_distill, teacher_encoder, selected_encoder)
    history = _train(
        model,
        tokens,
        training_states,
        pretrain_distill.student_training,
        pretrain_distill,
        name=f"{'distilled' if distillation else 'student'}-{shape.identifier}",
        start=start,
        description=f"training the student {shape}",
        told_as=Training("student", "student", shape.to_row()),
        distillation=distillation,
        stream=_stream(text_stream, corpus_documents, tokens, tokenizer, pretrain_distill, corpus),
    )
    return Pretrained(model, tokenizer), history


def _drawn_student(
    shape: BertShape, tokens: Tokens, corpus: CorpusSettings, pretrain_distill: PretrainDistillParams
) -> Any:
    """The selected shape with weights as drawn."""
    from bort_kedro.pretraining.pretrain import new_encoder

    return new_encoder(shape, tokens, max_positions=corpus.max_positions, settings=pretrain_distill.student)


def _begin(
    model: Any,
    tokens: Tokens,
    tokenizer: Any,
    pretrain_distill: PretrainDistillParams,
    teacher_encoder: Pretrained,
    selected_encoder: Pretrained | None,
) -> str:
    """Give a drawn student its first weights (in place), and what names them."""
    from bort_kedro.encoders.student_start import start_student
    from bort_kedro.text.trimming import vocabulary_map

    start = pretrain_distill.student_start
    if start.source == "random":
        return "random"
    kept_ids = vocabulary_map(tokenizer, teacher_encoder.tokenizer).kept
    if selected_encoder is not None:
        require_same_tokenizer(selected_encoder.tokenizer, tokens, model="selected_encoder", stage="search")
    start_student(model, tokenizer, start, teacher=teacher_encoder, kept_ids=kept_ids, candidate=selected_encoder)
    return Pretrained(model, tokenizer).fingerprint


def train_without_teacher(
    selected_shape: dict[str, int],
    tokens: Tokens,
    tokenizer: Any,
    teacher_encoder: Pretrained,
    training_states: States,
    pretrain_distill: PretrainDistillParams,
    corpus: CorpusSettings,
    selected_encoder: Pretrained | None = None,
    text_stream: TextFilesStream | HubTextStream | None = None,
    corpus_documents: pd.DataFrame | None = None,
) -> tuple[Pretrained, pd.DataFrame]:
    """Pretrain the student's twin: the same steps on the true tokens alone, which distillation must beat.

    Where no teacher runs, what the student began with must beat weights as drawn.
    """
    shape = BertShape.from_row(selected_shape)
    model, start = _drawn_student(shape, tokens, corpus, pretrain_distill), "random"
    if pretrain_distill.twin_lacks == "distillation":
        start = _begin(model, tokens, tokenizer, pretrain_distill, teacher_encoder, selected_encoder)
    history = _train(
        model,
        tokens,
        training_states,
        pretrain_distill.student_training,
        pretrain_distill,
        name=f"undistilled-{shape.identifier}",
        start=start,
        description=f"training the student's twin {shape}",
        told_as=Training("student's twin", "twin", shape.to_row()),
        stream=_stream(text_stream, corpus_documents, tokens, tokenizer, pretrain_distill, corpus),
    )
    return Pretrained(model, tokenizer), history


def _stream(
    text_stream: TextFilesStream | HubTextStream | None,
    corpus_documents: pd.DataFrame | None,
    tokens: Tokens,
    tokenizer: Any,
    pretrain_distill: PretrainDistillParams,
    corpus: CorpusSettings,
) -> Any:
    """Batches of the streamed text, without the documents that are held out; None where tokens are trained on."""
    if text_stream is None or corpus_documents is None:
        return None
    from bort_kedro.pretraining.streamed_blocks import StreamedBlocks
    from bort_kedro.text.tokenization import text_digests

    student = pretrain_distill.student
    return StreamedBlocks(
        text_stream,
        tokenizer,
        tokens.vocabulary,
        sequence_length=corpus.sequence_length,
        held_out_texts=text_digests(corpus_documents.loc[corpus_documents["split"] != "train", "text"]),
        seed=student.optimization.seed,
        masked_share=student.masked_share,
        whole_words=student.whole_word_masking,
        word_starts=tokens.word_starts,
        batch_tokens=student.batch_tokens,
        num_readers=pretrain_distill.stream.num_readers,
        shuffle_blocks=pretrain_distill.stream.shuffle_blocks,
        packing=corpus.packing,
    )


def score_pretraining(
    student_encoder: Pretrained,
    teacher_encoder: Pretrained,
    tokens: Tokens,
    pretrain_distill: PretrainDistillParams,
    student_history: pd.DataFrame,
    undistilled_encoder: Pretrained | None = None,
    undistilled_history: pd.DataFrame | None = None,
    teacher_history: pd.DataFrame | None = None,
) -> JsonObject:
    """Masked accuracy on the test split, beside counting baselines, on the same hidden tokens.

    A teacher that was opened, or is T as the search left it, took no seconds here.
    """
    from bort_kedro.pretraining.scores import score_distances, score_encoders

    seconds = {
        name: 0.0 if history is None else float(history["seconds"].iloc[-1])
        for name, history in {
            "student": student_history,
            "undistilled": undistilled_history,
            "teacher": teacher_history,
        }.items()
    }
    scored_by_tokens = partial(score_encoders, top_k=pretrain_distill.teacher_cache.top_k)
    score = scored_by_tokens if pretrain_distill.distillation.predicts else score_distances
    twin = {} if undistilled_encoder is None else {"undistilled": undistilled_encoder}
    return score(
        {"student": student_encoder, **twin, "teacher": teacher_encoder},
        tokens,
        pretrain_distill.distillation,
        seconds=seconds,
        num_steps=pretrain_distill.student.optimization.num_steps,
        twin_lacks=pretrain_distill.twin_lacks,
        num_threads=pretrain_distill.student.num_threads,
        precision=pretrain_distill.student.optimization.mixed_precision,
    ).to_json()


def plot_training(
    student_history: pd.DataFrame,
    undistilled_history: pd.DataFrame | None = None,
    teacher_history: pd.DataFrame | None = None,
) -> Figure:
    """Masked accuracy of the trainings that predict tokens, step by step."""
    from bort_kedro.reporting.plots import training_curves_figure

    named = {"student": student_history, "its twin": undistilled_history, "teacher": teacher_history}
    return training_curves_figure(
        pd.concat([table.assign(model=name) for name, table in named.items() if table is not None], ignore_index=True)
    )
