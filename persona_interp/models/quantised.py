"""Quantised models whose package is not installed: which one, and how to get it."""

from transformers import AutoConfig, PreTrainedConfig
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

from persona_interp.errors import MissingPackageError, ModelError, PersonaInterpError
from persona_interp.models.sources import Source, quoted

_PACKAGES = {
    "bitsandbytes": "bitsandbytes",
    "bitsandbytes_4bit": "bitsandbytes",
    "bitsandbytes_8bit": "bitsandbytes",
    "awq": "gptqmodel",
    "gptq": "optimum gptqmodel",
    "compressed-tensors": "compressed-tensors",
    "hqq": "hqq",
    "torchao": "torchao",
    "quanto": "optimum-quanto",
    "aqlm": "aqlm[cpu,gpu]",
    "vptq": "vptq",
    "spqr": "spqr_quant",
    "eetq": "kernels",
    "auto-round": "auto-round",
    "quark": "amd-quark",
    "higgs": "flute-kernel",
    "fouroversix": "fouroversix",
    "sinq": "sinq",
}
"""What transformers 5.23 imports for each method of quantisation, by the names of PyPI."""


def missing_package(source: Source, error: ImportError) -> PersonaInterpError:
    """The error of a model that cannot be loaded without a package."""
    method = quantisation(source)
    if method is None:
        return MissingPackageError(
            f"cannot load {quoted(source.name)}: {_first(error)}", "Install the package it names."
        )
    if method not in _PACKAGES:
        return MissingPackageError(
            f"cannot load {quoted(source.name)}, whose weights are quantised ({method}): {_first(error)}",
            "Install what it names, or load the model's unquantised weights.",
        )
    return MissingPackageError(
        f"cannot load {quoted(source.name)}: its weights are quantised ({method}), and their package is missing.",
        f"Install it: pip install {_PACKAGES[method]}",
        "Or load the model's unquantised weights.",
    )


def refuse_unknown(source: Source, config: PreTrainedConfig) -> None:
    """Refuse a model whose quantised values transformers would take for weights.

    Raises:
        ModelError: it does not know the method.
    """
    method = quantisation_of(config)
    if method is not None and method not in AUTO_QUANTIZATION_CONFIG_MAPPING and method != "bitsandbytes":
        raise ModelError(
            f"cannot load {quoted(source.name)}: how its weights are quantised is unknown to transformers ({method}).",
            "Load the model's unquantised weights.",
        )


def quantisation(source: Source) -> str | None:
    """How a model's weights are quantised, by the name of transformers; None where they are not."""
    try:
        config = AutoConfig.from_pretrained(source.place, revision=source.revision, local_files_only=source.local_only)
    except Exception:  # what is wrong with the file is said where the model is loaded
        return None
    return quantisation_of(config)


def quantisation_of(config: PreTrainedConfig) -> str | None:
    """The same of a configuration."""
    settings = getattr(config, "quantization_config", None)
    if settings is None:
        return None
    found = settings if isinstance(settings, dict) else vars(settings)
    if found.get("load_in_4bit") or found.get("load_in_8bit"):
        return "bitsandbytes"
    method = found.get("quant_method")
    return str(getattr(method, "value", method))[:40]


def _first(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
