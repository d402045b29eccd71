"""The probability that the next token is one of a set, place by place in given texts, and layer by layer."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from persona_interp.errors import ConfigError, EmptySelectionError, ModelError
from persona_interp.interventions.protocol import Intervention
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import encode, pad_id, token_batch
from persona_interp.progress import track
from persona_interp.types import NO_EDITS, Edit, Hookpoint, TokenBatch

_ELEMENTS_AT_ONCE = 60_000_000
"""Largest array of logits at once: 240 MB in float32."""
_ROW = 64
"""Residuals that are read out in one row of a pass."""
_CLOSE = 1e-2
"""Nats between the model's own mass and that read out of its last block, in float32, above which something is wrong."""

Masses = list[Float[np.ndarray, " _"]]


def log_mass(
    model: HookedModel,
    prompts: Sequence[str],
    responses: Sequence[str],
    tokens: Sequence[int],
    intervention: Intervention | None = None,
    *,
    apart: Sequence[int] = (),
    label: str = "mass of tokens",
    progress: bool = True,
) -> Masses:
    """Log of the probability that a token is one of a set, in nats, at every token of every response.

    Entry j of a response is log sum p(token | prompt, the response before its token j): what the model would write
    there, whatever the response has. Prompts and responses are tokenised apart and joined.

    Args:
        tokens: ids of the set.
        apart: ids of another set that is taken to be impossible, such as what ends an answer: p is given none of them.

    Raises:
        ConfigError: there is no text or no token, an id is not in the vocabulary, or one is in both sets.
        EmptySelectionError: a response is empty.
        IncompatibleDirectionError: the intervention was made for another model.
        ContextLengthError: a text is longer than the model's context.
    """
    wanted, without = _ids(model, tokens, apart)
    if intervention is not None:
        intervention.check(model)
    edits, prefix = (NO_EDITS, None) if intervention is None else (intervention.edits, intervention.prefix)
    found: Masses = [np.empty(0)] * len(prompts)
    for places, batch in _batches(model, prompts, responses, label, progress):
        made = model.run(batch, outputs="response_logits", edits=edits, prefix=prefix)
        assert made.response_logits is not None, "logits were asked for"
        whole = _share(made.response_logits, wanted, without)
        lengths = batch.response.sum(-1).tolist()
        for place, part in zip(places, np.split(whole, np.cumsum(lengths)[:-1]), strict=True):
            found[place] = part
    return found


def lens_log_mass(
    model: HookedModel,
    prompts: Sequence[str],
    responses: Sequence[str],
    tokens: Sequence[int],
    at: Sequence[Int[np.ndarray, " _"]],
    *,
    apart: Sequence[int] = (),
    label: str = "logit lens",
    progress: bool = True,
) -> list[Float[np.ndarray, "_ layer"]]:
    """The same log mass read from the residual after every block by the model's final norm and unembedding.

    The logit lens: the output of the last block is replaced by that of an earlier one, so that what the model does
    after its blocks (norm, soft cap) is done to it too. The last column is the model's own (see `log_mass`).

    Args:
        at: which tokens of each response, 0-based; entry j reads the residual from which token j is predicted.

    Raises:
        ConfigError, EmptySelectionError, ContextLengthError: as of `log_mass`.
        ModelError: what is read from the last block is not what the model says.

    Source: nostalgebraist 2020, interpreting GPT: the logit lens.
    """
    (wanted, without), points = _ids(model, tokens, apart), [Hookpoint(layer) for layer in range(model.n_layers)]
    found: list[Float[np.ndarray, "_ layer"]] = [np.empty((0, model.n_layers))] * len(prompts)
    for places, batch in _batches(model, prompts, responses, label, progress):
        made = model.run(batch, read=points, outputs="none")
        begins = batch.ids.shape[1] - batch.response.sum(-1)
        chosen = [(row, int(begins[row]) - 1 + int(j)) for row, place in enumerate(places) for j in at[place]]
        if not chosen:
            continue
        rows, columns = torch.tensor(chosen).T
        states = torch.stack([made.residuals[point][rows, columns].float() for point in points], dim=1)
        masses = readout(model, states.flatten(0, 1), lambda logits: _share(logits, wanted, without))
        masses = masses.reshape(-1, len(points))
        ends = np.cumsum([len(at[place]) for place in places])[:-1]
        for place, part in zip(places, np.split(masses, ends), strict=True):
            found[place] = part
    _check(
        model,
        at,
        found,
        lambda k: log_mass(model, prompts[k:][:1], responses[k:][:1], tokens, apart=apart, progress=False)[0],
    )
    return found


def readout(
    model: HookedModel,
    states: Float[Tensor, "state d_model"],
    of_logits: Callable[[Float[Tensor, "state d_vocab"]], Float[np.ndarray, " state"]],
) -> Float[np.ndarray, " state"]:
    """A number of the logits that the model gives for each state in place of the output of its last block."""
    width = min(_ROW, len(states))
    rows = max(1, _ELEMENTS_AT_ONCE // (width * _vocabulary(model)))
    found = []
    for part in states.split(rows * width):
        short = -len(part) % width
        grid = torch.nn.functional.pad(part, (0, 0, 0, short)).unflatten(0, (-1, width))
        ids = torch.full(grid.shape[:2], pad_id(model.tokenizer))
        batch = TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids, dtype=torch.bool))
        put = Edit(lambda resid, mask, grid=grid: grid.to(resid) + 0 * mask[..., None])
        made = model.run(batch, edits={Hookpoint(model.n_layers - 1): (put,)})
        assert made.logits is not None, "logits were asked for"
        found.append(of_logits(made.logits.flatten(0, 1)[: len(part)]))
    return np.concatenate(found)


def _share(
    logits: Float[Tensor, "_ d_vocab"], wanted: Int[Tensor, " token"], without: Int[Tensor, " other"]
) -> Float[np.ndarray, " _"]:
    logits = logits.float()
    if len(without):
        logits = logits.index_fill(1, without.to(logits.device), -torch.inf)
    log = logits[:, wanted.to(logits.device)].logsumexp(-1) - logits.logsumexp(-1)
    return log.double().cpu().numpy()


def _batches(
    model: HookedModel, prompts: Sequence[str], responses: Sequence[str], label: str, progress: bool
) -> Iterator[tuple[list[int], TokenBatch]]:
    """Texts of about equal length together, each batch with the places of its rows."""
    if not prompts:
        raise ConfigError(f"there is nothing to measure ({label}).", "Give at least one text.")
    asked, answered = encode(model.tokenizer, prompts), encode(model.tokenizer, responses)
    for i, response in enumerate(answered):
        if not response:
            raise EmptySelectionError(f"text {i + 1} has no token ({label}).", "Leave empty texts out.")
    lengths = [len(prompt) + len(response) for prompt, response in zip(asked, answered, strict=True)]
    order = np.argsort(lengths, kind="stable").tolist()
    size = max(1, _ELEMENTS_AT_ONCE // (max(map(len, answered)) * _vocabulary(model)))
    parts = [order[k : k + min(size, 32)] for k in range(0, len(order), min(size, 32))]
    for part in track(parts, label, total=len(parts), show=progress):
        yield (
            part,
            token_batch([asked[i] for i in part], [answered[i] for i in part], pad_id=pad_id(model.tokenizer)),
        )


def _check(
    model: HookedModel,
    at: Sequence[Int[np.ndarray, " _"]],
    found: Sequence[Float[np.ndarray, "_ layer"]],
    own_of: Callable[[int], Float[np.ndarray, " _"]],
) -> None:
    """Compare the last block of the first text that has places with what the model itself says."""
    if model.provenance.dtype != "float32":
        return
    first = next((i for i, places in enumerate(at) if len(places)), None)
    if first is None:
        return
    off = float(np.abs(own_of(first)[at[first]] - found[first][:, -1]).max())
    if not off <= _CLOSE:
        raise ModelError(
            f"what is read from the last block of {model.name} differs by {off:.2g} nats from what the model says.",
            f"Expected at most {_CLOSE:g}: something between the last block and the logits depends on other tokens.",
            "The logit lens cannot be read from this model; leave it out.",
        )


def _ids(
    model: HookedModel, tokens: Sequence[int], apart: Sequence[int]
) -> tuple[Int[Tensor, " token"], Int[Tensor, " other"]]:
    n = _vocabulary(model)
    if not tokens or not all(0 <= token < n for token in (*tokens, *apart)):
        raise ConfigError(f"tokens must be ids of {model.name}, 0 to {n - 1}, at least one; got {list(tokens)[:5]}.")
    if both := sorted(set(tokens) & set(apart)):
        raise ConfigError(f"token {both[0]} is both measured and set apart.", "Give it in one of the two sets.")
    return torch.tensor(sorted(set(tokens))), torch.tensor(sorted(set(apart)), dtype=torch.long)


def _vocabulary(model: HookedModel) -> int:
    return len(model.tokenizer)
