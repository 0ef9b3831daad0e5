"""Sections of model cards as Markdown; `model_card` puts them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bort_kedro.reporting.markdown import MISSING, duration, number, percent, table, times
from bort_kedro.tasks.description import Form, Task

Row = Mapping[str, Any]
NAME_PREFIX = "bort_kedro"
# What an example's two texts are where the files of a task hold something else (`tasks.layouts`).
TEXTS_OF_LAYOUT = {
    "copa": ("The premise.", "What was the cause? One choice."),
    "multirc": ("The passage.", "The question? One answer."),
    "options": ("The text.", "One option."),
    "race": ("The article.", "The question? One answer."),
    "record": ("The passage.", "The statement with [ one entity ] in its blank."),
    "wic": ("A sentence with the [ word ].", "Another with the [ word ]."),
    "wsc": ("A sentence with [ a phrase ] and with [ it ].", ""),
}
FOLDER = "folder-or-repository-of-this-model"


def task_use(task: Task, *, has_pairs: bool, max_tokens: int) -> str:
    """Code that answers one example.

    Args:
        task: Its row of the table.
        has_pairs: Whether an example is two texts.
        max_tokens: Longest input.
    """
    text, pair = example_texts(task)
    if task.form == Form.MULTIPLE_CHOICE:
        return _python(
            "import torch",
            "from transformers import AutoModelForSequenceClassification, AutoTokenizer",
            "",
            f'model = AutoModelForSequenceClassification.from_pretrained("{FOLDER}")',
            f'tokenizer = AutoTokenizer.from_pretrained("{FOLDER}")',
            f'text, options = "{text}", ["{pair}", "..."]',
            "inputs = tokenizer(",
            "    [text] * len(options), options, padding=True, truncation=True, "
            f"max_length={max_tokens}, return_tensors='pt'",
            ")",
            "with torch.inference_mode():",
            "    best = options[int(model(**inputs).logits[:, 0].argmax())]",
        )
    example = f'{{"text": "{text}", "text_pair": "{pair}"}}' if has_pairs else f'"{text}"'
    code = _python(
        "from transformers import pipeline",
        "",
        f'classify = pipeline("text-classification", model="{FOLDER}")',
        f"classify({example}, truncation=True, max_length={max_tokens})",
    )
    said = "\n\n`score` is the value itself; `label` means nothing." if task.form == Form.REGRESSION else ""
    return code + said


def example_texts(task: Task) -> tuple[str, str]:
    """What stands in the place of the two texts of an example, as its layout or its columns call them."""
    if task.layout in TEXTS_OF_LAYOUT:
        return TEXTS_OF_LAYOUT[task.layout]
    first, second = (task.columns.get(role, (default,))[-1] for role, default in (("text", "text"), ("text_pair", "")))
    return f"The {first}.", f"The {second or 'other text'}."


def encoder_use(mask_token: str) -> str:
    """Code that fills one hidden word."""
    return _python(
        "from transformers import pipeline",
        "",
        f'fill = pipeline("fill-mask", model="{FOLDER}")',
        f'fill("The {mask_token} of a text.")',
    )


def _python(*lines: str) -> str:
    code = "\n".join(lines)
    return f"```python\n{code}\n```"


def task_scores(task: Task, metrics: Row, examples: Row) -> str:
    """The scores on test and dev, with how sure they are and what a constant answer has."""
    rows = []
    for split in ("test", "dev"):
        if split not in metrics:
            continue
        scores = metrics[split]
        rows.append(
            [
                f"{split} ({examples[split]['source']})",
                metrics["metric"].replace("_", " "),
                number(scores["score"], 4),
                _certainty(scores),
                number(scores["majority_score"], 4),
                f"{scores['num_examples']:,}",
            ]
        )
        rows += [
            [split, name.replace("_", " "), number(scores[f"metric_{name}"], 4), MISSING, MISSING, ""]
            for name in task.metrics
            if name != metrics["metric"] and f"metric_{name}" in scores
        ]
    if not rows:
        return "No split of this task has labels here, so nothing was scored."
    header = ["Split", "Metric", "Score", "How sure", "Constant answer", "Examples"]
    return (
        f"{table(header, rows)}\n\nNo training saw the test split. Settings were chosen on dev, so its score flatters. "
        "All are scores of one training: how they vary with the seed is not in them."
    )


def _certainty(scores: Row) -> str:
    if "interval" in scores:
        interval = scores["interval"]
        return f"{interval['low']:.4f} to {interval['high']:.4f} ({interval['level']:.0%})"
    return f"± {scores['standard_error']:.4f}"


def encoder_scores(pretraining: Row) -> str:
    """Masked accuracy beside the teacher, the same shape without it, and counting."""
    names = {
        "student": "this encoder",
        "undistilled": "the same shape without a teacher",
        "teacher": "the teacher",
        "bigram": "the most frequent follower",
        "unigram": "the most frequent token",
    }
    rows = [
        [
            name,
            percent(pretraining[key]["accuracy"], pretraining[key].get("accuracy_standard_error")),
            number(pretraining[key].get("perplexity"), 1),
        ]
        for key, name in names.items()
    ]
    return (
        f"{table(['Model', 'Masked accuracy', 'Perplexity'], rows)}\n\n{pretraining['num_predicted']:,} hidden tokens "
        "of the test split, which no training saw; ± is one standard error."
    )


def text_section(corpus: Row) -> str:
    """The corpus of the pretraining."""
    sources = ", ".join(f"{name} {version}" for name, version in corpus["versions"].items())
    return (
        f"Pretrained on the train split, {corpus['documents_by_split']['train']:,} documents, of a corpus of "
        f"{corpus['documents']:,} documents and {corpus['words']:,} words from {sources}. Fingerprint of the text: "
        f"`{corpus['sha256']}`."
    )


def cost_section(trainings: Sequence[tuple[str, float]], device: Row) -> str:
    """Hours of each training that led to the model, and the machine.

    Args:
        trainings: What was trained, and seconds.
        device: Of `device.describe_device`.
    """
    rows = [[what, duration(seconds), f"{seconds / 3600:.3f}"] for what, seconds in trainings]
    total = sum(seconds for _, seconds in trainings)
    rows.append(["**sum**", f"**{duration(total)}**", f"**{total / 3600:.3f}**"])
    accelerators = ", ".join(device["cuda_devices"]) or "none"
    return (
        f"{table(['Training', 'Time', 'Hours'], rows)}\n\nThe machine of the evaluation: {device['processor']}, "
        f"{device['cpu_count']} cores, accelerators: {accelerators}. Other stages may have run elsewhere; the manifest "
        "of each run names its own. Energy and CO2 were not measured and are not estimated."
    )


def export_section(exports: Row) -> str:
    """The other formats, with what each loses and gains."""
    rows = [
        [
            each["title"],
            number(each["bytes"] / 1e6, 1),
            number(each.get("score_after"), 4),
            number(each.get("median_ms"), 2),
            times(each.get("speedup")),
            "refused" if each.get("is_refused") else "",
        ]
        for each in exports["formats"].values()
    ]
    header = ["Format", "MB", exports["metric"].replace("_", " "), "ms", "Faster", ""]
    return (
        f"{table(header, rows)}\n\nScores of {exports['num_examples']:,} examples of the test split; times at batch "
        f"size {exports['batch_size']}, {exports['sequence_length']} tokens, {exports['num_threads']} thread(s)."
    )


def task_limits(task: Task, max_tokens: int) -> list[str]:
    """What a user of a fine-tuned model must know."""
    return [
        f"Inputs over {max_tokens} tokens are cut, and what is cut is not read.",
        *(
            ["The span in question must stand between ` [ ` and ` ] `, as words of their own."]
            if task.has_marked_spans
            else []
        ),
        f"It was scored on texts like those of {task.title}; what it does with others is not known.",
        "It was not examined for bias, nor against texts made to mislead it.",
    ]


def encoder_limits(pretraining: Row, max_tokens: int) -> list[str]:
    """What a user of the encoder must know."""
    return [
        f"It saw {pretraining['num_steps']:,} steps; published encoders see hundreds of thousands.",
        f"It was pretrained on inputs of up to {max_tokens} tokens; positions beyond were not trained.",
        "It was not examined for bias.",
    ]
