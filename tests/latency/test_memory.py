"""Memory is measured in processes of its own; what is tested are bounds that hold on any machine."""

from bort_kedro.encoders.costs import count_parameters
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.latency.conditions import Condition
from bort_kedro.latency.memory import peak_memory, peak_resident_bytes, resident_bytes

SHAPE = BertShape(1, 2, 256, 256)
VOCABULARY_SIZE = 40_000
MEGABYTE = 1_000_000


def test_peak_holds_weights_and_logits_and_little_else():
    plain, headed, threaded = Condition(2, 32, 1), Condition(2, 32, 1, has_head=True), Condition(2, 32, 2)
    found = peak_memory([SHAPE], [plain, headed, threaded], vocabulary_size=VOCABULARY_SIZE)
    count = count_parameters(SHAPE, vocabulary_size=VOCABULARY_SIZE, max_positions=32)
    weights = 4 * (count.embeddings + count.encoder)
    logits = 4 * 2 * 32 * VOCABULARY_SIZE
    (encoder,), (with_head,) = found[plain], found[headed]
    assert weights - 12 * MEGABYTE < encoder < weights + 12 * MEGABYTE
    assert logits - 8 * MEGABYTE < with_head - encoder < 2 * logits + 12 * MEGABYTE
    # Memory is measured once for all numbers of threads.
    assert found[threaded] == found[plain]


def test_peak_of_this_process_is_no_less_than_what_is_resident():
    assert 0 < resident_bytes() <= peak_resident_bytes() + MEGABYTE
