"""What decides the numbers in a folder, as plain data: a model, judges, and the package that computes."""

from collections.abc import Iterable
from typing import Any

from persona_interp.judges.coherence import CoherenceJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.judges.openai import OpenAIJudge
from persona_interp.judges.protocol import Judge
from persona_interp.models.identity import key_of, library_versions
from persona_interp.models.protocol import HookedModel


def of_model(model: HookedModel) -> dict[str, str | None]:
    """A model's name, weights, the bytes of its files, backend, dtype and chat template."""
    return key_of(model.provenance)


def of_judges(judges: Iterable[Judge | CoherenceJudge]) -> dict[str, Any]:
    """Name -> what a judge's ratings depend on: its description, and the model where it has one of its own."""
    return {getattr(judge, "name", "coherence"): _of_judge(judge) for judge in judges}


def of_package(method_version: int) -> dict[str, Any]:
    """The version of a command's method, and of the package."""
    return {"method_version": method_version, "package": library_versions()["persona-interp"]}


def _of_judge(judge: Judge | CoherenceJudge) -> str | list[Any]:
    if isinstance(judge, OpenAIJudge):  # its description says how ratings were read so far, which changes
        reasoning = [part for part in (judge.reasoning_tokens, judge.reasoning_effort) if part]
        return [judge.client.endpoint.model, judge.client.endpoint.base_url, *reasoning]
    if isinstance(judge, LikelihoodJudge):
        return [judge.description, of_model(judge.model)]
    return judge.description
