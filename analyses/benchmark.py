"""How fast: extraction, the contrastive chain, steered generation and judging, against plain transformers.

All rows of a table come from one run on the same texts. A repeat measures every row once, in turn, so that noise of
the machine falls on all of them; ratios are taken within a repeat and their median is reported.
"""

import argparse
import resource
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch
from benchmark_extraction import BACKENDS, bfloat16_agreement, overheads, run, summary
from benchmark_judges import JudgeConfig, api_facts, judge_summary, run_judges
from benchmark_plain import Config

from persona_interp.io import atomic_write_bytes, write_json
from persona_interp.models.load import library_versions

DTYPES = (torch.float32, torch.bfloat16)


def extraction(config: Config, out: Path) -> None:
    """Tables `raw`, `table` and `overheads`, and `facts.json`."""
    frames = [run(config, dtype) for dtype in DTYPES]
    raw = pd.concat(frames, ignore_index=True)
    table = pd.concat([summary(f).assign(dtype=f["dtype"].iloc[0]) for f in frames], ignore_index=True)
    costs = pd.concat([overheads(f).assign(dtype=f["dtype"].iloc[0]) for f in frames], ignore_index=True)
    across = raw[raw["row"].str.contains("extract_activations|one text|papers|end to end")]
    base = across[across["dtype"] == "float32"].groupby("row")["seconds"].median()
    fast = across[across["dtype"] == "bfloat16"].groupby("row")["seconds"].median()
    facts = {
        "bfloat16 extraction over float32 (b)": {
            b: base["(b) one text at a time, hidden states"] / fast[f"(c) {b}: extract_activations"] for b in BACKENDS
        },
        "bfloat16 end to end over float32 papers": {
            b: base["generate, then re-run (papers)"] / fast[f"{b}: contrastive vector end to end"] for b in BACKENDS
        },
        "bfloat16 vector, least cosine over layers with float32": bfloat16_agreement(config),
    }
    _write_tables(out, raw=raw, table=table, overheads=costs)
    write_json(out / "facts.json", {"config": asdict(config), **facts, **_machine()})


def judging(config: JudgeConfig, out: Path) -> None:
    """Tables `judges_raw` and `judges`, and `judges_facts.json`."""
    api = api_facts(config.repeats)
    raw = pd.concat([run_judges(config, dtype) for dtype in DTYPES], ignore_index=True)
    _write_tables(out, judges_raw=raw, judges=judge_summary(raw))
    write_json(out / "judges_facts.json", {"config": asdict(config), "API": api, **_machine()})
    print(api)  # noqa: T201


def _write_tables(out: Path, **tables: pd.DataFrame) -> None:
    for name, table in tables.items():
        atomic_write_bytes(out / f"{name}.csv", table.to_csv(index=False).encode())
        if not name.endswith("raw"):
            print(table.round(3).to_string(index=False))  # noqa: T201


def _machine() -> dict[str, object]:
    return {
        "versions": library_versions(),
        "threads": torch.get_num_threads(),
        "peak memory, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    """Measure and write tables under `analyses/results/benchmark/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("analyses/results/benchmark"))
    parser.add_argument("--quick", action="store_true", help="a tenth of the texts (40 rollouts, 24 judged answers)")
    parser.add_argument("--rows", choices=("all", "extraction", "judges"), default="all", help="which tables")
    chosen = parser.parse_args()
    if chosen.rows != "judges":
        extraction(Config(n_questions=2) if chosen.quick else Config(), chosen.out)
    if chosen.rows != "extraction":
        judging(JudgeConfig(n_questions=4, n_answers=6) if chosen.quick else JudgeConfig(), chosen.out)


if __name__ == "__main__":
    main()
