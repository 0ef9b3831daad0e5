"""Built-in tasks, labelled by construction from documents that no training of the encoder has seen.

Every example is made of sentences of one split of the documents, and no sentence stands in two examples of
different splits, so the scores of ``dev`` and ``test`` speak of unseen text.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bort_kedro.errors import TaskError
from bort_kedro.tasks.argument_names import ARGUMENT_PATTERN, ARGUMENT_TAGS, argument_rows
from bort_kedro.tasks.description import SPLITS, Form
from bort_kedro.tasks.settings import BuiltinTasksSettings
from bort_kedro.tasks.tags import GOES_ON, single_labels
from bort_kedro.text.prose import sentences

INTACT, SHUFFLED = "intact", "shuffled"
ADJACENT, NOT_ADJACENT = "adjacent", "not_adjacent"

# A document gives at most this many pairs to `adjacent`, so that one long page is not most of the task.
MAX_PAIRS_PER_DOCUMENT = 8
# Windows tried before a sentence is given up, such as one that repeats a single word.
SHUFFLE_ATTEMPTS = 20
# Sentences drawn before all those of other documents are listed, which is slow and seldom needed.
DRAW_ATTEMPTS = 20
# Share of sentences of allowed length; below it, more text is no help.
FEW_SENTENCES = 0.1

_CLOSING = re.compile(r"[^\w]*$")


@dataclass(frozen=True)
class Document:
    """One document of the corpus; its paragraphs stand one on a line, and it may document something with arguments."""

    document_id: str
    source: str
    text: str
    arguments: frozenset[str] = frozenset()


@dataclass(frozen=True)
class TaskExample:
    """One labelled example; ``text_pair`` is None for tasks on single texts."""

    split: str
    text: str
    text_pair: str | None
    label: str


@dataclass(frozen=True)
class Sentence:
    """A sentence and where it stands.

    Args:
        place: Number in its document, sentences that were left out counted too.
        arguments: Names of the arguments of what its document is about.
    """

    source: str
    document: int
    place: int
    text: str
    arguments: frozenset[str] = frozenset()


# The sentences of one split, the settings and a generator: (text, text_pair, label) of each example.
Rows = list[tuple[str, str | None, str]]
Builder = Callable[[Sequence[Sentence], BuiltinTasksSettings, int, np.random.Generator], Rows]


@dataclass(frozen=True)
class BuiltinTask:
    """One row of the table of tasks.

    Args:
        build: Makes the examples of one split.
        labels: Every label, in the order of the classifier's outputs; None means the corpus' sources.
        pattern: Of tagged words, what matches a word of a span whole: a floor.
    """

    build: Builder
    labels: tuple[str, ...] | None
    description: str
    form: Form = Form.CLASSIFICATION
    pattern: re.Pattern[str] | None = None


def build_examples(task: str, documents: Iterable[Document], settings: BuiltinTasksSettings) -> list[TaskExample]:
    """Build a task's train, dev and test examples; the same for every order of the documents.

    Rows of one source and id count as one document.

    Returns:
        Examples, train first; at most ``max_examples`` of each split. Labels of `order` and `adjacent` are equally
        frequent in every split.

    Raises:
        TaskError: If the task is unknown, or the documents give a split too few examples.
    """
    chosen = builtin_task(task)
    documents = list(documents)
    by_split = _sentences_by_split(documents, settings)
    examples = []
    for index, split in enumerate(SPLITS):
        # Documents are split alike for all tasks; what is drawn afterwards is each split's own.
        generator = np.random.default_rng([settings.seed, 1 + index])
        rows = chosen.build(by_split[split], settings, getattr(settings.max_examples, split), generator)
        examples += [TaskExample(split, *row) for row in rows]
    if fault := _fault_of(chosen, examples):
        raise TaskError(
            f"Built-in task `{task}`: {fault}. Every split needs each label. {_advice(chosen, documents, settings)}"
        )
    return examples


def builtin_task(task: str) -> BuiltinTask:
    """The table's row of a task.

    Raises:
        TaskError: If there is none of that name.
    """
    if task not in BUILTIN_TASKS:
        raise TaskError(
            f"There is no built-in task `{task}`. Built-in: {', '.join(BUILTIN_TASKS)}. Change `tasks` under "
            f"params:finetune, or add your own examples as the catalog entry `{task}.examples`."
        )
    return BUILTIN_TASKS[task]


def split_documents(documents: Sequence[Document], settings: BuiltinTasksSettings) -> dict[str, list[Document]]:
    """Deal whole documents, rows of one source and id, to train, dev and test, each source in the same shares."""
    groups: dict[tuple[str, str], list[Document]] = defaultdict(list)
    for document in documents:
        groups[document.source, document.document_id].append(document)
    keys = sorted(groups)
    shuffled = [keys[index] for index in np.random.default_rng([settings.seed, 0]).permutation(len(keys))]
    dealt: dict[str, list[Document]] = {split: [] for split in SPLITS}
    # Shuffled within each source, then dealt at even steps: shares hold for every source, however small.
    for position, key in enumerate(sorted(shuffled, key=lambda key: key[0])):
        dealt[_split_at(position, settings)] += groups[key]
    return dealt


def _split_at(position: int, settings: BuiltinTasksSettings) -> str:
    """Even steps through the documents: a split is due whenever its running share passes a whole number."""

    def passes(share: float) -> bool:
        return math.floor((position + 1) * share + 1e-9) > math.floor(position * share + 1e-9)

    if passes(settings.test_share):
        return "test"
    return "dev" if passes(settings.test_share + settings.dev_share) else "train"


def _sentences_by_split(documents: list[Document], settings: BuiltinTasksSettings) -> dict[str, list[Sentence]]:
    """Every sentence of allowed length, once: what is met again, in any split, is left out.

    The small splits choose first, so that they keep their size.
    """
    dealt, seen = split_documents(documents, settings), set()
    found: dict[str, list[Sentence]] = {split: [] for split in SPLITS}
    number = 0
    for split in reversed(SPLITS):
        for document in dealt[split]:
            number, place = number + 1, 0
            for paragraph in document.text.split("\n"):
                for text in sentences(paragraph):
                    place += 1
                    key = re.sub(r"\W+", "", text).lower()
                    if key not in seen and settings.min_words <= len(text.split()) <= settings.max_words:
                        found[split].append(Sentence(document.source, number, place, text, document.arguments))
                    seen.add(key)
    return found


def _library_rows(
    candidates: Sequence[Sentence], settings: BuiltinTasksSettings, limit: int, generator: np.random.Generator
) -> Rows:
    """Which source a sentence comes from."""
    chosen = generator.permutation(len(candidates))[:limit]
    return [(candidates[index].text, None, candidates[index].source) for index in chosen]


def _order_rows(
    candidates: Sequence[Sentence], settings: BuiltinTasksSettings, limit: int, generator: np.random.Generator
) -> Rows:
    """Whether a sentence still has its word order; each sentence appears in one variant only."""
    pairs: list[tuple[str, str]] = []
    for index in generator.permutation(len(candidates)):
        if len(pairs) == limit:
            break
        # Both variants are joined by single blanks, which would tell them apart too.
        intact = " ".join(candidates[index].text.split())
        # Intact examples too must be able to be shuffled, or their kind alone would tell.
        shuffled = shuffle_window(intact, num_words=settings.shuffled_words, generator=generator)
        if shuffled is not None:
            pairs.append((intact, shuffled))
    even = len(pairs) // 2 * 2
    return [
        (shuffled, None, SHUFFLED) if index % 2 else (intact, None, INTACT)
        for index, (intact, shuffled) in enumerate(pairs[:even])
    ]


def shuffle_window(text: str, *, num_words: int, generator: np.random.Generator) -> str | None:
    """Permute the words of one contiguous window of a sentence; None if it is too short or repeats itself.

    The first word keeps its place, since its capital would give the rest away, and so do the marks that close the
    sentence.
    """
    closing = _CLOSING.search(text).group()  # type: ignore[union-attr]
    words = text[: len(text) - len(closing)].split()
    if len(words) < num_words + 1:
        return None
    for _ in range(SHUFFLE_ATTEMPTS):
        start = int(generator.integers(1, len(words) - num_words + 1))
        order = start + generator.permutation(num_words)
        moved = [*words[:start], *(words[index] for index in order), *words[start + num_words :]]
        if [word.lower() for word in moved] != [word.lower() for word in words]:
            return " ".join(moved) + closing
    return None


def _adjacent_rows(
    candidates: Sequence[Sentence], settings: BuiltinTasksSettings, limit: int, generator: np.random.Generator
) -> Rows:
    """Whether the second sentence follows the first in its document.

    Every consecutive pair gives two examples: its first sentence with its own second, and with a sentence of
    another document of the same source, so the first sentence alone tells nothing. The second alone tells a
    little, as it does in text: a sentence that opens a document seldom follows another.
    """
    per_document: Counter[int] = Counter()
    by_source: dict[str, list[Sentence]] = defaultdict(list)
    for candidate in candidates:
        by_source[candidate.source].append(candidate)
    pairs = [
        (first, second)
        for first, second in pairwise(candidates)
        if first.document == second.document and second.place == first.place + 1
    ]
    rows: Rows = []
    for first, second in (pairs[index] for index in generator.permutation(len(pairs))):
        if len(rows) + 2 > limit:
            break
        if per_document[first.document] == MAX_PAIRS_PER_DOCUMENT:
            continue
        stranger = _from_another_document(first, by_source[first.source], generator)
        if stranger is not None:
            per_document[first.document] += 1
            rows += [(first.text, second.text, ADJACENT), (first.text, stranger.text, NOT_ADJACENT)]
    return [rows[index] for index in generator.permutation(len(rows))]


def _from_another_document(
    first: Sentence, same_source: Sequence[Sentence], generator: np.random.Generator
) -> Sentence | None:
    """A sentence of the same source but of another document, or None if there is no such document."""
    for _ in range(DRAW_ATTEMPTS):
        drawn = same_source[int(generator.integers(len(same_source)))]
        if drawn.document != first.document:
            return drawn
    others = [sentence for sentence in same_source if sentence.document != first.document]
    return others[int(generator.integers(len(others)))] if others else None


def _fault_of(chosen: BuiltinTask, examples: list[TaskExample]) -> str:
    """Every split needs every label that training knows, but those inside a span, and training two at least."""
    found = {
        split: Counter(single_labels(chosen.form, (e.label for e in examples if e.split == split))) for split in SPLITS
    }
    labels = {label for label in chosen.labels or {e.label for e in examples} if not label.startswith(GOES_ON)}
    lacking = [
        f"{split} lacks {', '.join(sorted(labels - set(found[split])))}"
        for split in SPLITS
        if labels - set(found[split])
    ]
    if len(labels) < 2:
        lacking.append(f"two labels are needed, found {sorted(labels)}")
    if not lacking:
        return ""
    sizes = ", ".join(f"{split} {sum(e.split == split for e in examples)}" for split in SPLITS)
    return (
        "too few documents, or sentences of the allowed length, in the corpus split `tasks` "
        f"({'; '.join(lacking)}; examples: {sizes})"
    )


def _advice(chosen: BuiltinTask, documents: Sequence[Document], settings: BuiltinTasksSettings) -> str:
    """What helps: more text, unless it lacks what the task asks for, or hardly a sentence is found in it."""
    if chosen.form == Form.TOKENS and not any(document.arguments for document in documents):
        return (
            "No document says which arguments it documents: only a `raw_corpus` of installed packages does "
            "(InstalledDocumentationDataset in the catalog). Take the task out of `tasks` in params:finetune."
        )
    if chosen.labels is None and len({document.source for document in documents}) == 1:
        return (
            "Give the catalog entry `raw_corpus` text of two sources, such as packages or files, or take the task out "
            "of `tasks` in params:finetune."
        )
    texts = [text for document in documents for line in document.text.split("\n") for text in sentences(line)]
    num_fitting = sum(settings.min_words <= len(text.split()) <= settings.max_words for text in texts)
    if num_fitting >= FEW_SENTENCES * len(texts):
        return (
            "Give the catalog entry `raw_corpus` more text, raise the share of documents kept for tasks in "
            "params:corpus, or change params:finetune.builtin_tasks."
        )
    return (
        f"Of {len(texts)} sentences {num_fitting} have {settings.min_words} to {settings.max_words} words, and more "
        "text of this kind is no help: words are what blanks part, and a sentence ends before a Latin capital letter. "
        "For Chinese, Japanese, Thai and others choose other `tasks` in params:finetune, such as one of `own_tasks`; "
        "or change min_words and max_words under builtin_tasks there."
    )


BUILTIN_TASKS: dict[str, BuiltinTask] = {
    "library": BuiltinTask(_library_rows, None, "which source (library) a sentence comes from"),
    "order": BuiltinTask(_order_rows, (INTACT, SHUFFLED), "whether the word order is intact"),
    "adjacent": BuiltinTask(_adjacent_rows, (ADJACENT, NOT_ADJACENT), "whether two sentences follow each other"),
    "arguments": BuiltinTask(
        argument_rows,
        ARGUMENT_TAGS,
        "which words name an argument of what is documented",
        Form.TOKENS,
        ARGUMENT_PATTERN,
    ),
}
