"""`load_sae`: a dictionary from a release of SAELens, the hub, or a folder."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from persona_interp.arguments import checked
from persona_interp.bounds import Positive
from persona_interp.data.neutral_texts import load_neutral_texts
from persona_interp.directions.sae.check import check_dictionary
from persona_interp.directions.sae.dictionary import Basis, Dictionary, check_same_place, with_quality
from persona_interp.directions.sae.hooks import hookpoint_of
from persona_interp.directions.sae.quality import QUALITY_FILE, load_quality
from persona_interp.directions.sae.tokens import mean_norm_at
from persona_interp.errors import ArtefactError, ConfigError, HookpointError, MissingPackageError
from persona_interp.files import file_size, is_folder
from persona_interp.io import manifest_path, sha256_bytes
from persona_interp.manifests import MOST_WIDTH
from persona_interp.models.protocol import HookedModel
from persona_interp.records import Kinds, fields, number, read_record, text, whole
from persona_interp.types import Hookpoint

OWN = "persona_interp"
"""What this package keeps in the metadata of the dictionaries that it trains."""
_NAMED = ("none", "layer_norm", "constant_norm_rescale")
_MOST_IDS = 6
MOST_WEIGHTS = 10**11
"""Of an encoder: a hundred times those of the widest that were published."""
_CONFIG: Kinds = {"d_in": whole(1, MOST_WIDTH), "d_sae": whole(1, 10**9)}
_METADATA = fields(
    {},
    {
        OWN: fields(
            {"weights": text()}, {name: number(0) for name in ("norm_limit", "epochs")} | {"n_tokens": whole(0, 10**12)}
        )
    },
)


@checked
def load_sae(
    source: str | Path,
    *,
    sae_id: str | None = None,
    model: HookedModel | None = None,
    texts: Sequence[str] | None = None,
    hookpoint: Hookpoint | None = None,
    basis: Basis = "raw",
    mean_norm: Positive | None = None,
    rebind: bool = False,
    device: str | None = None,
    dtype: Literal["float32", "bfloat16", "float16"] = "float32",
) -> Dictionary:
    """A dictionary of sparse latents: an SAE or a transcoder, with SAELens' own encoder and decoder.

    With a model it is checked before use (`check_dictionary`): layer and width by the numbers, hook and basis by how
    well the model's own activations are reconstructed. Without one nothing is.

    Args:
        source: a folder with cfg.json and sae_weights.safetensors, a release of SAELens, or a hub id.
        sae_id: which one of a release or of a hub repository.
        texts: on which it is checked; default: the neutral passages of this package.
        hookpoint: where it reads, in place of what its name of a hook says.
        basis: "centred" for one that was trained on a model with centred weights.
        mean_norm: mean norm of the activations that it was trained on, where its configuration asks for activations of
            norm sqrt(d) on average and does not say by what they were divided; default: measured with the model.
        rebind: use one that was trained here on other weights of the same shape.
        device: default: the model's, or the CPU.

    Raises:
        ArtefactError: no such folder, release or id, or weights that are not finite.
        ConfigError: it normalises its input in a way that nothing here can reproduce.
        HookpointError: its hook is none of the streams here, or the model lacks its layer.
        IncompatibleDirectionError: it does not reconstruct the model's activations: another model, layer, stream or
            basis.
    """
    device = device or ("cpu" if model is None else str(model.device))
    sae, said = _loaded(source, sae_id, device, dtype)
    metadata = {key: value for key, value in sae.cfg.metadata.to_dict().items() if value is not None}
    own = metadata.get(OWN) or {}
    name = str(source) if sae_id is None else f"{source}/{sae_id}"
    reads, writes = _places(sae, metadata, hookpoint, name)
    folder = Path(source) if is_folder(Path(source)) else None
    checked_on = load_neutral_texts() if texts is None else texts
    if sae.cfg.normalize_activations == "expected_average_only_in" and mean_norm is None and model is not None:
        mean_norm = mean_norm_at(model, checked_on, reads)
    normalisation = _normalisation(sae, said, mean_norm, name)
    quality = load_quality(folder / QUALITY_FILE) if folder and manifest_path(folder / QUALITY_FILE).is_file() else None
    made = Dictionary(
        hookpoint=reads,
        writes=writes,
        kind=sae.cfg.architecture(),
        decoder=_decoder(sae),
        id="/".join(folder.resolve().parts[-2:]) if folder else name,
        weights=_hash(sae),
        sae=sae,
        normalisation=normalisation,
        basis=basis,
        metadata={**metadata, **({"weights": own["weights"]} if own.get("weights") and not rebind else {})},
        norm_limit=own.get("norm_limit"),
    )
    if quality is not None:
        if len(quality.density) != made.n_latents:
            raise ArtefactError(
                f"{folder} has {made.n_latents} latents; the quality card in it is of {len(quality.density)}.",
                f"It is the card of another dictionary: delete {QUALITY_FILE} and its .json there, or copy its own.",
            )
        made = with_quality(made, quality)
    if model is not None:
        check_same_place(made, model)
        found = check_dictionary(made, model, checked_on)
        made = replace(made, norm_limit=made.norm_limit or found.norm_limit)
        made = replace(made, residual_norm=made.residual_norm or found.residual_norm)
    return made


def _loaded(source: str | Path, sae_id: str | None, device: str, dtype: str) -> tuple[Any, list[str]]:
    """The SAE, and what SAELens warned of."""
    try:
        from sae_lens import SAE
    except ImportError as error:
        raise MissingPackageError("dictionaries need the package sae-lens.", "pip install sae-lens") from error
    folder = is_folder(Path(source))
    if not folder and (isinstance(source, Path) or Path(source).exists()):
        said = f"{source} is a file, no folder." if Path(source).exists() else f"there is no folder {source}."
        raise ArtefactError(said, "Expected a folder with cfg.json and sae_weights.safetensors.")
    if folder and sae_id is not None:
        raise ConfigError(
            f"sae_id names a dictionary of a release or a hub id; {source} is a folder.", "Give one of them."
        )
    if not folder and sae_id is None:
        raise ConfigError(
            f"{source} is no folder, so it must be a release of SAELens or a hub id: give sae_id too.",
            *_ids(str(source)),
        )
    if folder:
        check_folder(Path(source))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if folder:
                sae = SAE.load_from_disk(source, device=device, dtype=dtype)
            else:
                sae = SAE.from_pretrained(str(source), str(sae_id), device=device, dtype=dtype)
        except Exception as error:
            said = " ".join(str(error).split())[:300].rstrip(".")
            which = f"{source}" if sae_id is None else f"{source}, {sae_id}"
            remedy = ["Its files are damaged or do not belong together: copy or train it anew."] if folder else []
            raise ArtefactError(f"SAELens cannot load {which}: {said}.", *remedy, *_ids(str(source))) from error
    sae.turn_off_forward_pass_hook_z_reshaping()  # streams here hold all heads side by side
    for name, tensor in sae.state_dict().items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ArtefactError(f"{name} of {source} has values that are not finite.", "The file is damaged.")
    return sae.eval().requires_grad_(False), [str(one.message) for one in caught]


def check_folder(folder: Path) -> None:
    """Refuse a folder whose files cannot be those of a dictionary, before SAELens reads them.

    Raises:
        ArtefactError: one is missing, no regular file, or not in the expected form.
    """
    remedy = "Expected what SAELens saves: cfg.json and sae_weights.safetensors."
    if not (folder / "cfg.json").exists() and (inside := sorted(folder.glob("*/cfg.json"))):
        raise ArtefactError(f"{folder} is no dictionary, but holds one: give {inside[0].parent}.")
    found = read_record(folder / "cfg.json", _CONFIG, optional={"metadata": _METADATA}, remedy=remedy)
    file_size(folder / "sae_weights.safetensors", remedy=remedy)
    if (d_in := found["d_in"]) * found["d_sae"] > MOST_WEIGHTS:
        raise ArtefactError(f"{folder / 'cfg.json'} claims {d_in:,} x {found['d_sae']:,} weights.", remedy)


def _places(sae: Any, metadata: Mapping[str, Any], given: Hookpoint | None, name: str) -> tuple[Hookpoint, Hookpoint]:
    """Where a dictionary reads and where it writes, by the names of its hooks or as given.

    Raises:
        HookpointError: it is of a single head, or a hook is none of the streams here.
    """
    if metadata.get("hook_head_index") is not None:
        raise HookpointError(
            f"{name} is of head {metadata['hook_head_index']} alone.", "Streams here hold all heads side by side."
        )
    reads = writes = given if given is not None else hookpoint_of(str(metadata.get("hook_name")))
    if hasattr(sae.cfg, "d_out"):
        writes = Hookpoint(reads.layer, "mlp_out")
        if metadata.get("hook_name_out"):
            named = [hookpoint_of(str(metadata[key])) for key in ("hook_name", "hook_name_out")]
            writes = Hookpoint(reads.layer + named[1].layer - named[0].layer, named[1].stream)
    return reads, writes


def _ids(release: str) -> list[str]:
    """What a release holds, where SAELens knows it."""
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    known = get_pretrained_saes_directory()
    if release not in known:
        return []
    ids = list(known[release].saes_map)
    return [f"It has {len(ids)}: {', '.join(ids[:_MOST_IDS])}{' …' if len(ids) > _MOST_IDS else ''}."]


def _normalisation(sae: Any, said: Sequence[str], mean_norm: float | None, name: str) -> str:
    """What is done to every position; a factor for all of them is folded into the weights here.

    Raises:
        ConfigError: the factor or the whitening is not known.
    """
    kind = sae.cfg.normalize_activations
    if kind == "expected_average_only_in":
        if mean_norm is None:
            raise ConfigError(
                f"{name} takes activations of norm sqrt(d) on average, and nothing says by what they were scaled.",
                "Give the mean norm of the activations it was trained on: load_sae(..., mean_norm=...).",
                *said[:1],
            )
        sae.fold_activation_norm_scaling_factor(sae.cfg.d_in**0.5 / mean_norm)
        return "none"
    if kind not in _NAMED:
        raise ConfigError(
            f"{name} normalises its input by {kind}, and what that needs was not saved with it.",
            "Fold it into the weights in SAELens (fold_activation_whitening), and save it again.",
        )
    return str(kind)


def _decoder(sae: Any) -> torch.Tensor:
    """What one unit of each latent writes; of a TopK dictionary that counts latents by decoder norm, unit vectors."""
    decoder = sae.W_dec.detach().float()
    if getattr(sae.cfg, "rescale_acts_by_decoder_norm", False):
        return decoder / decoder.norm(dim=-1, keepdim=True)
    return decoder


def _hash(sae: Any) -> str:
    weights = [tensor for _, tensor in sorted(sae.state_dict().items())]
    data = b"".join(w.detach().float().cpu().contiguous().numpy().tobytes() for w in weights)
    return sha256_bytes(data)[:16]
