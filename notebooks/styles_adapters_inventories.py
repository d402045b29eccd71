# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Styles, adapters and inventories
#
# Three more ways to find, set and measure personality: style vectors from sentences, a PsychAdapter (one virtual
# key/value token a layer, affine in a trait vector), and questionnaires answered by log-probabilities. Runs offline
# on SmolLM2-135M; set `MODEL = "gemma-3-270m"` for the other packaged model, which is a base model without a chat
# template. The numbers here are small so that the notebook takes a minute or two.

# %%
import os
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

import persona_interp as pi

MODEL = os.environ.get("PERSONA_INTERP_MODEL", "smollm2-135m-instruct")
model = pi.load_model(MODEL, dtype="auto")
folder = Path(mkdtemp())

# %% [markdown]
# ## Style vectors
# The mean residual at the last token of joyful sentences, minus that of sentences of the five other emotions. Vectors
# are made from one part of the sentences and tested on the other; a fresh probe is fitted at every layer.

# %%
corpus = pi.load_styles("emotion").take(30)
fit, held_out = corpus.split()
activations = pi.extract_style_activations(model, fit, progress=False)
tests = pi.extract_style_activations(model, held_out, progress=False)
probe = pi.style_probe(activations, tests, styles=["joy", "fear"], n_null=200, progress=False)
layers = pi.published_layers(model.n_layers)  # 18, 19, 20 of 32, at the same depth, (layer + 1) / layers
probe[probe["layer"].isin([0, *layers])].round(2)

# %%
joy = pi.style_vector(activations, "joy")
prompts = [pi.render_prompt(model.tokenizer, question) for question in pi.subjective_prompts()[:2]]
for coefficient in (0.0, 0.3):  # shared by the three layers
    steered = pi.Add(joy, layers, coefficient)
    for text in pi.generate_text(model, prompts, intervention=steered, max_new_tokens=30):
        print(f"{coefficient:.1f}  {text.strip()!r}")

# %% [markdown]
# ## A PsychAdapter
# The base model stays frozen; an affine map from trait scores to one key and one value a layer is learnt from texts
# with scores. Here joyful and sad sentences stand in for texts that people wrote: z is +1 or −1 on the first trait,
# and noise on the second. Held-out loss with the right scores against shuffled ones says whether the adapter uses
# them.

# %%
emotions = pi.load_styles("emotion").sentences
pairs = [(text, sign) for style, sign in (("joy", 1.0), ("sadness", -1.0)) for text in emotions[style][:48]]
data = pi.TraitTexts(
    texts=tuple(text for text, _ in pairs),
    scores=np.array([[sign, (7 * i) % 5 - 2.0] for i, (_, sign) in enumerate(pairs)]),
    traits=("joyful", "noise"),
    source="emotion corpus",
    estimated=False,
)
train, rest = data.split(held_out=0.25)
settings = pi.PsychAdapterSettings(n_epochs=4, batch_size=8, holdout=0.0)
trained = pi.train_psychadapter(MODEL, train, out=folder / "adapter", settings=settings, progress=False)
trained.losses["loss"].iloc[[0, -1]].round(2).tolist(), f"{trained.parameters.share:.3%} of the base's parameters"

# %%
own = trained.load()  # the same base, in the dtype it was trained in
loss = pi.adapter_nll(own, trained.adapter, rest, by_trait=True, n_resamples=200, n_permutations=999, progress=False)
loss[["trait", "metric", "condition", "estimate", "low", "high", "p"]].round(3)

# %%
for z in (-3, 3):
    prefix = pi.TraitPrefix(trained.adapter, {"joyful": z})
    start = trained.adapter.start
    for text in pi.generate_text(own, [f"{start}When I got home,"], intervention=prefix, max_new_tokens=24):
        print(f"{z:+d}  When I got home,{text}")

# %% [markdown]
# Its induced direction: how the residual stream moves from low to high z, how much that depends on the text, and
# whether it is the style vector. Relatedness is tested against random directions; equality asks for a cosine above
# 0.9.

# %%
shifts = pi.induced_shifts(own, trained.adapter, "joyful", rest.texts, z_values=(-3, 0, 3), progress=False)
geometry = pi.induced_geometry(shifts)
geometry[geometry["layer"].isin(layers)].round(2)

# %%
induced = pi.induced_cosines(shifts, {"joy": joy}, own="joy", n_draws=200)
induced[induced["layer"].isin(layers)][["layer", "estimate", "low", "high", "null_95", "q", "equal"]].round(3)

# %% [markdown]
# ## An inventory
# Fifty statements, keyed both ways, put in several wordings and with the options in both orders. Nothing is sampled
# and there is no judge. Read the reliability beside the scores: small models choose by position and say yes a lot.

# %%
inventory = pi.load_inventory("big_five_50")
answers = pi.administer(model, inventory, wordings=[inventory.wordings[0].name], progress=False)
scores = pi.score_inventory(answers, n_resamples=500)
scores[["format", "scale", "estimate", "low", "high", "n", "acquiescence", "mass"]].round(2)

# %%
reliability = pi.inventory_reliability(answers, n_resamples=200)
reliability[reliability["scale"] == "all"][["metric", "estimate", "n"]].round(2)

# %% [markdown]
# The same under the style vector, item by item.

# %%
moved = pi.administer(
    model,
    inventory,
    wordings=[inventory.wordings[0].name],
    intervention=pi.Add(joy, layers, 0.3),
    calibration=answers,
    condition="joy",
    progress=False,
)
pi.compare_inventories(answers, moved, n_resamples=500)[["scale", "estimate", "low", "high", "p", "q"]].round(3)

# %%
types = pi.administer(model, pi.load_inventory("types_32"), wordings=["about_yourself", "one_sentence"], progress=False)
print(pi.inventory_type(types, n_resamples=1000))
