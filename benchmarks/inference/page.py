"""The page of the inference benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.inference.figures import (
    MINUTES_ALLOWED,
    SHARE_OF_LIMIT,
    Found,
    Row,
    best_int8,
    condition_text,
    encoder_figures,
    limit,
    product_gain,
    ratio,
    runtime_figures,
    runtime_title,
)
from benchmarks.inference.runtimes import ENCODERS, PYTORCH, RUNTIMES
from benchmarks.inference.setting import PRODUCTS, title_of
from benchmarks.page import FOLDER, Figure, Part, interval_text, table, write_page
from bort_kedro.device import instruction_sets
from bort_kedro.reporting.markdown import MISSING, bullets, large, number, percent, times
from bort_kedro.reporting.paper_claims import speed_claim_rows
from bort_kedro.statistics import is_missing

VNNI = ("AVX-VNNI", "AVX-512 VNNI", "AMX int8")


def reference_part(rows: Sequence[Row]) -> Part:
    """The first condition, one line for each encoder, beside what its operations allow."""
    header = [
        "encoder", "median ms", "95 % interval", "x BERT-large", "by operations", "x BERT-base", "by operations",
        "sequences/s", "parameters", "MB of weights", "peak memory, MB",
    ]  # fmt: skip
    lines = [
        [
            row["name"],
            number(row["median_ms"], 1),
            interval_text(row["interval_low_ms"], row["interval_high_ms"]),
            times(row["measured_vs_bert_large"]),
            times(row["operations_vs_bert_large"]),
            times(row["measured_vs_bert_base"]),
            times(row["operations_vs_bert_base"]),
            number(row["throughput"], 1),
            large(row["parameters"]),
            number(row["bytes"] / 1e6, 0),
            number(row["peak_memory_bytes"] / 1e6, 0),
        ]
        for row in rows
        if row["is_reference"]
    ]
    return Part(condition_text(rows[0]), table(header, lines), encoder_figures(rows))


def matrix_part(rows: Sequence[Row], title: str, figures: Sequence[Figure] = ()) -> Part:
    """Every condition: medians and their intervals, then memory."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    conditions: dict[str, dict[str, Row]] = {}
    for row in rows:
        conditions.setdefault(condition_text(row), {})[row["name"]] = row
    times_table = table(
        ["median ms (95 % interval)", *names],
        [
            [
                condition,
                *(
                    f"{number(by_name[name]['median_ms'], 1)} "
                    f"({interval_text(by_name[name]['interval_low_ms'], by_name[name]['interval_high_ms'])})"
                    for name in names
                ),
            ]
            for condition, by_name in conditions.items()
        ],
    )
    memory_table = table(
        ["peak memory, MB", *names],
        [
            [condition, *(number(by_name[name]["peak_memory_bytes"] / 1e6, 0) for name in names)]
            for condition, by_name in conditions.items()
        ],
    )
    return Part(title, f"{times_table}\n\n{memory_table}", figures)


def claims_part(rows: Sequence[Row]) -> Part:
    """The paper's speed-ups beside each shape called Bort."""
    lines = [
        [
            f"{row['statement']}: {number(row['published'], 1)}x",
            f"**{row['name']}**" if row["is_nearest"] else row["name"],
            times(row["counted"]),
            times(row["measured"]),
        ]
        for row in speed_claim_rows([row for row in rows if row["is_reference"]])
    ]
    note = (
        "The shape whose operations come nearest to the published figure is set in bold. 20x fits Bort with H and I "
        "exchanged, and 7.9x the released alternative against BERT-base; the shape of the released checkpoint fits "
        "neither."
    )
    header = ["the paper", "shape", "by operations", "measured"]
    return Part("What the paper claims", f"{table(header, lines)}\n\n{note}")


def runtimes_part(found: Found) -> Part:
    """Bort's runtimes against the references, then the targets."""
    header = ["encoder", "runtime", "median ms", "95 % interval", "MB", "x BERT-large fp32", "x BERT-base fp32"]
    lines = [
        [
            title_of(system[0]),
            runtime_title(system[1]),
            number(timed.latency.median_ms, 1),
            interval_text(timed.latency.interval_low_ms, timed.latency.interval_high_ms),
            number(timed.bytes / 1e6, 0),
            times(ratio(found, ("bert_large", PYTORCH), system)),
            times(ratio(found, ("bert_base", PYTORCH), system)),
        ]
        for system, timed in found.runtimes.items()
        if system[0] != PRODUCTS
    ]
    figures = runtime_figures(found)
    targets = [
        [
            each.name,
            times(each.value),
            MISSING if each.target is None else f"at least {times(each.target)}",
            each.met_text,
        ]
        for each in figures
        if each.unit == "x"
    ]
    setting = found.setting
    conditions = (
        f"One sequence of {setting.sequence_length} tokens, {setting.num_threads} thread(s), no head, all in one "
        "process and interleaved. Weights are random and int8 is calibrated on random tokens, which time does not "
        "depend on; what int8 does to scores is in the report of every run."
    )
    ratios = table(["ratio", "measured", "target", "met"], targets)
    text = "\n\n".join([conditions, table(header, lines), ratios, machine_text(found)])
    return Part("Runtimes", text, figures)


def overhead_part(found: Found) -> Part:
    """What each runtime makes of the operations that a small shape saves."""
    lines, figures = [], []
    for key in (key for key in ENCODERS if (key, PYTORCH) in found.runtimes):
        cells = []
        for runtime in RUNTIMES:
            measured = ratio(found, ("bert_large", PYTORCH), (key, runtime))
            most = limit(found, "bert_large", (key, runtime))
            is_known = not (is_missing(measured) or is_missing(most))
            cells.append(f"{times(measured)} of {times(most)}, {percent(measured / most)}" if is_known else MISSING)
            name = f"{title_of(key)} in {runtime_title(runtime)}: share of its limit"
            figures.append(Figure(name, measured / most if is_known else None, "share"))
        lines.append([title_of(key), *cells])
    gains = [MISSING if is_missing(each) else times(each) for each in (product_gain(found, name) for name in RUNTIMES)]
    header = ["x BERT-large fp32, of the limit", *(runtime_title(each) for each in RUNTIMES)]
    text = (
        f"{table(header, [[f'{title_of(PRODUCTS)} alone', *gains], *lines])}\n\n"
        "The limit is the ratio of the operations times what the runtime makes of matrix products of BERT-large's "
        "size, timed in the same rounds. What a shape lacks to it is overhead: of calls, of small matrices, and of all "
        "that is no product. So among small shapes those with the fewest operations need not be the fastest in the "
        "runtime that they are shipped in, which is why a search may time that runtime."
    )
    return Part("Where small shapes lose", text, figures)


def machine_text(found: Found) -> str:
    """What of the targets is the machine's."""
    sets = instruction_sets()
    has, lacks = ([title for title, there in sets.items() if there == wanted] for wanted in (True, False))
    gain = ratio(found, ("bort", PYTORCH), best_int8(found))
    text = (
        f"This processor has {', '.join(has) or 'none of the sets below'} and lacks {', '.join(lacks) or 'none'}. "
        f"On it, int8 makes Bort {times(gain)} as fast as PyTorch's fp32, and the products of BERT-large's layers "
        f"{times(product_gain(found, best_int8(found, PRODUCTS)[1]))} as fast. The targets are "
        f"{percent(SHARE_OF_LIMIT)} of what the latter, times the ratio of the operations, would give."
    )
    if not any(sets[name] for name in VNNI):
        text += (
            " Without VNNI or AMX no instruction multiplies and adds four pairs of bytes at once, so int8 gains less "
            "than on server processors since 2019."
        )
    return text


def method_part(found: Found) -> Part:
    """How it was measured, what could not be, and how long it took."""
    notes = [
        f"{found.setting.timed_rounds} timed rounds after one of warm-up, interleaved: in each, every encoder "
        "has a turn of some passes, so that a slow spell of the machine falls on all.",
        "The interval holds the median with 95 % certainty or more: order statistics of the medians of the rounds, "
        "widened to hold the median of all passes.",
        "Peak memory is the largest resident memory of a process of the encoder's own that builds it and passes it "
        "once, less that of the libraries after a small pass; on CUDA, what torch's allocator handed out at most.",
        "Ratios by operations count every scalar operation of the layers, and of the head where there is one. They are "
        "no strict limit: operations of a large model may take longer, each, than those of a small one.",
    ]
    missing = [f"Not measured, {part}: {reason}" for part, reason in found.failures.items()]
    is_met = found.minutes < MINUTES_ALLOWED
    took = Figure("this benchmark", found.minutes, "min", target=MINUTES_ALLOWED, met=is_met)
    return Part("How it was measured", bullets([*notes, *missing]), [took])


def write(found: Found, *, is_last: bool, folder: Path = FOLDER) -> None:
    """Write the page with what there is.

    Args:
        found: So far.
        is_last: Whether nothing follows, so that the page is shown.
        folder: For page and figures.
    """
    parts = []
    if found.encoders:
        parts += [
            reference_part(found.encoders),
            claims_part(found.encoders),
            matrix_part(found.encoders, "By batch, length, threads and head"),
        ]
    if found.cuda:
        parts.append(matrix_part(found.cuda, "On CUDA", encoder_figures(found.cuda)))
    if found.runtimes:
        parts += [runtimes_part(found), overhead_part(found)]
    write_page(
        "inference",
        "Inference",
        [*parts, method_part(found)],
        {"rounds": found.setting.timed_rounds, "instruction_sets": instruction_sets()},
        setting="random weights, vocabulary of 50,265 tokens",
        packages=("torch", "transformers", "onnxruntime", "openvino", "nncf"),
        folder=folder,
        is_shown=is_last,
    )
