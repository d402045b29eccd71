"""`generate_text`: continuations of prompts, with or without an intervention."""

from collections.abc import Sequence

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Seed, Temperature
from persona_interp.errors import ConfigError
from persona_interp.interventions.protocol import Intervention
from persona_interp.models.protocol import HookedModel, Sampling
from persona_interp.models.tokens import line_stop_ids, text_batch
from persona_interp.types import NO_EDITS


@checked
def generate_text(
    model: HookedModel,
    prompts: Sequence[str],
    *,
    intervention: Intervention | None = None,
    max_new_tokens: Count = 64,
    temperature: Temperature = 0.0,
    seed: Seed = 0,
    generation_config: bool = True,
) -> list[str]:
    """Continuations of prompts as the model sees them (chat template applied); greedy unless a temperature is given.

    Args:
        generation_config: follow the model's own settings, such as a repetition penalty (see `Sampling`).

    Raises:
        ConfigError: there is no prompt.
        IncompatibleDirectionError: the intervention was made for another model.
        ContextLengthError: a prompt and its answer do not fit the context.
    """
    if not prompts:
        raise ConfigError("there is no prompt to continue.", "Give at least one.")
    if intervention is not None:
        intervention.check(model)
    stops = line_stop_ids(model.tokenizer)
    made = model.generate(
        text_batch(model.tokenizer, prompts),
        sampling=Sampling(max_new_tokens, temperature, seed=seed, stop_ids=stops, generation_config=generation_config),
        edits=NO_EDITS if intervention is None else intervention.edits,
        prefix=None if intervention is None else intervention.prefix,
    )
    return made.texts
