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
# # A first persona vector
#
# From a trait's prompts to a direction, its profile over layers, and a steered answer. Runs offline on SmolLM2-135M.
# The numbers of answers here are small so that the notebook takes a minute; `make demo` uses more.

# %%
import torch

import persona_interp as pi

model = pi.load_model("smollm2-135m-instruct", dtype="auto")
trait = pi.load_trait("impolite")
trait.instructions[0], trait.questions[:3]

# %% [markdown]
# ## Contrastive rollouts
# The same questions under system prompts that ask for the trait and under ones that ask for its opposite. Activations
# are pooled while the answers are generated.

# %%
rollouts = pi.generate_rollouts(model, trait, n_questions=8, n_instructions=2, max_new_tokens=24, progress=False)
rollouts.frame[["side", "question", "answer"]].groupby("side").head(2)

# %% [markdown]
# ## The vector
# One mean difference a block, in residual units. Its norm against the mean residual norm says how strong it is.

# %%
vector = pi.persona_vector(rollouts, filter="none")
relative = vector.vectors.norm(dim=-1) / vector.residual_norms
{layer: round(float(relative[layer]), 3) for layer in range(0, model.n_layers, 5)}

# %% [markdown]
# ## Does it separate answers to other questions?
# The intervals are over questions; the nulls shuffle labels or draw random directions and take their best layer too.

# %%
held_out = pi.generate_rollouts(
    model, trait, n_questions=8, n_instructions=2, max_new_tokens=24, questions="eval", seed=1, progress=False
)


def sides(rolled):
    acts = rolled.activations()
    finite = acts.values.isfinite().flatten(1).all(1).numpy()
    chosen = {s: acts.select(finite & (rolled.frame["side"] == s).to_numpy()) for s in ("positive", "negative")}
    return {s: (a.values.numpy(), a.samples["question"].to_numpy()) for s, a in chosen.items()}


train, test = sides(rollouts), sides(held_out)
profile = pi.separation_profile(
    train_positive=train["positive"][0],
    train_negative=train["negative"][0],
    test_positive=test["positive"][0],
    test_negative=test["negative"][0],
    train_positive_questions=train["positive"][1],
    train_negative_questions=train["negative"][1],
    test_positive_questions=test["positive"][1],
    test_negative_questions=test["negative"][1],
    n_null=100,
    shuffled_splits="both",
    random_covariance="within",
)
profile.summary()

# %% [markdown]
# ## Steering
# Coefficients are shares of the layer's mean residual norm; 0 changes nothing.

# %%
prompts = [pi.render_prompt(model.tokenizer, question) for question in trait.eval_questions[:2]]
for coefficient in (-0.3, 0.0, 0.3):
    steered = pi.Add(vector, layer=model.n_layers // 2, coefficient=coefficient)
    for text in pi.generate_text(model, prompts, intervention=steered, max_new_tokens=30):
        print(f"{coefficient:+.1f}  {text.strip()!r}")

# %% [markdown]
# Ablating removes the component along the vector; what is left projects to zero at that layer.

# %%
ablated = pi.Ablate(vector, layer=14)
kept = pi.extract_activations(model, prompts[:1], ["That is a fair question."], edits=ablated.edits, progress=False)
unit = vector.at(14) / vector.at(14).norm()
assert torch.allclose(kept.values[:, 14] @ unit, torch.zeros(1), atol=1.0)
