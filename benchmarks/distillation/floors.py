"""What costs next to nothing, beside which every score of the distillation experiment stands."""

from __future__ import annotations

from benchmarks.distillation.corpora import Corpus
from benchmarks.distillation.trainings import MASKED
from benchmarks.floors import floor_accuracies
from bort_kedro.params import Parameters
from bort_kedro.pretraining.baselines import CountBaselines
from bort_kedro.pretraining.masked_lm import score_baselines
from bort_kedro.pretraining.pretrain import EVALUATION_BATCH_TOKENS, evaluation_blocks

# For readers: of the tasks, and of the hidden tokens.
CONSTANT, COUNTED = "constant answer; the commonest token", "TF-IDF with a linear model; counts of word pairs"
OF_TOKENS = {"unigram": CONSTANT, "bigram": COUNTED}
OF_TASKS = {"constant": CONSTANT, "tfidf": COUNTED}


def floors_by_measure(corpus: Corpus, parameters: Parameters) -> dict[str, dict[str, float]]:
    """Shares of the test split answered rightly, by measure and then by floor."""
    tokens = corpus.tokens
    baselines = CountBaselines(tokens.splits["train"], tokens.vocabulary.is_ordinary)
    is_right = score_baselines(evaluation_blocks(tokens, "test"), baselines, batch_tokens=EVALUATION_BATCH_TOKENS)
    found = {MASKED: {OF_TOKENS[name]: float(values.mean()) for name, values in is_right.items()}}
    for task, examples in corpus.examples.items():
        accuracies = floor_accuracies(task, examples, parameters.finetune)
        found[task] = {OF_TASKS[name]: accuracy for name, accuracy in accuracies.items()}
    return found
