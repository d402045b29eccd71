"""How fast: extraction, steered generation, judging, screening, finetuning, styles, adapters, dictionaries, the demo.

All rows of a table come from one run on the same texts. A repeat measures every row once, in turn, so that noise of
the machine falls on all of them; ratios are taken within a repeat and their median is reported.
"""

import argparse
import resource
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch
from benchmark_attribution import AttributionConfig, attribution_rows, attribution_summary
from benchmark_demo import DemoConfig, demo_rows
from benchmark_directions import DirectionsConfig, directions_rows, directions_summary
from benchmark_extraction import BACKENDS, bfloat16_agreement, overheads, run, summary
from benchmark_finetuning import CallbackConfig, RunConfig, callback_rows, callback_summary, run_rows
from benchmark_judges import JudgeConfig, api_facts, judge_summary, run_judges
from benchmark_personality import PersonalityConfig, personality_rows, prefix_rows, prefix_summary
from benchmark_plain import Config
from benchmark_sae import SAEConfig, sae_generation_ratio, sae_rows
from benchmark_screening import ScreeningConfig, screening_rows, screening_summary
from kept_results import write_tables

from persona_interp.io import write_json
from persona_interp.models.identity import library_versions

DTYPES = (torch.float32, torch.bfloat16)
ROWS = ("extraction", "judges", "screening", "finetuning", "personality", "directions", "sae", "attribution", "demo")


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
    _write(out, {"raw": raw, "table": table, "overheads": costs})
    write_json(out / "facts.json", {"config": asdict(config), **facts, **_machine()})


def judging(config: JudgeConfig, out: Path) -> None:
    """Tables `judges_raw` and `judges`, and `judges_facts.json`."""
    api = api_facts(config.repeats)
    raw = pd.concat([run_judges(config, dtype) for dtype in DTYPES], ignore_index=True)
    _write(out, {"judges_raw": raw, "judges": judge_summary(raw)})
    write_json(out / "judges_facts.json", {"config": asdict(config), "API": api, **_machine()})
    print(api)  # noqa: T201


def screening(config: ScreeningConfig, out: Path) -> None:
    """Tables `screening_raw` and `screening`."""
    raw = pd.concat([screening_rows(config, dtype) for dtype in DTYPES], ignore_index=True)
    _write(out, {"screening_raw": raw, "screening": screening_summary(raw)})
    write_json(out / "screening_facts.json", {"config": asdict(config), **_machine()})


def finetuning(runs: RunConfig, callback: CallbackConfig, out: Path) -> None:
    """Tables `finetuning`, `callback_raw` and `callback`."""
    raw = callback_rows(callback)
    _write(out, {"finetuning": run_rows(runs), "callback_raw": raw, "callback": callback_summary(raw)})
    write_json(out / "finetuning_facts.json", {"runs": asdict(runs), "callback": asdict(callback), **_machine()})


def personality(config: PersonalityConfig, out: Path) -> None:
    """Tables `personality`, `prefix_raw` and `prefix`."""
    raw = prefix_rows(config)
    _write(out, {"prefix_raw": raw, "prefix": prefix_summary(raw), "personality": personality_rows(config)})
    write_json(out / "personality_facts.json", {"config": asdict(config), **_machine()})


def directions(config: DirectionsConfig, out: Path) -> None:
    """Tables `directions_raw` and `directions`."""
    raw = directions_rows(config)
    _write(out, {"directions_raw": raw, "directions": directions_summary(raw)})
    write_json(out / "directions_facts.json", {"config": asdict(config), **_machine()})


def attribution(config: AttributionConfig, out: Path) -> None:
    """Tables `attribution_raw` and `attribution`, and `attribution_facts.json`."""
    raw = attribution_rows(config)
    _write(out, {"attribution_raw": raw, "attribution": attribution_summary(raw)})
    write_json(out / "attribution_facts.json", {"config": asdict(config), **_machine()})


def sae(config: SAEConfig, out: Path) -> None:
    """Tables `sae_training`, `sae_generation_raw` and `sae_generation`."""
    trained, raw = sae_rows(config)
    _write(out, {"sae_training": trained, "sae_generation_raw": raw, "sae_generation": sae_generation_ratio(raw)})
    write_json(out / "sae_facts.json", {"config": asdict(config), **_machine()})


def demo(config: DemoConfig, out: Path) -> None:
    """Table `demo`."""
    _write(out, {"demo": demo_rows(config)})
    write_json(out / "demo_facts.json", {"config": asdict(config), **_machine()})


def _write(out: Path, tables: dict[str, pd.DataFrame]) -> None:
    write_tables(out, tables)
    for name, table in tables.items():
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
    parser.add_argument("--rows", choices=("all", *ROWS), default="all", help="which tables")
    chosen = parser.parse_args()
    wanted = ROWS if chosen.rows == "all" else (chosen.rows,)
    if "extraction" in wanted:
        extraction(Config(n_questions=2) if chosen.quick else Config(), chosen.out)
    if "screening" in wanted:
        screening(ScreeningConfig(n_samples=16) if chosen.quick else ScreeningConfig(), chosen.out)
    if "finetuning" in wanted:
        runs = RunConfig(n_samples=30) if chosen.quick else RunConfig()
        finetuning(runs, CallbackConfig(repeats=1) if chosen.quick else CallbackConfig(), chosen.out)
    if "personality" in wanted:
        few = PersonalityConfig(n_sentences=100, n_texts=50, repeats=3)
        personality(few if chosen.quick else PersonalityConfig(), chosen.out)
    if "directions" in wanted:
        directions(DirectionsConfig(n_directions=8, n_questions=10) if chosen.quick else DirectionsConfig(), chosen.out)
    if "attribution" in wanted:
        attribution(AttributionConfig(n_answers=40, repeats=2) if chosen.quick else AttributionConfig(), chosen.out)
    if "sae" in wanted:
        sae(SAEConfig(n_tokens=10_000, repeats=3) if chosen.quick else SAEConfig(), chosen.out)
    if "demo" in wanted:
        demo(DemoConfig(), chosen.out)
    if "judges" in wanted:
        judging(JudgeConfig(n_questions=4, n_answers=6) if chosen.quick else JudgeConfig(), chosen.out)


if __name__ == "__main__":
    main()
