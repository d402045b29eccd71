"""How much work a trait's substrates are: three sizes."""

from types import MappingProxyType

from persona_interp.studies.sizes import Efforts

EFFORTS: Efforts = MappingProxyType(
    {
        "quick": {
            "n_questions": 12,
            "n_instructions": 2,
            "n_eval": 8,
            "max_new_tokens": 20,
            "n_random": 40,
            "n_curve": 3,
            "n_permutations": 40,
            "n_latents": 8,
            "n_random_latents": 24,
        },
        "standard": {
            "n_questions": 20,
            "n_instructions": 3,
            "n_eval": 20,
            "max_new_tokens": 24,
            "n_random": 100,
            "n_curve": 10,
            "n_permutations": 100,
            "n_latents": 10,
            "n_random_latents": 40,
        },
        "paper": {
            "n_questions": 20,
            "n_instructions": 5,
            "n_eval": 20,
            "max_new_tokens": 128,
            "n_random": 200,
            "n_curve": 40,
            "n_permutations": 1000,
            "n_latents": 50,
            "n_random_latents": 200,
        },
    }
)
