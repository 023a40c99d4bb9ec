"""The page of a check: its JSON as tables, in the style of AdaptBench's other pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adaptbench.leaderboards.study import Item, Number, Study, Table, Verdict, html
from adaptbench.leaderboards.wording import MISSING, si

if TYPE_CHECKING:
    from collections.abc import Iterator

_VERDICTS = {True: "holds", False: "does not hold", None: "not run"}
_NOTES = (
    "A time is the median over rounds in which all variants took turns, by CUDA events on a GPU and by the processor's "
    "clock without one. What is timed is the whole prefill: tower, projector, decoder, and the head at one position.",
    "Where a variant saves what it says, its time over the base's and its FLOPs over the base's are equal. FLOPs are "
    "what the answers say they cost. Weights are random and schedulers untrained, so the answers mean nothing. With "
    "several prompts, AdaLLaVA may run other parts for each, one after the other.",
    "Of the products: the prefill's FLOPs per second over those of bare matrix products of its shapes and weights. "
    "Of the large product: over those of two square matrices. Both ran in the same process.",
    "Predicted times are the roofline's, without launch costs: by the maker's data sheet, and by this device's own "
    "rates, those of the large product and of a copy.",
    "Memory is what the prefill takes at its peak beyond the weights, by the allocator. Predicted are keys, values and "
    "the largest block's activations.",
)


def page(found: dict[str, Any]) -> str:
    """Return the page of what a check found."""
    return html(Study("GPU check", _facts(found), list(_tables(found["parts"])), _NOTES))


def _facts(found: dict[str, Any]) -> list[str]:
    device, packages = found["device"], found["environment"]["packages"]
    measured = f"Measured on {device.get('name', device.get('device', '?'))}"
    if not found["gpu_measured"]:
        measured = f"No GPU was measured: this ran on the processor, {found['environment']['machine']}"
    driver = found["environment"]["gpu"].get("driver")
    short = [f"{name} {part['status']}" for name, part in found["parts"].items() if part["status"] != "done"]
    return [
        measured,
        *(["A small model, whose times say nothing about a large one's"] if found["small"] else []),
        *([f"Not all of it: {', '.join(short)}"] if short else []),
        f"{found['made'][:10]}, {found['seconds']:.0f} s",
        f"adaptbench {packages.get('adaptbench', '?')}, torch {device.get('torch', '?')}, "
        f"transformers {packages.get('transformers', '?')}",
        *([f"CUDA {device['cuda']}, driver {driver}"] if found["gpu_measured"] and driver else []),
    ]


def _tables(parts: dict[str, Any]) -> Iterator[Table]:
    figures = {name: part["figures"] or {} for name, part in parts.items()}
    prefill = figures.get("prefill", {})
    for batch in prefill.get("batches", ()):
        yield _prefills(batch)
    if "ceilings" in prefill:
        yield _rates(prefill)
    for batch in prefill.get("batches", ()):
        yield _memory(batch)
    if "checks" in figures.get("clock", {}):
        yield Table(
            "Are times right?", "The device's clock against work of known length and against the processor's clock.",
            ("what is compared", "verdict", "found", "at least", "at most"),
            [
                (
                    check["name"], Verdict(_VERDICTS[check["holds"]]),
                    *(Number(_plain(check[name])) for name in ("found", "least", "most")),
                )
                for check in figures["clock"]["checks"]
            ],
        )  # fmt: skip
    if figures.get("answers", {}).get("rows"):
        yield _answers(figures["answers"])
    yield Table(
        "Parts", "Each ran in a process of its own.", ("part", "ended", "seconds", "at most", "why not"),
        [
            (name, part["status"], Number(f"{part['seconds']:.0f}"), Number(f"{part['limit']:.0f}"), part["error"])
            for name, part in parts.items()
        ],
    )  # fmt: skip


def _prefills(batch: dict[str, Any]) -> Table:
    chips = _chips(batch)
    heads = ("variant", "time", "time / base's", "FLOPs / base's", "FLOPs", "of the products", "of the large product")
    return Table(
        f"Prefill of {_prompts(batch)}",
        f"Bare products of its shapes: {si(batch['products'], 'FLOP/s')}.{_state(batch['gpu'])}",
        (*heads, *(f"predicted: {chip}" for chip in chips)),
        [_failed(row, len(heads) + len(chips)) if "error" in row else _prefilled(row, chips) for row in batch["rows"]],
    )


def _prefilled(row: dict[str, Any], chips: list[str]) -> list[Item]:
    quartiles = f"quartiles {si(row['q1'], 's')} and {si(row['q3'], 's')}, {row['rounds']} rounds"
    shares = (row.get(name) for name in ("seconds_of_base", "flops_of_base"))
    return [
        row["name"],
        Number(si(row["seconds"], "s"), quartiles),
        *(Number(_plain(share)) for share in shares),
        Number(si(row["flops"])),
        *(Number(f"{100 * row[name]:.0f} %") for name in ("share_of_products", "share_of_gemm")),
        *(Number(si(row["predicted_seconds"].get(chip), "s")) for chip in chips),
    ]


def _memory(batch: dict[str, Any]) -> Table:
    def predicted(row: dict[str, Any]) -> int:
        return row["predicted_bytes"]["cached"] + row["predicted_bytes"]["activations"]

    return Table(
        f"Memory of {_prompts(batch)}", "", ("variant", "peak", "of the base", "predicted"),
        [
            _failed(row, 4) if "error" in row else [
                row["name"], Number(si(row["peak_bytes"], "B")), Number(_plain(row.get("peak_bytes_of_base"))),
                Number(si(predicted(row), "B")),
            ]
            for row in batch["rows"]
        ],
    )  # fmt: skip


def _rates(prefill: dict[str, Any]) -> Table:
    ceilings, sheet = prefill["ceilings"], prefill.get("data_sheet")
    side, precision = ceilings["gemm_side"], {"bfloat16": "bf16", "float32": "fp32"}[prefill["dtype"]]
    peak, bandwidth = (sheet["peak"].get(precision), sheet["bandwidth"]) if sheet else (None, None)

    def share(rate: float, most: float | None) -> Number:
        return Number(f"{100 * rate / most:.0f} %" if most else MISSING)

    return Table(
        "What the device does at most", f"In {prefill['dtype']}.",
        ("rate", "measured", f"data sheet of {sheet['name']}" if sheet else "data sheet", "share"),
        [
            (
                f"product of matrices of {side} x {side}", Number(si(ceilings["gemm"], "FLOP/s")),
                Number(si(peak, "FLOP/s")), share(ceilings["gemm"], peak),
            ),
            (
                "copy, bytes read and written", Number(si(ceilings["copy"], "B/s")), Number(si(bandwidth, "B/s")),
                share(ceilings["copy"], bandwidth),
            ),
        ],
    )  # fmt: skip


def _answers(answers: dict[str, Any]) -> Table:
    here, there = answers["devices"]
    same = " No GPU was there, so that both ran on the processor." if here == there else ""
    rows: list[list[Item]] = []
    for row in answers["rows"]:
        if "error" in row:
            rows.append(_failed(row, 7))
            continue
        shown = "; ".join(f"{one['sample']}: {one['here']!r}, {one['there']!r}" for one in row["different"])
        times = (Number(si(row[side]["seconds"], "s")) for side in ("here", "there"))
        verdict = Verdict(_VERDICTS[row["equal"] == row["samples"]])
        equal = Number(f"{row['equal']} of {row['samples']}")
        rows.append([row["model"], row["task"], verdict, equal, *times, shown])
    return Table(
        "Are answers the same?", f"The same runs on {here} and on {there}.{same}",
        ("model", "task", "verdict", "equal", f"prefill on {here}", f"prefill on {there}", "those that differ"), rows,
    )  # fmt: skip


def _failed(row: dict[str, Any], columns: int) -> list[Item]:
    name = row.get("name") or row["model"]
    return [name, f"failed: {row['error']}", *[Number(MISSING)] * (columns - 2)]


def _chips(batch: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(chip for row in batch["rows"] for chip in row.get("predicted_seconds", ())))


def _prompts(batch: dict[str, Any]) -> str:
    return f"{batch['prompts']} prompt{'s' * (batch['prompts'] > 1)}"


def _state(gpu: dict[str, int]) -> str:
    """What the GPU was like after the last round."""
    told = [
        form.format(**gpu)
        for needed, form in (
            ("sm_clock_max_mhz", "{sm_clock_mhz:,} of {sm_clock_max_mhz:,} MHz"),
            ("power_limit_mw", "{power_mw:,} of {power_limit_mw:,} mW"),
            ("temperature_c", "{temperature_c} °C"),
            ("other_processes", "other processes: {other_processes}"),
        )
        if needed in gpu
    ]
    return f" The GPU after the last round: {', '.join(told)}." if told else ""


def _plain(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3g}" if abs(value) < 0.01 else f"{value:.3f}"
