"""What the commands of `persona-interp psychadapter` are given: texts with scores, adapters, judges, settings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from persona_interp.errors import ConfigError
from persona_interp.files import is_folder

if TYPE_CHECKING:
    import pandas as pd

    from persona_interp.data.trait_texts import TraitTexts
    from persona_interp.directions.direction import Direction
    from persona_interp.directions.psychadapter import PsychAdapter
    from persona_interp.finetuning.settings import LoRA
    from persona_interp.judges.protocol import Judge
    from persona_interp.models.hooked import HookedModelBase
    from persona_interp.models.load import Backend
    from persona_interp.studies.psychadapter.settings import PsychAdapterSettings

JUDGES = ("embedding", "likelihood", "lexical")
TEXTS = "texts.jsonl"


def read_texts(path: Path) -> "TraitTexts":
    """Texts with scores of a file, or the rated snippets of an archive or folder."""
    from persona_interp.data.trait_texts import read_trait_texts, read_vader_ratings

    archive = is_folder(path) or path.name.endswith((".tar.gz", ".tgz"))
    return read_vader_ratings(path) if archive else read_trait_texts(path)


def training_texts(
    data: Path | None, estimated: bool, n_texts: int | None, judge: str, model: str, out: Path, seed: int, n_epochs: int
) -> "TraitTexts":
    """The texts that `train` is asked to use; estimated ones are kept in `out`/texts.jsonl.

    Args:
        n_epochs: that they are trained on, for the plan.

    Raises:
        ConfigError: both sources or none were given.
    """
    if (data is None) is not estimated:
        raise ConfigError(
            "an adapter is trained on a file of texts with scores, or on texts with estimated scores.",
            "Give DATA or --estimated, one of them.",
        )
    if data is not None:
        given = read_texts(data)
        return given if n_texts is None else given.take(n_texts, seed=seed)
    from persona_interp.data.trait_texts import BIG_FIVE
    from persona_interp.models.load import load_model
    from persona_interp.studies.plan import say_plan
    from persona_interp.studies.psychadapter.effort import ESTIMATED
    from persona_interp.studies.psychadapter.estimated_scores import generate_trait_texts
    from persona_interp.studies.psychadapter.plan import generating_plan

    loaded = load_model(model)
    chosen = make_judges([judge], loaded)
    n_texts = n_texts or ESTIMATED["standard"]
    steps = generating_plan(n_texts, len(BIG_FIVE), n_epochs=n_epochs, likelihood=judge == "likelihood")
    say_plan(f"texts to train on, by {loaded.name}", steps, loaded, folder=out, study="psychadapter_training")
    given = generate_trait_texts(loaded, n_texts=n_texts, judges=chosen, seed=seed, folder=out / "estimated")
    given.save(out / TEXTS)
    return given


def training_settings(
    preset: Literal["small", "paper"], asked: "Mapping[str, Any]"
) -> "tuple[PsychAdapterSettings, LoRA]":
    """Settings of a preset with those that were asked for (not None), and the published LoRA.

    Raises:
        ConfigError: a value cannot be trained with.
    """
    from dataclasses import replace

    from persona_interp.studies.psychadapter.settings import (
        PAPER_PSYCHADAPTER,
        PAPER_PSYCHADAPTER_LORA,
        PsychAdapterSettings,
    )

    presets = {"small": PsychAdapterSettings(), "paper": PAPER_PSYCHADAPTER}
    changed = {name: value for name, value in asked.items() if value is not None}
    return replace(presets[preset], **changed), PAPER_PSYCHADAPTER_LORA


def adapter_file(path: Path) -> Path:
    """The saved adapter of a run's folder, or the file itself."""
    return path / "psychadapter.safetensors" if path.is_dir() else path


def open_adapter(path: Path, backend: "Backend", dtype: str | None) -> "tuple[PsychAdapter, HookedModelBase, int]":
    """An adapter, the model it belongs to, and how many weights of a LoRA are merged into that.

    In another dtype than it was trained in, merged weights differ by rounding: the adapter is then bound to those.

    Raises:
        ArtefactError: there is no adapter.
        IncompatibleDirectionError: the model's weights are no longer those that it was trained on.
    """
    from persona_interp.directions.psychadapter import PsychAdapter, check_psychadapter, rebind_psychadapter
    from persona_interp.io import read_record
    from persona_interp.models.load import load_model
    from persona_interp.studies.psychadapter.training_run import finished

    record = path / "finetune.json"
    done = finished(path, read_record(record, {"base": str})["base"]) if record.is_file() else None
    if done is not None and done.lora is not None:
        merged = done.load(backend, dtype=dtype)
        own = done.adapter
        if dtype not in (None, done.dtype) and own.provenance.weights != merged.provenance.weights:
            own = rebind_psychadapter(own, merged)
        return own, merged, done.parameters.lora
    adapter = PsychAdapter.load(adapter_file(path))
    model = load_model(adapter.provenance.model, backend, dtype=dtype or "float32")
    check_psychadapter(adapter, model)
    return adapter, model, 0


def held_out_texts(data: "TraitTexts", adapter: "PsychAdapter") -> "tuple[TraitTexts, str]":
    """The texts that an adapter was not trained on, and a sentence that says which they are.

    Raises:
        ConfigError: it was trained on all of them.
    """
    details = adapter.provenance.details
    if details.get("data") != data.data_hash:
        return data, f"{len(data)} texts of {data.source}, taken as held out: the adapter was trained on other texts."
    settings = details["settings"]
    if not settings["holdout"] > 0:
        raise ConfigError(
            f"the adapter was trained on all {len(data)} texts of {data.source}.",
            "Its loss on them says nothing. Give other texts, or train with --holdout 0.1.",
        )
    held_out = data.split(held_out=settings["holdout"], seed=settings["seed"])[1]
    return held_out, f"{len(held_out)} texts of {data.source} that the adapter was not trained on."


def make_judges(names: Sequence[str], model: "HookedModelBase") -> "list[Judge]":
    """Judges by name, of `JUDGES`, in the order given."""
    from persona_interp.judges.embedding import EmbeddingJudge
    from persona_interp.judges.lexical import LexicalJudge
    from persona_interp.judges.likelihood import LikelihoodJudge

    known = {"embedding": EmbeddingJudge, "likelihood": lambda: LikelihoodJudge(model), "lexical": LexicalJudge}
    return [known[name]() for name in names]


def read_references(paths: Sequence[str]) -> "dict[str, Direction]":
    """Saved directions of files, by trait; which model they are of is checked when it is there.

    Raises:
        ConfigError: two files hold a direction of the same trait.
    """
    from persona_interp.directions.direction import Direction

    found: dict[str, Direction] = {}
    files: dict[str, str] = {}
    for path in paths:
        direction = Direction.load(path)
        if direction.trait in found:
            raise ConfigError(
                f"--vector must name one vector a trait, got two of {direction.trait}:"
                f" {files[direction.trait]} and {path}.",
                "Rows of the tables are named after the trait. Give one of them, and the other with another --out.",
            )
        found[direction.trait], files[direction.trait] = direction, path
    return found


def summary(tables: "dict[str, pd.DataFrame]") -> list[str]:
    """What was measured, in a few lines."""
    nll = tables["nll"]
    gain = nll[(nll["metric"] == "nll difference") & (nll["condition"] == "shuffled") & (nll["trait"] == "all")].iloc[0]
    lines = [
        f"shuffled trait vectors cost {gain['estimate']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}] nats a token"
        f" (n = {gain['n']} texts, p = {gain['p']:.2g})"
    ]
    for row in tables["offtarget"].to_dict("records") if "offtarget" in tables else []:
        if row["on_target"]:
            lines.append(
                f"{row['trait']}: {row['estimate']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}] points of 100 for a"
                f" standard deviation, by {row['judge']} (n = {row['n']} texts a value, q = {row['q']:.2g})"
            )
    slower = tables["cost"].set_index("metric").loc["slow-down"]
    lines.append(f"generation: {slower['estimate']:+.1%} [{slower['low']:+.1%}, {slower['high']:+.1%}] time a token")
    return lines


def keep_losses(adapter: Path, out: Path) -> None:
    """The training losses beside the tables, where the adapter is a run's folder; the report draws them."""
    from persona_interp.io import atomic_write_bytes
    from persona_interp.studies.psychadapter.training_run import LOSSES

    if (adapter / LOSSES).is_file():
        atomic_write_bytes(out / "tables" / "psychadapter_losses.csv", (adapter / LOSSES).read_bytes())
