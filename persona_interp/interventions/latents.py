"""`SteerLatents`: latents of a dictionary added, clamped, scaled and ablated inside the forward pass.

What the dictionary does not reconstruct stays: h + s (f' - f) D over the latents that change, where f are the latents
of what is there, f' what becomes of them and D their decoder vectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from persona_interp.arguments import checked
from persona_interp.bounds import Coefficient, Some
from persona_interp.directions.sae.dictionary import Dictionary, check_latents, check_same_place
from persona_interp.directions.sae.splice import splice_edits
from persona_interp.errors import ConfigError
from persona_interp.interventions.residual import check_reach
from persona_interp.models.protocol import HookedModel
from persona_interp.types import Edit, Edits, KVPrefix, Span

How = Literal["add", "clamp", "scale", "ablate"]
AmountUnits = Literal["residual_norm", "activation"]


@checked
@dataclass(frozen=True, eq=False)
class SteerLatents:
    """Latents of a dictionary, changed where it writes; what it leaves of the activations stays as it is.

    `add`: h + sum a_i s d_i/|d_i|, with s the dictionary's residual norm, so that an amount is the share of the mean
    residual norm that is added along the unit decoder vector (`units="residual_norm"`), or h + sum a_i d_i
    (`units="activation"`), as if each latent were a_i larger. `clamp` sets latents to amounts in activation units,
    `scale` multiplies them by amounts, `ablate` sets them to 0. These three encode what is there, and leave massive
    positions alone, for which the dictionary was not made; `add` needs no encoding and leaves out nothing. A transcoder
    reads what the MLP is given and changes what it adds.

    Args:
        amounts: one for all latents, or one each; none for `ablate`.
        units: of amounts of `add`.

    Raises:
        ConfigError: a latent that the dictionary does not have, one given twice, amounts that do not match them or the
            way, or a dictionary whose residual norm is not known.
    """

    dictionary: Dictionary
    latents: Some[int]
    amounts: Coefficient | Some[Coefficient] | None = None
    how: How = "add"
    span: Span = "response"
    last_prompt_token: bool = True
    units: AmountUnits = "residual_norm"

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        check_latents(self.dictionary, self.latents)
        if (self.how == "ablate") != (self.amounts is None):
            raise ConfigError(
                "ablating latents takes no amounts." if self.how == "ablate" else f"{self.how} needs amounts, got none."
            )
        several = 1 if self.amounts is None or isinstance(self.amounts, float | int) else len(self.amounts)
        if several not in (1, len(self.latents)):
            raise ConfigError(f"amounts must be one, or one a latent ({len(self.latents)}), got {several}.")
        if self.how == "add" and self.units == "residual_norm" and self.dictionary.residual_norm is None:
            raise ConfigError(
                f"the mean residual norm where {self.dictionary.id} writes is not known.",
                'Load it with a model, or give amounts in its own units: units="activation".',
            )
        if self.how == "add" and not bool((self._decoder().norm(dim=-1) > 0).all()):
            raise ConfigError(f"a latent of {self.dictionary.id} has a decoder vector of zeros.", "Leave it out.")

    @property
    def prefix(self) -> KVPrefix | None:
        """No virtual tokens."""
        return None

    @checked
    def check(self, model: HookedModel) -> None:
        """Refuse a model that the dictionary was not made for, or whose numbers do not reach so far.

        Raises:
            ConfigError: what is added overflows the model's dtype.
            HookpointError: the model does not have its layer.
            IncompatibleDirectionError: another width, or the weights of another model.
        """
        check_same_place(self.dictionary, model)
        if self.how == "add":
            check_reach([self._delta()], float(self._amounts().abs().max()), model)

    @property
    def edits(self) -> Edits:
        """One change where the dictionary writes, and for transcoders one that holds what it reads."""
        if self.how == "add":
            return {self.dictionary.writes: (Edit(_adding(self._delta()), self.span, self.last_prompt_token),)}
        reader, amounts, how = self.dictionary.some(list(self.latents)), self._amounts(), self.how
        decoder = reader.decoder

        def put(
            read: Float[Tensor, "token d_in"], there: Float[Tensor, "token d_model"]
        ) -> Float[Tensor, "token d_model"]:
            found = reader.encode(read)
            wanted = amounts.to(found.device)
            change = {"clamp": wanted - found, "scale": (wanted - 1) * found, "ablate": -found}[how]
            scales = self.dictionary.scales(read)
            change = change if scales is None else change * scales[..., None]
            return (there.float() + (change @ decoder).to(there.device)).to(there.dtype)

        return splice_edits(self.dictionary, put, self.span, last_prompt_token=self.last_prompt_token)

    def _amounts(self) -> Float[Tensor, " some"]:
        given: Sequence[float] | float = 0.0 if self.amounts is None else self.amounts
        several = [given] if isinstance(given, float | int) else list(given)
        several = several * len(self.latents) if len(several) == 1 else several
        return torch.tensor(several, dtype=torch.float32)

    def _decoder(self) -> Float[Tensor, "some d_model"]:
        return self.dictionary.decoder[list(self.latents)].float().cpu()

    def _delta(self) -> Float[Tensor, " d_model"]:
        decoder = self._decoder()
        if self.units == "residual_norm":
            assert self.dictionary.residual_norm is not None, "checked when it was made"
            decoder = torch.nn.functional.normalize(decoder, dim=-1) * self.dictionary.residual_norm
        return self._amounts() @ decoder


def _adding(delta: Float[Tensor, " d_model"]):
    def add(
        residual: Float[Tensor, "batch pos d_model"], mask: Bool[Tensor, "batch pos"]
    ) -> Float[Tensor, "batch pos d_model"]:
        return residual + mask[..., None] * delta.to(residual.device, residual.dtype)

    return add
