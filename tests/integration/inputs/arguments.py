"""Wrong kinds of arguments: what Python is given that is no choice, no such number, no such list."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import persona_interp as pi
from persona_interp.models.protocol import Sampling
from persona_interp.studies.inventory.run import InventoryRun
from persona_interp.studies.persona.config import RunConfig
from persona_interp.studies.screening.config import ScreenConfig
from persona_interp.types import TokenBatch
from tests.integration.inputs.row import Call, Command, Given, Row

NAN, INF = float("nan"), float("inf")
MILLION = r"must be 1 to 1000000, got "


def refused(name: str, says: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> Call:
    """A call that needs no model: the argument is refused before anything else is looked at."""
    return Call(name, lambda _: call(*arguments, **options), says=says)


def direction(given: Given) -> pi.Direction:
    return pi.Direction.load(given.vector)


def zero(given: Given) -> pi.Direction:
    found = direction(given)
    return replace(found, vectors=torch.zeros_like(found.vectors))


def half(given: Given) -> Any:
    return pi.load_model(given.model, backend="nnsight", dtype="float16")


def altered(given: Given, **changes: Any) -> pi.Direction:
    """The vector with another manifest."""
    path = given.tmp / given.vector.name
    path.write_bytes(given.vector.read_bytes())
    manifest = json.loads(given.vector.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(manifest | changes))
    return pi.Direction.load(path)


def run_config(**options: Any) -> Callable[[Given], RunConfig]:
    return lambda _: RunConfig(**{"model": "m", "traits": ("evil",), **options})


def run_sampling(tokens: Any, seed: Any) -> Sampling:
    return Sampling(tokens, seed=seed)


def model(given: Given) -> Any:
    return pi.load_model(given.model, backend="nnsight", dtype="float32")


def pooled(given: Given, **options: Any) -> pi.Activations:
    return pi.extract_activations(model(given), ["Hi", "Ho"], [[5, 6], []], progress=False, **options)


CHOICES: tuple[Row, ...] = (
    refused(
        "pooling median",
        r"pooling must be prompt_last, prompt_mean or response_mean, got 'median'",
        pi.extract_activations,
        pooling="median",
    ),
    refused("pooling near", r"Did you mean response_mean\?", pi.persona_vector, pooling="response_means"),
    refused(
        "pool of one bad",
        r"pool\[1\] must be prompt_last, prompt_mean or response_mean, got 'mean'",
        pi.generate_rollouts,
        pool=["prompt_last", "mean"],
    ),
    refused(
        "pool as text",
        r"pool must be a list .* got 'prompt_last'\.\n  Put it in a list",
        pi.generate_rollouts,
        pool="prompt_last",
    ),
    refused(
        "questions of a trait",
        r"questions must be extract or eval, got 'train'",
        pi.generate_rollouts,
        questions="train",
    ),
    refused("units bogus", r"units must be residual_norm or direction, got 'bogus'", pi.Add, units="bogus"),
    refused("span of Add", r"span must be all, prompt, response or last, got 'answer'", pi.Add, span="answer"),
    refused("span of Ablate", r"span must be .* got 3\.", pi.Ablate, span=3),
    refused("span of Cap", r"span must be .* got None", pi.Cap, span=None),
    refused("span of AddEach", r"span must be .* got 'lasts'.\n  Did you mean last", pi.AddEach, span="lasts"),
    refused(
        "stream",
        r"stream must be resid_pre, head_out, attn_out, mlp_in, mlp_act, mlp_out or resid_post, got 'resid_mid'",
        pi.Hookpoint,
        3,
        "resid_mid",
    ),
    refused("role", r"role must be system, user, assistant, tool or tool_call, got 'human'", pi.Turn, "human", "Hi"),
    refused("backend", r"backend must be transformer_lens or nnsight, got 'vllm'", pi.load_model, "x", backend="vllm"),
    refused("filter", r"filter must be paired, independent or none, got 'pair'", pi.persona_vector, filter="pair"),
    refused("baseline", r"method must be mean_difference, pca, .* got 'svm'", pi.fit_direction, "svm"),
    refused("reading", r"reading must be block or published, got 'papers'", pi.style_vector, reading="papers"),
    refused("weighting", r"weighting must be sentences or styles, got ''", pi.style_vectors, weighting=""),
    refused("format", r"format must be persona-vectors, .* got 'pickle'", pi.load_foreign, format="pickle"),
    refused("format to save", r"format must be .* got 'ggfu'.\n  Did you mean gguf", pi.save_foreign, format="ggfu"),
    refused("last row", r"last_row must be normed or residual, got 1", pi.load_foreign, last_row=1),
    refused("per", r"per must be answer or token, got 'prompt'", pi.calibrate_threshold, per="prompt"),
    refused("delta", r"delta must be none, prompt or generate, got True", pi.screen, delta=True),
    refused("engine", r"engine must be local or ray, got 'spark'", pi.screen, engine="spark"),
    refused(
        "rank by",
        r"rank_by must be projection, prompt_last, difference or judge, got 'cosine'",
        pi.screen,
        rank_by="cosine",
    ),
    refused("judge of a screening", r"judge must be embedding, got 'likelihood'", pi.screen, judge="likelihood"),
    refused("action", r"action must be warn or stop, got 'crash'", pi.DriftBound, action="crash"),
    refused("position", r"position must be all or last, got 'first'", pi.induced_shifts, position="first"),
    refused("measure", r"measure must be keyed or log_odds, got 'raw'", pi.compare_inventories, measure="raw"),
    refused(
        "shuffled splits",
        r"shuffled_splits must be train or both, got 'test'",
        pi.separation_profile,
        shuffled_splits="test",
    ),
    refused("covariance", r"random_covariance must be total or within, got ''", pi.null_battery, random_covariance=""),
    refused("too long", r"too_long must be cut or leave_out, got 'drop'", pi.PsychAdapterSettings, too_long="drop"),
    refused(
        "dtype of training",
        r"dtype must be float32, bfloat16 or auto, got 'float16'",
        pi.TrainingSettings,
        dtype="float16",
    ),
    refused("sign", r"sign must be 1 or -1, got 0", pi.LexicalSign, 0, "why"),
    refused(
        "variant",
        r"variants\[0\] must be activation, generated or trained, got 'tuned'",
        pi.StyleRun,
        variants=("tuned",),
    ),
    Call(
        "backend of a run", run_config(backend="vllm"), says=r"backend must be transformer_lens or nnsight, got 'vllm'"
    ),
    Call("filter of a run", run_config(filter=None), says=r"filter must be paired, independent or none, got None"),
    Call(
        "judged answers of a run",
        run_config(extra_judges_on="none"),
        says=r"extra_judges_on must be chosen or all, got 'none'",
    ),
)

NUMBERS: tuple[Row, ...] = (
    refused(
        "questions a half",
        r"n_questions must be a whole number or None, got 4\.5",
        pi.generate_rollouts,
        n_questions=4.5,
    ),
    refused("questions in quotes", r"n_questions must be a whole number, got '4'", pi.generate_trait, n_questions="4"),
    refused(
        "questions true",
        r"n_questions must be a whole number or None, got True",
        pi.generate_rollouts,
        n_questions=True,
    ),
    refused("samples 10^12", MILLION + r"1000000000000", pi.generate_rollouts, n_samples=10**12),
    refused("samples 0", "n_samples " + MILLION + r"0\.", pi.measure_expression, n_samples=0),
    refused("samples none", r"n_samples must be a whole number, got None", pi.measure_steering, n_samples=None),
    refused("samples of 5,000 digits", "n_samples " + MILLION + r"an int", pi.measure_monitoring, n_samples=10**5000),
    refused("sampled 10^9", MILLION + r"1000000000\.", Sampling, n_samples=10**9),
    refused("tokens -1", "max_new_tokens " + MILLION + r"-1\.", pi.generate_text, max_new_tokens=-1),
    refused("tokens 2^70", "max_new_tokens " + MILLION + r"1180591620717411303424", Sampling, 2**70),
    refused("tokens at once 0", "tokens_at_once " + MILLION + r"0\.", pi.extract_activations, tokens_at_once=0),
    refused("rank 100000", r"rank must be 1 to 65536, got 100000", pi.LoRA, rank=100_000),
    refused("rank 0", r"rank must be 1 to 65536, got 0", pi.LoRA, 0),
    refused("rank a half", r"rank must be a whole number, got 0\.5", pi.LoRA, rank=0.5),
    refused("batch 10^9", r"batch_size must be 1 to 65536, got 1000000000", pi.TrainingSettings, batch_size=10**9),
    refused("batch of rollouts 0", r"batch_size must be 1 to 65536, got 0\.", pi.generate_rollouts, batch_size=0),
    refused(
        "batch of styles", r"batch_size must be a whole number, got nan", pi.extract_style_activations, batch_size=NAN
    ),
    refused("batch rows", r"batch_rows must be 1 to 65536, got -5", pi.screen, batch_rows=-5),
    refused("batch rows of a configuration", r"batch_rows must be 1 to 65536, got 0", ScreenConfig, (1,), batch_rows=0),
    refused("window 2^40", "window " + MILLION + r"1099511627776", pi.Smoothing, 2**40),
    refused("window and decay", r"window must be 1 where there is a decay, got 2", pi.Smoothing, 2, 0.5),
    refused("decay 0", r"decay must be above 0 and at most 1, got 0\.0", pi.Smoothing, 1, 0.0),
    refused("random directions -1", r"n_random must be 0 to 1000000, got -1", pi.StyleSteering, ((1,),), n_random=-1),
    refused(
        "random directions 10^10", r"n_random must be 0 to 1000000, got 10000000000", pi.StyleSteering, n_random=10**10
    ),
    refused("seed -1", r"seed must be 0 to 4294967295, got -1", pi.generate_text, seed=-1),
    refused("seed 2^32", r"seed must be 0 to 4294967295, got 4294967296", pi.TrainingSettings, seed=2**32),
    refused("seed 2^64", r"seed must be 0 to 4294967295, got 18446744073709551616", pi.fit_direction, seed=2**64),
    refused("seed a text", r"seed must be a whole number, got 'zero'", pi.score_inventory, seed="zero"),
    refused("seed of an inventory", r"seed must be 0 to 4294967295, got -3", InventoryRun, seed=-3),
    refused("epochs inf", r"n_epochs must be a finite number, got inf", pi.TrainingSettings, n_epochs=INF),
    refused("epochs 0", r"n_epochs must be above 0 and at most 1000000, got 0\.0", pi.TrainingSettings, n_epochs=0),
    refused("rate 1e308", r"learning_rate must be above 0 and at most 10, got 1e\+308", pi.TrainingSettings, 1e308),
    refused(
        "rate 1e9",
        r"learning_rate must be above 0 and at most 10, got 1000000000\.0",
        pi.PsychAdapterSettings,
        learning_rate=1e9,
    ),
    refused("rate 0", r"learning_rate must be above 0 and at most 10, got 0\.0", pi.StyleTraining, learning_rate=0.0),
    refused(
        "rate nan",
        r"lora_learning_rate must be a finite number, got nan",
        pi.PsychAdapterSettings,
        lora_learning_rate=NAN,
    ),
    refused("warm-up -1", r"warmup_steps must be 0 to 1000000, got -1", pi.TrainingSettings, warmup_steps=-1),
    refused("holdout 1", r"holdout must be at least 0 and below 1, got 1\.0", pi.TrainingSettings, holdout=1.0),
    refused("tokens of a sample", r"max_tokens must be 2 to 1000000, got 1", pi.TrainingSettings, max_tokens=1),
    refused("dropout", r"dropout must be at least 0 and below 1, got -0\.1", pi.LoRA, dropout=-0.1),
    refused("alpha", r"alpha must be above 0 and at most 1000000, got 0\.0", pi.LoRA, alpha=0.0),
    refused("temperature inf", r"temperature must be a finite number, got inf", pi.generate_text, temperature=INF),
    refused("temperature -1", r"temperature must be 0 to 100, got -1\.0", Sampling, temperature=-1.0),
    refused(
        "temperature 10^400", r"temperature must be a finite number, got 1000", pi.generate_levels, temperature=10**400
    ),
    refused("top-p 0", r"top_p must be above 0 and at most 1, got 0\.0", pi.generate_rollouts, top_p=0.0),
    refused("top-k true", r"top_k must be a whole number or None, got True", Sampling, top_k=True),
    refused("coefficient nan", r"coefficient must be a finite number, got nan", pi.Add, coefficient=NAN),
    refused(
        "coefficient -inf", r"coefficient must be a finite number, got -inf", pi.preventative_steering, coefficient=-INF
    ),
    refused(
        "coefficient 1e308", r"coefficient must be -1000000 to 1000000, got 1e\+308", pi.AddEach, coefficient=1e308
    ),
    refused(
        "coefficients 1e308",
        r"coefficients\[0\] must be -1000000 to 1000000, got 1e\+308",
        pi.measure_steering,
        coefficients=[1e308],
    ),
    refused(
        "coefficients of styles",
        r"coefficients\[1\] must be above 0 and at most 1000000, got -1\.0",
        pi.StyleSteering,
        coefficients=(1.0, -1.0),
    ),
    refused("effect 0", r"targets must not be 0", pi.kl, 0.3, 0),
    refused("effect nan", r"targets must be a finite number, got nan", pi.kl, NAN),
    refused("effects without a family", r"at must be a function, got 0\.3", pi.strength_for_kl, at=0.3),
    refused("tolerance 0.5", r"tolerance must be 0\.005 to 0\.1, got 0\.5", pi.strength_for_kl, tolerance=0.5),
    refused("effects of a run", r"kl\[0\] must be above 0", RunConfig, "m", ("evil",), kl=(-0.3,)),
    refused(
        "a tensor as a number",
        r"coefficient must be a finite number, got a Tensor",
        pi.Add,
        coefficient=torch.tensor(1.0),
    ),
    refused("threshold nan", r"thresholds must be a finite number, got nan", pi.Monitor, thresholds=NAN),
    refused("threshold of a filter", r"threshold must be 0 to 100, got 101\.0", pi.persona_vector, threshold=101),
    refused("gap nan", r"min_gap must be a finite number, got nan", pi.generate_levels, min_gap=NAN),
    refused("gap -1", r"min_gap must be 0 to 100, got -1\.0", pi.generate_levels, min_gap=-1),
    refused("percentile 100", r"percentile must be above 0 and below 100, got 100\.0", pi.screen, percentile=100),
    refused("level 95", r"level must be above 0 and below 1, got 95\.0", pi.finetuning_shift, level=95),
    refused(
        "false alarms 0",
        r"false_alarm_rate must be above 0 and below 1, got 0\.0",
        pi.calibrate_threshold,
        false_alarm_rate=0.0,
    ),
    refused("resamples 0", "n_resamples " + MILLION + r"0\.", pi.steering_table, n_resamples=0),
    refused("null draws", "n_draws " + MILLION + r"0\.", pi.null_battery, n_draws=0),
    refused("bound 0", r"the bound of evil must not be 0", pi.DriftBound, "evil", 3, 0.0),
    refused("bound nan", r"value must be a finite number, got nan", pi.DriftBound, "evil", 3, NAN),
    refused("depth 1.5", r"depths\[0\] must be 0 to 1, got 1\.5", pi.layers_at_depth, [1.5], 30),
    refused("layers of a model", "n_layers " + MILLION + r"0\.", pi.layer_at_depth, 0.5, 0),
    refused("width of a model", r"d_model must be 1 to 65536, got 0", pi.ModelShape, "m", 2, 0),
    refused("timeout 0", r"timeout_s must be above 0 and at most 1000000, got 0\.0", pi.ChatClient, timeout_s=0),
    refused("in flight", "in_flight " + MILLION + r"0\.", pi.ChatClient, in_flight=0),
    refused("price", r"prompt must be 0 to 1000000, got -1\.0", pi.Price, -1, 2),
    refused("every 0 steps", "every " + MILLION + r"0\.", pi.DriftCallback, every=0),
    refused("pairs", "n_pairs " + MILLION + r"0\.", pi.LikelihoodJudge, n_pairs=0),
    refused(
        "layer 2^63",
        r"layer must be -9223372036854775808 to 9223372036854775807, got 9223372036854775808",
        pi.Hookpoint,
        2**63,
    ),
    refused("progress 1", r"progress must be True or False, got 1", pi.administer, progress=1),
    refused("joint in quotes", r"joint must be True or False, got 'yes'", pi.screen, joint="yes"),
    Call(
        "numbers of numpy are numbers",
        lambda _: run_sampling(np.int64(3), np.uint8(7)),
        gives=Sampling(3, seed=7),
    ),
    Call("a seed of a run", run_config(seed=2**40), says=r"seed must be 0 to 4294967295, got 1099511627776"),
    Call("counts of a run", run_config(n_eval_questions=0), says="n_eval_questions " + MILLION + r"0\."),
    Call(
        "coefficients of a run",
        run_config(coefficients=(0.1, NAN)),
        says=r"coefficients\[1\] must be a finite number, got nan",
    ),
    Call("prices of a run", run_config(api_judge="m", api_price=(1.0,)), says=r"api_price must be .* got \(1\.0,\)"),
    Call("lists for tuples in a run", lambda g: run_config(layers=[1, 2])(g).layers, gives=(1, 2)),
)

LISTS: tuple[Row, ...] = (
    refused(
        "prompts as text",
        r"prompts must be a list of texts, got 'Hi'\.\n  Put it in a list",
        pi.generate_text,
        prompts="Hi",
    ),
    refused(
        "questions as text",
        r"questions must be a list of texts or None, got 'Why\?'",
        pi.measure_expression,
        questions="Why?",
    ),
    refused(
        "questions none of them",
        r"questions must be a list of texts that is not empty, got \[\]",
        pi.measure_steering,
        questions=[],
    ),
    refused(
        "coefficients none",
        r"coefficients must be a list of finite numbers that is not empty, got \[\]",
        pi.measure_steering,
        coefficients=[],
    ),
    refused(
        "layers none",
        r"layers must be a list of whole numbers that is not empty, got \(\)",
        pi.measure_steering,
        layers=(),
    ),
    refused("layers a number", r"layers must be a list of whole numbers, got 3", pi.project_samples, layers=3),
    refused("layers of halves", r"layers\[0\] must be a whole number, got 3\.0", pi.screen, layers=[3.0]),
    refused("layers null", r"layers must be a list of whole numbers, got None", pi.projection_difference, layers=None),
    refused(
        "directions none",
        r"directions must be a list of Directions that is not empty, got \[\]",
        pi.screen,
        directions=[],
    ),
    refused(
        "directions of a monitor", r"directions must be .*Directions that is not empty, got \[\]", pi.Monitor, [], 1
    ),
    refused(
        "direction a path", r"direction must be a Direction, got 'evil\.safetensors'", pi.Add, "evil.safetensors", 1
    ),
    refused("judges none", r"judges must be a list of Judges that is not empty", pi.measure_monitoring, judges=[]),
    refused(
        "judge a name", r"judges\[0\] must be a Judge, got 'likelihood'", pi.measure_expression, judges=["likelihood"]
    ),
    refused("placements none", r"placements must be a list of .* that is not empty, got \(\)", pi.StyleSteering, ()),
    refused(
        "a placement without layers",
        r"placements\[0\] must be a list of whole numbers that is not empty",
        pi.StyleSteering,
        ((),),
    ),
    refused("texts with a number", r"texts\[1\] must be text, got 3", pi.measure_perplexity, texts=["a", 3]),
    refused(
        "a lone surrogate", r"prompts\[0\] must be text without lone surrogates", pi.generate_text, prompts=["\ud800"]
    ),
    refused("a name with NUL", r"trait must be text without the character NUL", pi.fit_direction, trait="a\0b"),
    refused("a path with NUL", r"source must be text without the character NUL", pi.read_conversations, "a\0b"),
    refused("an empty path", r"out must be a path, got ''", pi.finetune, out=""),
    refused(
        "an empty name of a data set",
        r"source must be text or a path that is not empty, got ''",
        pi.read_conversations,
        "",
    ),
    refused("a model by name", r"model must be a HookedModel, got 'gpt2'", pi.generate_text, "gpt2"),
    refused("a trait by name", r"trait must be a Trait, got 'evil'", pi.generate_rollouts, trait="evil"),
    refused("no model", r"model must be a HookedModel, got None", pi.LikelihoodJudge, None),
    refused(
        "a table as text", r"answers must be a DataFrame, got 'answers\.csv'", pi.many_shot_contexts, "answers.csv"
    ),
    refused("a matrix as a list", r"vectors must be a Tensor, got \[\[1\.0\]\]", pi.Direction, vectors=[[1.0]]),
    refused("ids as a list", r"ids must be a Tensor, got \[\[1, 2\]\]", TokenBatch, [[1, 2]]),
    refused(
        "an answer for a function", r"on_alert must be a function or None, got 'print'", pi.Monitor, on_alert="print"
    ),
    refused("a stack of a list", r"interventions must be an Intervention, got \[\]", pi.Stack, []),
    refused(
        "named layers",
        r"named_layers\['a'\] must be a whole number, got 'x'",
        pi.monitoring_table,
        named_layers={"a": "x"},
    ),
    refused(
        "turns as rows", r"turns\[0\] must be a Turn, got \{'role': 'user'\}", pi.Conversation, "c", ({"role": "user"},)
    ),
    refused("traits as text", r"traits must be a list of texts, got 'evil'", RunConfig, "m", "evil"),
    refused("traits none", r"traits must be a list of texts that is not empty, got \(\)", RunConfig, "m", ()),
    Call("a column for a list", lambda _: pi.layers_at_depth(pd.Series([0.5, 1.0]), 10), gives=(4, 9)),  # pyright: ignore
    Call("text for a path", lambda g: pi.read_conversations(str(g.tmp / "none.jsonl")), says=r"none\.jsonl"),  # pyright: ignore
)

VALUES: tuple[Row, ...] = (
    Call(
        "a zero vector is not added",
        lambda g: pi.Add(zero(g), 1),
        says=r"direction cheerful .* at resid_post at layer 1 must be positive",
    ),
    Call("a zero vector is not ablated", lambda g: pi.Ablate(zero(g), 1), says=r"direction cheerful .* got 0"),
    Call("a zero vector is not capped", lambda g: pi.Cap(zero(g), 1, upper=1.0), says=r"direction cheerful .* got 0"),
    Call(
        "a zero vector is not added by row",
        lambda g: pi.AddEach([zero(g)], 1, 0.1),
        says=r"direction cheerful .* got 0",
    ),
    Call(
        "a zero vector has no unit",
        lambda g: zero(g).unit(),
        says=r"the direction cheerful is zero at resid_post at layer 0",
    ),
    Call("a zero vector adds nothing at 0", lambda g: pi.Add(zero(g), 1, 0.0).edits, gives={}),
    Call(
        "a coefficient past float16",
        lambda g: pi.Add(pi.rebind_direction(direction(g), half(g)), 1, 1e6).check(half(g)),
        says=r"coefficient must keep what is added within float16, got 1e\+06",
    ),
    Call(
        "no layer to add at",
        lambda g: pi.Add(direction(g), []),
        says=r"layer must be a list .* that is not empty, got \[\]",
    ),
    Call(
        "a layer that is not there",
        lambda g: pi.Add(direction(g), 99).edits,
        says=r"no vector for resid_post at layer 99",
    ),
    Call("a Cap of nothing", lambda g: pi.Cap(direction(g), 1), says=r"a Cap needs a bound"),
    Call("a Cap at nan", lambda g: pi.Cap(direction(g), 1, lower=NAN), says=r"lower must be a finite number, got nan"),
    Call("an empty answer is not pooled", pooled, says=r"the response of row 1 has no token to pool \(1 of 2 rows\)"),
    Call(
        "prompts of empty answers are",
        lambda g: pooled(g, pooling="prompt_last").values.isfinite().all().item(),
        gives=True,
    ),
    Call(
        "a layer outside the model",
        lambda g: pooled(g, pooling="prompt_last", hookpoints=[pi.Hookpoint(9)]),
        says=r"cannot reach resid_post at layer 9",
    ),
    Call(
        "a file's trait is no text",
        lambda g: altered(g, trait=3),
        says=r"trait is a whole number, 3\.\n  Expected a name",
    ),
    Call("a file's method is no text", lambda g: altered(g, method=[]), says=r"method is a list\.\n  Expected a line"),
    Call("a path is taken as text", lambda g: pi.Direction.load(str(g.vector)).trait, gives="cheerful"),
    Call("a path is taken as a path", lambda g: pi.Direction.load(Path(g.vector)).trait, gives="cheerful"),
)

ROWS: tuple[Row, ...] = (
    Command(
        "unknown trait", ("extract", "evill", "--out", "{tmp}/o", "--model", "{model}"), 1, "no trait is called 'evill'"
    ),
    *CHOICES,
    *NUMBERS,
    *LISTS,
    *VALUES,
)
