"""How much work the study of emoji is: three sizes."""

from types import MappingProxyType

from persona_interp.studies.emoji.config import BIG_FIVE
from persona_interp.studies.sizes import Efforts

EFFORTS: Efforts = MappingProxyType(
    {
        "quick": {
            **{"traits": BIG_FIVE[:1], "n_train": 32, "n_epochs": 2.0, "n_repeats": 2, "n_questions": 24},
            **{"n_samples": 3, "n_selection": 32, "max_new_tokens": 24, "top": (16,), "n_random": 19},
        },
        "standard": {
            **{"traits": BIG_FIVE, "n_train": 64, "n_epochs": 3.0, "n_repeats": 2, "n_questions": 48},
            **{"n_samples": 4, "n_selection": 48, "max_new_tokens": 32, "top": (16, 4, 64), "n_random": 39},
        },
        "paper": {
            **{"traits": BIG_FIVE, "n_train": 240, "n_epochs": 3.0, "n_repeats": 3, "n_questions": 96},
            **{"n_samples": 10, "n_selection": 120, "max_new_tokens": 64, "top": (16, 4, 64, 256), "n_random": 99},
        },
    }
)
"""Options of `persona-interp emoji`. The size of the paper is unknown here: `paper` is a large one."""
