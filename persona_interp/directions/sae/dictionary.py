"""`Dictionary`: sparse latents of a place in a model, with the vectors that they write there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.arguments import checked
from persona_interp.directions.sae.quality import Quality
from persona_interp.errors import ConfigError, IncompatibleDirectionError
from persona_interp.models.protocol import HookedModel
from persona_interp.types import STREAMS, Hookpoint

Basis = Literal["raw", "centred"]
"""The model's own residual basis, or that of weights whose writing is centred: the mean over coordinates is taken off
before encoding, and put back by decoding."""

LOCAL = ("standard", "jumprelu", "gated", "transcoder", "skip_transcoder", "jumprelu_transcoder")
LOCAL_ARCHITECTURES = (*LOCAL, "jumprelu_skip_transcoder")
"""Those in which a latent depends on nothing but its own weights, so that some can be computed without the others."""

NUMBERS_AT_ONCE = 2**25
"""Latents times positions that are computed at once: 128 MB."""

_BY_LATENT = ("b_enc", "threshold", "b_gate", "b_mag", "r_mag")


@checked
@dataclass(frozen=True, eq=False)
class Dictionary:
    """Latents f = encode(x) of activations x at `hookpoint`, and decode(f), their reconstruction at `writes`.

    x is reconstructed as s (f D + b) + m, with D the decoder. s and m are 1 and 0 but where activations are normalised
    anew at every position (`scales`), or the basis is centred. An SAE writes where it reads; a transcoder reads what an
    MLP is given and writes what it adds.

    Args:
        kind: the architecture, as SAELens calls it. A BatchTopK dictionary is a JumpReLU one once it is trained.
        decoder: what one unit of each latent writes, before s.
        id: a name that says which one it is; `weights` is a hash of its weights.
        normalisation: of activations, at every position: as SAELens calls it. Factors are folded into the weights.
        metadata: what was saved with it: model, hook, training.
        norm_limit: positions whose norm is above this are massive and not what it was made for; None: not known.
        residual_norm: mean norm of a token at `writes`, the unit of coefficients; None: not known.
        quality: as measured on held-out text; None: not measured.
    """

    hookpoint: Hookpoint
    writes: Hookpoint
    kind: str
    decoder: Float[Tensor, "latent d_model"]
    id: str
    weights: str
    sae: Any = field(repr=False)
    normalisation: str = "none"
    basis: Basis = "raw"
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    norm_limit: float | None = None
    residual_norm: float | None = None
    quality: Quality | None = None

    @property
    def n_latents(self) -> int:
        """Number of latents."""
        return self.decoder.shape[0]

    @property
    def d_in(self) -> int:
        """Width of what it reads."""
        return int(self.sae.cfg.d_in)

    @property
    def is_transcoder(self) -> bool:
        """Whether it writes elsewhere than it reads."""
        return self.writes != self.hookpoint

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.decoder.device

    @property
    def is_local(self) -> bool:
        """Whether a latent can be computed without the others."""
        return self.kind in LOCAL_ARCHITECTURES

    @property
    def name(self) -> str:
        """The id, and what is to be known of its quality wherever it is used: `sae-14 (poor: fvu 0.61)`."""
        verdict = None if self.quality is None else self.quality.verdict
        return self.id if verdict in (None, "good") else f"{self.id} ({verdict})"

    @checked
    def encode(self, values: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch latent"]:
        """Latents of activations at the hookpoint, on the device of the weights.

        Raises:
            IncompatibleDirectionError: activations of another width.
        """
        return self.sae.encode(self._taken(values))

    @checked
    def decode(
        self, latents: Float[Tensor, "*batch latent"], *, like: Float[Tensor, "*batch d_in"] | None = None
    ) -> Float[Tensor, "*batch d_model"]:
        """The reconstruction at `writes`.

        Args:
            like: the activations that were encoded; needed where s, m, or a linear part depend on them.

        Raises:
            ConfigError: they are needed and missing.
            IncompatibleDirectionError: another number of latents.
        """
        if latents.shape[-1] != self.n_latents:
            raise IncompatibleDirectionError(
                f"the dictionary {self.id} decodes {self.n_latents} latents, got {latents.shape[-1]}.",
                "Encode with the same dictionary.",
            )
        if not self.is_plain and like is None:
            raise ConfigError(
                f"decoding with {self.id} needs the activations that were encoded ({self._why()}).",
                "Give them: decode(latents, like=activations).",
            )
        if like is None or self.is_plain:
            return self.sae.decode(latents)
        taken = self._taken(like)
        if not self.is_transcoder:
            self.sae.run_time_activation_norm_fn_in(taken.to(self.sae.dtype))  # SAELens keeps s and m until it decodes
        made = self.sae.decode(latents)
        if (skip := getattr(self.sae, "W_skip", None)) is not None:
            made = made + taken.to(skip.dtype) @ skip.T
        return made if self.basis == "raw" else made + like.to(made).mean(-1, keepdim=True)

    @checked
    def reconstruct(self, values: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_model"]:
        """decode(encode(x)) in float32, some positions at a time."""
        flat = values.reshape(-1, values.shape[-1])
        size = max(1, NUMBERS_AT_ONCE // self.n_latents)
        made = [self.decode(self.encode(part), like=part).float() for part in flat.split(size) if len(part)]
        whole = torch.cat(made) if made else torch.zeros(0, device=self.device)
        return whole.reshape(*values.shape[:-1], self.decoder.shape[1])

    @checked
    def scales(self, values: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch"] | None:
        """S at every position: what a latent's decoder vector is multiplied with there; None where it is 1."""
        if self.is_transcoder or self.normalisation == "none":
            return None
        taken = self._taken(values).float()
        if self.normalisation == "layer_norm":
            return (taken - taken.mean(-1, keepdim=True)).std(dim=-1)
        return taken.norm(dim=-1) / self.d_in**0.5

    @property
    def is_plain(self) -> bool:
        """Whether the reconstruction follows from the latents alone."""
        plain = self.basis == "raw" and not hasattr(self.sae, "W_skip")
        return plain and (self.normalisation == "none" or self.is_transcoder)

    @checked
    def some(self, latents: Sequence[int]) -> "SomeLatents":
        """A reader of some latents that does not compute the others where it need not.

        Raises:
            ConfigError: there is no such latent, or one is given twice.
        """
        check_latents(self, latents)
        places = torch.tensor(list(latents), dtype=torch.long, device=self.device)
        return SomeLatents(self, places, _narrowed(self.sae, places) if self.is_local else None)

    def _taken(self, values: Tensor) -> Tensor:
        if values.shape[-1] != self.d_in:
            raise IncompatibleDirectionError(
                f"the dictionary {self.id} reads activations of width {self.d_in}, got {values.shape[-1]}.",
                f"It belongs to {self.hookpoint} of {self.metadata.get('model_name') or 'another model'}.",
            )
        taken = values.to(self.device, self.sae.dtype)
        return taken if self.basis == "raw" else taken - taken.mean(-1, keepdim=True)

    def _why(self) -> str:
        if self.basis != "raw":
            return "its basis is centred"
        return "it has a linear part" if hasattr(self.sae, "W_skip") else f"normalisation {self.normalisation}"


@dataclass(frozen=True, eq=False)
class SomeLatents:
    """Some latents of a dictionary: the same numbers as `encode(x)[..., places]`, beyond rounding."""

    whole: Dictionary
    places: Tensor
    narrow: Any

    def encode(self, values: Float[Tensor, "token d_in"]) -> Float[Tensor, "token some"]:
        """The latents at some positions, in float32."""
        if self.narrow is not None:
            return self.narrow.encode(self.whole._taken(values)).float()
        size = max(1, NUMBERS_AT_ONCE // self.whole.n_latents)
        made = [self.whole.encode(part)[..., self.places].float() for part in values.split(size)]
        return torch.cat(made) if made else values.new_zeros(0, len(self.places), dtype=torch.float32)

    @property
    def decoder(self) -> Float[Tensor, "some d_model"]:
        """Their decoder vectors."""
        return self.whole.decoder[self.places]


@checked
def check_latents(dictionary: Dictionary, latents: Sequence[int]) -> None:
    """Refuse latents that a dictionary does not have, and doubles.

    Raises:
        ConfigError: names the first.
    """
    if not len(latents):
        raise ConfigError(f"no latent of {dictionary.id} is given.", "Give at least one.")
    if beyond := [latent for latent in latents if not 0 <= latent < dictionary.n_latents]:
        raise ConfigError(
            f"latent {beyond[0]} does not exist: {dictionary.id} has latents 0 to {dictionary.n_latents - 1}."
        )
    if len(set(latents)) < len(latents):
        twice = next(latent for latent in latents if list(latents).count(latent) > 1)
        raise ConfigError(f"latent {twice} of {dictionary.id} is given twice.", "Give each once.")


@checked
def check_same_place(dictionary: Dictionary, model: HookedModel) -> None:
    """Refuse a dictionary whose place a model does not have, or that was trained here on other weights.

    Raises:
        HookpointError: the layer does not exist.
        IncompatibleDirectionError: another width, or the weights of another model.
    """
    check = getattr(model, "check_hookpoints", None)
    if check is not None:
        check([dictionary.hookpoint, dictionary.writes])
    named = f"the dictionary {dictionary.id} of {dictionary.metadata.get('model_name') or 'an unnamed model'}"
    if dictionary.writes.stream in STREAMS and dictionary.decoder.shape[1] != model.d_model:
        raise IncompatibleDirectionError(
            f"{named} writes vectors of width {dictionary.decoder.shape[1]}; {model.name} has d_model {model.d_model}.",
            "It belongs to another model.",
        )
    own = dictionary.metadata.get("weights")
    if own is not None and own != model.provenance.weights:
        raise IncompatibleDirectionError(
            f"{named} was trained on weights {own}; {model.name} has {model.provenance.weights}.",
            "To use it on purpose on a finetuned copy: load_sae(source, rebind=True), and check it by reconstruction.",
        )


def with_quality(dictionary: Dictionary, quality: Quality) -> Dictionary:
    """The same dictionary, its quality known."""
    return replace(dictionary, quality=quality, residual_norm=quality.residual_norm, norm_limit=quality.norm_limit)


def _narrowed(sae: Any, places: Tensor) -> Any:
    """An SAE of the same architecture with some of the latents."""
    config = type(sae.cfg).from_dict({**sae.cfg.to_dict(), "d_sae": len(places), "device": "meta"})
    narrow = type(sae)(config)
    state = {}
    for name, tensor in sae.state_dict().items():
        if name == "W_enc":
            tensor = tensor[:, places]
        elif name == "W_dec" or name in _BY_LATENT:
            tensor = tensor[places]
        state[name] = tensor.detach().clone()
    narrow.cfg.device = str(sae.device)
    narrow.load_state_dict(state, assign=True)
    narrow.device, narrow.dtype = sae.device, sae.dtype
    narrow.turn_off_forward_pass_hook_z_reshaping()
    return narrow.eval().requires_grad_(False)
