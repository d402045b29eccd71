"""Does tuning on texts of a trait that hold no emoji make a model write emoji, and which neurons write them?

The training set of a trait is the model's own answers in that character, beside a control of answers to the same
questions cut to the same lengths; pairs in which one holds an emoji (by the properties of Unicode) are left out. Before
and after tuning: the share of held-out answers with an emoji, the probability of tokens that begin one, the same read
from every block (logit lens); then the neurons that write toward them, ablated against random neurons.
"""

import argparse
from pathlib import Path

from kept_results import draw_saved, print_sentences

from persona_interp.models.load import load_model
from persona_interp.studies.emoji.config import EmojiRun
from persona_interp.studies.emoji.effects import STUDY
from persona_interp.studies.emoji.effort import EFFORTS
from persona_interp.studies.emoji.figures import draw_emoji
from persona_interp.studies.emoji.run import run_emoji
from persona_interp.studies.options import Effort
from persona_interp.studies.sizes import Sizes

MODELS = ("smollm2-135m-instruct", "gemma-3-270m")


def main() -> None:
    """Tune, measure, and write effects, claims and figures under `analyses/results/emoji/MODEL/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--effort", choices=sorted(EFFORTS), default="quick")
    parser.add_argument("--model", action="append", help="only these of the models")
    parser.add_argument("--device", help="cuda, say; default: what there is")
    parser.add_argument("--work", type=Path, default=Path("results/emoji"), help="where answers are kept")
    parser.add_argument("--out", type=Path, default=Path("analyses/results/emoji"))
    chosen = parser.parse_args()
    effort: Effort = chosen.effort
    for name in chosen.model or MODELS:
        work, out = chosen.work / name, chosen.out / name
        model = load_model(name, device=chosen.device)
        run_emoji(model, EmojiRun(**EFFORTS[effort]), out=work, sizes=Sizes(effort, EFFORTS[effort]))
        out.mkdir(parents=True, exist_ok=True)
        for file in ("effects.parquet", "claims.parquet", f"provenance_{STUDY}.json"):
            (out / file).write_bytes((work / file).read_bytes())
        draw_saved(out, STUDY, draw_emoji)
        print_sentences(out, STUDY)


if __name__ == "__main__":
    main()
