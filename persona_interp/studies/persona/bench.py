"""The model under test and its judges, loaded once for all traits."""

import subprocess
from collections.abc import Callable, Mapping, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from persona_interp.data.traits import Trait
from persona_interp.endpoint.endpoint import Endpoint, is_local
from persona_interp.endpoint.usage import Price, Usage
from persona_interp.errors import ArtefactError
from persona_interp.files import is_file
from persona_interp.io import read_record, write_json
from persona_interp.judges.coherence import CoherenceJudge
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.lexical import LexicalJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.judges.politeness import PolitenessJudge
from persona_interp.judges.protocol import Judge
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.load import load_model
from persona_interp.studies.persona.config import RunConfig

_TIMEOUT_S, _LOCAL_TIMEOUT_S = 60.0, 600.0
_ASKED = "api_judge.json"
_ASKED_KEYS = {"description": str, "ways": list, "usage": dict}
_ASKED_REMEDY = "Delete it: the count starts again."
OWN_VIEW = " (the weights of the model under test, unsteered)"


@dataclass(frozen=True, eq=False)
class Bench:
    """The model under test and the judges; none of them ever runs with edits.

    Args:
        likelihoods: the first filters.
        rules: judges by word lists, which rate the traits that they can.
        api: opened when the folder is taken, because its cache lies there.
        usage: what the API judge asked so far, over all restarts of the run.
        ways: how it read its ratings so far; the judge's own set, which grows.
        close: waits a moment for what the API judge has in flight, and disconnects.
    """

    config: RunConfig
    folder: Path
    model: HookedModelBase
    embedding: EmbeddingJudge
    likelihoods: tuple[LikelihoodJudge, ...]
    coherence: CoherenceJudge
    rules: tuple[Judge, ...] = ()
    endpoint: Endpoint | None = None
    api: Judge | None = None
    usage: Callable[[], Usage] | None = None
    ways: Set[str] = frozenset()
    close: Callable[[], None] | None = None

    @property
    def filtering(self) -> LikelihoodJudge:
        """The likelihood judge whose verdicts filter the answers that make a vector."""
        return self.likelihoods[0]


@dataclass(frozen=True, eq=False)
class Panel:
    """The judges of one trait.

    Args:
        everywhere: rate every answer that is measured.
        asked_rarely: too slow for that; they rate the held-out answers and some of the steered ones.
        blind: judges that cannot rate this trait, and what they said.
    """

    everywhere: tuple[Judge, ...]
    asked_rarely: tuple[Judge, ...]
    blind: Mapping[str, str]

    @property
    def judges(self) -> tuple[Judge, ...]:
        """All that rate this trait."""
        return self.everywhere + self.asked_rarely


def load_bench(config: RunConfig, folder: Path) -> Bench:
    """The model and all judges that need no folder.

    Raises:
        ConfigError: an API judge is asked for, and its key or address is not in the environment.
        ModelError: a model cannot be loaded.
    """
    endpoint = Endpoint.from_environment(model=config.api_judge) if config.api_judge else None
    model = load_model(config.model, config.backend, dtype=config.dtype, template_options=config.template_options)
    judging = [
        model if name == config.model else load_model(name, config.backend, dtype=config.dtype)
        for name in config.judge_models or (config.model,)
    ]
    embedding, kept = EmbeddingJudge(), dict[tuple[str | None, str, str], float]()
    return Bench(
        config=config,
        folder=folder,
        model=model,
        embedding=embedding,
        likelihoods=tuple(
            LikelihoodJudge(judge, n_pairs=config.n_judge_pairs, kept=kept if judge is model else None)
            for judge in judging
        ),
        coherence=CoherenceJudge(model, embedding.encoder, kept=kept),
        rules=(LexicalJudge(), PolitenessJudge()) if config.lexical else (),
        endpoint=endpoint,
    )


def with_api_judge(bench: Bench) -> Bench:
    """The bench with its API judge, whose replies and counts the folder keeps; unchanged where none is asked for.

    Raises:
        ArtefactError: what the folder keeps of the judge is damaged.
    """
    if bench.endpoint is None:
        return bench
    from persona_interp.endpoint.client import ChatClient
    from persona_interp.judges.openai import OpenAIJudge

    timeout_s = _LOCAL_TIMEOUT_S if is_local(bench.endpoint.base_url) else _TIMEOUT_S
    price = None if bench.config.api_price is None else Price(*bench.config.api_price)
    client = ChatClient(bench.endpoint, timeout_s=timeout_s, cache=bench.folder / "api_cache.sqlite", price=price)
    kept = _kept_asked(bench.folder)
    before = _usage(kept, bench.folder) if kept else None
    judge = OpenAIJudge(
        client,
        ways=kept.get("ways", ()),
        reasoning_tokens=bench.config.reasoning_tokens,
        reasoning_effort=bench.config.reasoning_effort or None,
    )
    return replace(
        bench,
        api=judge,
        usage=lambda: client.usage if before is None else before + client.usage,
        ways=judge.ways,
        close=client.close,
    )


def panel(bench: Bench, trait: Trait) -> Panel:
    """The judges that can rate a trait; the answer is kept, so a second call calibrates nothing.

    A likelihood judge that cannot tell the trait's exemplars apart is left out and named.

    Raises:
        TraitError: that judge is the one that filters, and answers are to be filtered.
    """
    path = bench.folder / "rollouts" / trait.name / "blind_judges.json"
    if not is_file(path):
        write_json(path, _blind(bench, trait))
    blind = {name: str(reason) for name, reason in read_record(path).items()}
    rules = [judge for judge in bench.rules if judge.unable(trait) is None]
    first, *others = (() if judge.name in blind else (judge,) for judge in bench.likelihoods)
    api = () if bench.api is None else (bench.api,)
    rarely: tuple[Judge, ...] = (*(judge for one in others for judge in one), *api)
    return Panel((bench.embedding, *first, *rules), rarely, blind)


def _blind(bench: Bench, trait: Trait) -> dict[str, str]:
    reasons = {judge.name: judge.unable(trait) for judge in bench.likelihoods}
    if bench.config.filter != "none" and reasons[bench.filtering.name] is not None:
        bench.filtering.calibration(trait)  # raises, with what to do
    return {name: why for name, why in reasons.items() if why is not None}


def provenance(bench: Bench, seconds: Mapping[str, float]) -> dict[str, Any]:
    """The model, what each judge is, the times and the commit, JSON-ready."""
    judges = {bench.embedding.name: bench.embedding.description}
    for judge in bench.likelihoods:
        judges[judge.name] = judge.description + (OWN_VIEW if judge.model is bench.model else "")
    judges |= {judge.name: judge.description for judge in bench.rules}
    asked = keep_asked(bench)
    if bench.api is not None:
        judges[bench.api.name] = str(asked["description"])
    return {
        **bench.model.provenance.to_dict(),
        "judges": {**judges, "coherence": bench.coherence.description},
        **({"api": asked["usage"]} if asked else {}),
        "time_s": {name: round(value, 1) for name, value in seconds.items()},
        "commit": _commit(),
    }


def keep_asked(bench: Bench) -> dict[str, Any]:
    """What the API judge is and what it asked so far, kept; a run that only reads its scores changes nothing."""
    if bench.api is None or bench.usage is None:
        return {}
    kept, usage = _kept_asked(bench.folder), asdict(bench.usage())
    if kept.get("usage") == usage:
        return kept
    asked = {"description": bench.api.description, "ways": sorted(bench.ways), "usage": usage}
    write_json(bench.folder / _ASKED, asked)
    return asked


def close_api_judge(bench: Bench) -> None:
    """Wait a moment for what the API judge has in flight, so that it is counted, and keep the count."""
    if bench.close is not None:
        bench.close()
    keep_asked(bench)


def _kept_asked(folder: Path) -> dict[str, Any]:
    """What earlier sessions of the run kept; empty before the first."""
    path = folder / _ASKED
    return read_record(path, _ASKED_KEYS, remedy=_ASKED_REMEDY) if is_file(path) else {}


def _usage(kept: Mapping[str, Any], folder: Path) -> Usage:
    try:
        return Usage(**kept["usage"])
    except (KeyError, TypeError) as error:
        raise ArtefactError(f"{folder / _ASKED} does not say what the API judge asked.", _ASKED_REMEDY) from error


def _commit() -> str:
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        )
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"
