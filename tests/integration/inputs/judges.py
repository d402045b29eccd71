"""Replies and refusals of servers, reasoning blocks, chat templates, and what a judge makes of them."""

import json
import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

from persona_interp.data.traits import load_trait
from persona_interp.endpoint.client import ChatClient, ChatReply, ChatRequest, Endpoint, RequestFailure
from persona_interp.endpoint.endpoint import is_local
from persona_interp.endpoint.failures import kind_of
from persona_interp.endpoint.replies import read_reply
from persona_interp.endpoint.wording import Wording
from persona_interp.judges.lexical import LexicalJudge
from persona_interp.judges.openai import OpenAIJudge
from persona_interp.judges.ratings import read_rating, way_of_reading
from persona_interp.judges.rubric import PROBE
from persona_interp.models.templates import set_template_options
from persona_interp.models.tokens import render_prompt
from persona_interp.reasoning import answer_after, closed_prompt, opens_reasoning
from tests.contract.tiny import make_tokenizer
from tests.integration.inputs.row import Call, Command, Given, Row
from tests.servers import KEY, FaultServer, Sent, completion, failure
from tests.small import TRAIT

LOUD = replace(TRAIT, eval_prompt="How loud is this answer to {question}? {answer} Reply from 0 to 100.")
THINK = {"reasoning_content": "It shouts."}


def message(content: Any, *, finish: str = "stop", **more: Any) -> Sent:
    """A reply whose message has more than a text."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **more}}
    return Sent(json.dumps({"choices": [choice]}).encode())


def rating(sent: Sent, **options: Any) -> Callable[[Given], Any]:
    """What a judge makes of a server's reply: the value, or the note of an answer that it could not rate."""

    def call(_: Given) -> Any:
        def behaviour(body: dict[str, Any], __: int) -> Sent:
            asked = body["messages"][-1]["content"]
            return completion("73") if asked == PROBE else completion("50") if "\nb\n" in asked else sent

        with FaultServer(behaviour) as server:
            client = ChatClient(server.endpoint(), max_retries=0, timeout_s=5.0, progress=False)
            score = OpenAIJudge(client, **options).rate(LOUD, ["Why?"] * 2, ["a", "b"])[0]
            client.close()
        return score.note if math.isnan(score.value) else score.value

    return call


def alone(
    behaviour: Callable[[dict[str, Any], int], Sent], then: Callable[..., Any] = lambda *_: None, **options: Any
) -> Any:
    """A judge that rates one answer with a server that does the same with all requests."""

    def call(_: Given) -> Any:
        with FaultServer(behaviour) as server:
            client = ChatClient(server.endpoint(), max_retries=0, timeout_s=5.0, progress=False)
            judge = OpenAIJudge(client, **options)
            score = judge.rate(LOUD, ["Why?"], ["a"])[0]
            client.close()
        return then(score, judge, server)

    return call


def always(sent: Sent) -> Callable[[dict[str, Any], int], Sent]:
    return lambda *_: sent


def complains(text: str, part: str, status: int = 400, *, sent: Any = None) -> Callable[[dict[str, Any], int], Sent]:
    """A server that refuses a part of the body in these words, unless it has another value."""

    def behaviour(body: dict[str, Any], _: int) -> Sent:
        refused = part in body and body[part] != sent
        return failure(status, text) if refused else completion("85")

    return behaviour


def last_body(*parts: str) -> Callable[..., Any]:
    return lambda _score, _judge, server: {part: server.bodies[-1].get(part) for part in parts}


def long_enough(needed: int) -> Callable[[dict[str, Any], int], Sent]:
    """A model that needs so many tokens to reason."""

    def behaviour(body: dict[str, Any], _: int) -> Sent:
        whole = body["max_tokens"] >= needed
        return completion("<think>Hm.</think>\n\n85") if whole else completion("<think>Hm", finish="length")

    return behaviour


def prompt_of(template: str, **options: Any) -> Callable[[Given], str]:
    def call(_: Given) -> str:
        tokenizer = deepcopy(make_tokenizer())
        tokenizer.chat_template = template
        set_template_options(tokenizer, options)
        return render_prompt(tokenizer, "Why?")

    return call


def key_in_cache(given: Given) -> Any:
    """Whether the key is in a reply, its log-probabilities, or the files of a cache."""
    said = completion(f"I know {KEY[:6]}{KEY[6:]}", [[(KEY[:6], 0.9)], [(KEY[6:], 0.9)]])
    escaped = Sent(said.body.replace(b"sk-test", b"\\u0073k-test"))
    with FaultServer(lambda body, _: escaped if body["messages"][-1]["content"] == "2" else said) as server:
        client = ChatClient(server.endpoint(), cache=given.tmp / "c", progress=False)
        requests = [ChatRequest((("user", text),), 40, top_logprobs=2) for text in "12"]
        replies = client.ask(requests)
        client.close()
    kept = b"".join(file.read_bytes() for file in given.tmp.iterdir())
    return [reply.text for reply in replies if isinstance(reply, ChatReply)], KEY in str(replies), KEY.encode() in kept


def cached_cut_off(given: Given) -> list[int]:
    """How often each reply is asked for in two runs with one cache."""
    whole = [[("85", 0.9), ("8", 0.1)]]
    with FaultServer(lambda body, _: said[body["messages"][-1]["content"]]) as server:
        said = {
            "cut": completion("<think>Hm", finish="length"),
            "nothing": message(None, finish="length"),
            "words": completion("It is 8", finish="length"),
            "first token": completion("85 as it is", whole, finish="length"),
            "whole": completion("85"),
        }
        for _ in range(2):
            client = ChatClient(server.endpoint(), cache=given.tmp / "c", progress=False)
            client.ask([ChatRequest((("user", text),), 12, top_logprobs=2) for text in said])
            client.close()
        return [server.counts[text] for text in said]


def wording(text: str, **request: Any) -> Callable[[Given], Any]:
    """What is changed of a request that a server refuses in these words."""

    def call(_: Given) -> Any:
        asked = ChatRequest((("user", "?"),), 12, **{"top_logprobs": 20, **request})
        plainer = Wording().plainer(asked, text)
        before = vars(Wording())
        return None if plainer is None else {k: v for k, v in vars(plainer).items() if v != before[k]}

    return call


def parsed(sent: Sent, max_tokens: int = 12) -> Callable[[Given], Any]:
    def call(_: Given) -> Any:
        reply = read_reply(sent.body, max_tokens=max_tokens, logprobs=True)
        return read_rating(reply, way_of_reading(reply, "whole")).value

    return call


def lexical(answer: str) -> Callable[[Given], Any]:
    return lambda _: LexicalJudge().rate(load_trait("optimistic"), ["?"], [answer])[0].value


def endpoint(base_url: str) -> Callable[[Given], Any]:
    return lambda _: Endpoint("m", base_url, KEY)


KINDS = (
    (401, "Incorrect API key provided", "key"),
    (403, "", "key"),
    (400, "API key not valid. Please pass a valid API key.", "key"),
    (403, "Your project does not have access to model gpt-9", "access"),
    (403, "Country, region, or territory not supported", "access"),
    (404, "The model `gpt-9` does not exist", "model"),
    (400, "The model `gpt-9` does not exist model_not_found", "model"),
    (404, "", "model"),
    (429, "You exceeded your current quota, please check your plan and billing details. insufficient_quota", "credit"),
    (402, "Insufficient credits", "credit"),
    (400, "Your credit balance is too low to access the API", "credit"),
    (429, "Rate limit reached for requests per minute", "rate"),
    (429, "", "rate"),
    (400, "This model's maximum context length is 4096 tokens. context_length_exceeded", "length"),
    (413, "", "length"),
    (500, "the request exceeds the available context size", "length"),
    (400, "The response was filtered due to the prompt triggering Azure's content management policy", "filter"),
    (403, "Your input was flagged by moderation", "filter"),
    (400, "Could not finish the message because max_tokens or model output limit was reached", "limit"),
    (500, "authentication backend failed", "other"),
    (400, "'temperature' does not support 0 with this model", "other"),
)
WHOLE = [[("80", 0.5), ("90", 0.5)]]
AFTER = [[("<think>", 1.0)], [("10", 1.0)], [("</think>", 1.0)], [("\n\n", 1.0)], *WHOLE]
GPT_OSS = "<|channel|>analysis<|message|>Loud.<|end|><|start|>assistant<|channel|>final<|message|>85"
QWEN = (
    "{%- for m in messages %}{{ '<' + m.role + '>' + m.content }}{% endfor %}"
    "{%- if add_generation_prompt %}{{ '<assistant>' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
    "{%- endif %}"
)
LLAMA = (
    "{%- if not date_string is defined %}{%- set date_string = strftime_now('%d %b %Y') %}{% endif %}{{ date_string }}"
)
NO_ROOM = r"cannot rate: asked for a number, it was cut off\.\s+It writes more .* reasoning_tokens=1024"
NONE = "rated none of 1 answers: "

REPLIES: tuple[Row, ...] = (
    Call(
        "half a character in a reply",
        rating(Sent(b'{"choices": [{"message": {"content": "80 \\ud83d"}}]}')),
        lambda note: "not a number from 0 to 100" in note,
    ),
    Call(
        "half a character of bytes in a reply",
        rating(Sent(b'{"id": "\xed\xa0\x80", "choices": [{"message": {"content": "80"}}]}')),
        80.0,
    ),
    Call(
        "an error sent as if all were well",
        rating(Sent(json.dumps({"error": {"message": f"overloaded, {KEY}"}}).encode())),
        "request failed: the server says: overloaded, [key]",
    ),
    Call("an empty block and a number", rating(completion("<think></think> 85")), 85),
    Call("a block and a number", rating(completion("<think>\nIt is loud.\n</think>\n\n85"), reasoning_tokens=99), 85),
    Call("an end without a beginning", rating(completion("It is loud.</think>\n85")), 85),
    Call("thinking", rating(completion("<thinking>It is loud.</thinking>85")), 85),
    Call("reasoning", rating(completion("<reasoning>It is loud.</reasoning>Score: 85")), 85),
    Call("Magistral's marks", rating(completion("[THINK]It is loud.[/THINK]85/100")), 85),
    Call("channels of gpt-oss", rating(completion(GPT_OSS)), 85),
    Call("reasoning_content beside it", rating(message("85", **THINK)), 85),
    Call("reasoning beside it", rating(message("85", reasoning="It shouts.")), 85),
    Call(
        "parts, of which one is thought",
        rating(message([{"type": "thinking", "thinking": []}, {"type": "text", "text": "85"}])),
        85,
    ),
    Call("a number within the block only", rating(completion("<think>85</think>")), "an empty reply"),
    Call("a cut block", rating(completion("<think>85", finish="length")), "cut off before the answer began"),
    Call("null that was cut", rating(message(None, finish="length")), "cut off before the answer began"),
    Call("null after reasoning", rating(message(None, **THINK)), "an empty reply"),
    Call("null", rating(message(None)), "request failed: the content is missing, not a text (finish_reason stop)"),
    Call("an empty text", rating(message("")), "an empty reply"),
    Call("an empty text that was cut", rating(message("", finish="length")), "cut off before the answer began"),
    Call("a number that may lack digits", rating(completion("8", finish="length")), "cut off: '8'"),
    Call(
        "a list of texts",
        rating(message(["85"])),
        "request failed: the content is a list, not a text (finish_reason stop)",
    ),
    Call("a refusal after reasoning", rating(completion("<think>No.</think>REFUSAL")), "refusal"),
    Call("probabilities after the block", parsed(completion("<think>10</think>\n\n80", AFTER)), 85),
    Call("probabilities of the answer alone", parsed(message("80", **THINK)), 80),
    Call(
        "probabilities that are not the answer's",
        parsed(completion("<think>10</think>80", [[("10", 1.0)], [("</think>", 1.0)]])),
        80,
    ),
    Call("probabilities of a plain reply", parsed(completion("80", WHOLE)), 85),
    Call("a model that needs more room", alone(long_enough(500), lambda s, *_: s.value, reasoning_tokens=300), 85),
    Call(
        "room is doubled once",
        alone(long_enough(500), last_body("max_tokens"), reasoning_tokens=300),
        {"max_tokens": 612},
    ),
    Call(
        "room that is not enough",
        alone(long_enough(500), reasoning_tokens=200),
        says=NONE + r"cut off before the answer began \(1 times\)\.\s+It writes more than a number first",
    ),
    Call("no room", alone(long_enough(500)), says=NO_ROOM),
    Call(
        "no room, says the server",
        alone(always(failure(400, "max_tokens or model output limit was reached"))),
        says=NO_ROOM,
    ),
    Call(
        "no number at all",
        alone(always(completion("Loud!"))),
        says=NONE + r"not a number from 0 to 100: 'Loud!' \(1 times\)\.\s+It was asked for one whole",
    ),
    Call(
        "effort is passed on",
        alone(
            always(completion("85")),
            last_body("reasoning_effort", "max_tokens"),
            reasoning_effort="low",
            reasoning_tokens=100,
        ),
        {"reasoning_effort": "low", "max_tokens": 112},
    ),
    Call(
        "effort is said",
        alone(
            always(completion("85")),
            lambda _, judge, __: "reasoning effort low" in judge.description,
            reasoning_effort="low",
        ),
        True,
    ),
    Call(
        "tokens below 0",
        lambda _: OpenAIJudge(Endpoint("m", "http://localhost:1/v1", ""), reasoning_tokens=-1),
        says="reasoning_tokens must be 0 to 1000000, got -1",
    ),
    Call(
        "tokens past a million",
        lambda _: OpenAIJudge(Endpoint("m", "http://localhost:1/v1", ""), reasoning_tokens=10**30),
        says="reasoning_tokens must be 0 to 1000000",
    ),
    Call("a cut reply is not kept", cached_cut_off, [2, 2, 2, 1, 1]),
)
WORDS: tuple[Row, ...] = (
    Call(
        "max_tokens refused",
        alone(
            complains("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "max_tokens"),
            last_body("max_tokens", "max_completion_tokens"),
        ),
        {"max_tokens": None, "max_completion_tokens": 12},
    ),
    Call(
        "temperature refused",
        alone(
            complains("Unsupported value: 'temperature' does not support 0 with this model.", "temperature"),
            last_body("temperature"),
        ),
        {"temperature": None},
    ),
    Call(
        "effort refused",
        alone(
            complains("Unrecognized request argument supplied: reasoning_effort", "reasoning_effort"),
            last_body("reasoning_effort"),
            reasoning_effort="low",
        ),
        {"reasoning_effort": None},
    ),
    Call(
        "403 for logprobs",
        alone(
            complains("You are not allowed to request logprobs from this model", "logprobs", 403),
            lambda score, judge, _: (score.value, judge.description.endswith("gives no log-probabilities")),
        ),
        (85, True),
    ),
    Call(
        "404 for logprobs",
        alone(complains("No endpoints found that support logprobs", "logprobs", 404), lambda score, *_: score.value),
        85,
    ),
    Call(
        "500 for logprobs",
        alone(complains("logprobs is not implemented", "logprobs", 500), lambda score, *_: score.value),
        85,
    ),
    Call(
        "at most 5",
        alone(
            complains("top_logprobs must be at most 5", "top_logprobs", sent=5), last_body("logprobs", "top_logprobs")
        ),
        {"logprobs": True, "top_logprobs": 5},
    ),
    Call(
        "<= 5",
        wording("Invalid 'top_logprobs': integer above maximum value. Expected a value <= 5"),
        {"top_logprobs": 5},
    ),
    Call(
        "greater than max allowed",
        wording("Requested sample logprobs of 20, which is greater than max allowed: 5"),
        {"top_logprobs": 5},
    ),
    Call("between 0 and 8", wording("top_logprobs must be between 0 and 8"), {"top_logprobs": 8}),
    Call("less than or equal to", wording("logprobs: Input should be less than or equal to 10"), {"top_logprobs": 10}),
    Call("a number that is no bound", wording("logprobs are not supported by gpt-4 or 5"), {"logprobs": False}),
    Call("a bound of 20 is no news", wording("top_logprobs must be at most 20 here"), {"logprobs": False}),
    Call(
        "a prompt that speaks of temperature",
        wording("Invalid prompt: it mentions the temperature outside"),
        {"temperature": False},
    ),
    Call("a complaint of something else", wording("the prompt is bad"), None),
)
REFUSALS: tuple[Row, ...] = (
    *(Call(f"{status} {said[:50]!r}", lambda _, s=status, t=said: kind_of(s, t), kind) for status, said, kind in KINDS),
    Call("403 with a good key", lambda _: kind_of(403, "permission denied", good_key=True), "other"),
    Call("401 with a good key", lambda _: kind_of(401, "expired", good_key=True), "key"),
    Call(
        "the key",
        alone(always(failure(401, f"Wrong key {KEY}"))),
        says=r"refuses the key \(HTTP 401\)\.(?s:.*)It says: Wrong key \[key\]",
    ),
    Call(
        "the model",
        alone(always(failure(400, "The model `judge-1` does not exist"))),
        says=r"knows no model 'judge-1', or is no such server \(HTTP 400\)",
    ),
    Call(
        "access",
        alone(always(failure(403, "no access to this model"))),
        says=r"does not let this key use 'judge-1' \(HTTP 403\)",
    ),
    Call(
        "credit",
        alone(always(failure(429, "x", code="insufficient_quota"))),
        says=r"has no credit left for this key \(HTTP 429\)",
    ),
    Call(
        "rate limit",
        rating(failure(429, "slow", headers={"Retry-After": "7"})),
        "request failed: HTTP 429: rate limit: slow (it asks to wait 7 s)",
    ),
    Call(
        "context",
        rating(failure(400, "maximum context length is 9")),
        "request failed: HTTP 400: too long for the model's context: maximum context length is 9",
    ),
    Call(
        "filter",
        rating(failure(400, "no", code="content_filter")),
        "request failed: HTTP 400: the server's content filter refused it: no",
    ),
    Call("a refusal of a megabyte", rating(failure(400, "x" * 1_000_000)), lambda note: len(note) < 300),
    Call("the key nowhere", key_in_cache, (["I know [key]"] * 2, False, False)),
    Call("a key of one digit is a word", lambda _: Endpoint("m", "http://localhost:1", "8").redact("85"), "85"),
    Call(
        "a key that JSON escapes",
        lambda _: Endpoint("m", "http://localhost:1", 'ab"cd/ef\\g').redact(r"ab\"cd/ef\\g"),
        "[key]",
    ),
    Call(
        "a password in the address",
        endpoint(f"https://me:{KEY}@host/v1"),
        says=r"^the address https://\[hidden\]@host/v1 carries a password",
    ),
    Call(
        "a key in the query",
        endpoint(f"https://host/v1?api_key={KEY}"),
        says="^the address https://host/v1 carries a password or a query",
    ),
    Call("a key behind #", endpoint(f"https://host/v1#{KEY}"), says="^the address https://host/v1 carries"),
    Call("a key in place of the address", endpoint(KEY), says=r"^'sk-tes\[hidden\]' is not the address"),
    Call("an address that is local", lambda _: is_local("http://[::1]:80/v1"), True),
    Call(
        "a server that drops the connection",
        rating(Sent(completion("85").body, drop=9)),
        "request failed: the connection broke (RemoteProtocolError)",
    ),
    Call("a failure is no reply", lambda _: RequestFailure("x") == RequestFailure("x", cut_off=True), False),
)
TEXTS: tuple[Row, ...] = (
    Call("the answer after a block", lambda _: answer_after("<think>a</think>\n\nb"), "b"),
    Call("a block without an end", lambda _: answer_after("<think>a"), ""),
    Call("tags that are words", lambda _: answer_after("Write <think> and </think>."), "Write <think> and </think>."),
    Call(
        "words are judged after the block", lexical("<think>horrible, awful</think>wonderful, great"), lambda v: v > 80
    ),
    Call("words of the block alone", lexical("<think>wonderful"), math.isnan),
    Call("an opened prompt is closed", lambda _: closed_prompt("a<think>\n"), "a<think>\n\n</think>\n\n"),
    Call("a prompt that is closed", lambda _: opens_reasoning("a<think>\n\n</think>\n\n"), False),
    Call("a template as it is", prompt_of(QWEN), "<user>Why?<assistant>"),
    Call("thinking off", prompt_of(QWEN, enable_thinking=False), "<user>Why?<assistant><think>\n\n</think>\n\n"),
    Call("thinking on", prompt_of(QWEN, enable_thinking=True), "<user>Why?<assistant>"),
    Call("no such switch", prompt_of(QWEN, thinking=False), says="the chat template takes no option 'thinking'"),
    Call(
        "a switch that is no JSON",
        prompt_of(QWEN, enable_thinking=object()),
        says="the template option enable_thinking must be a text, number",
    ),
    Call("a date", prompt_of("{{ strftime_now('%d %b %Y') }}"), "26 Jul 2024"),
    Call("another form of the date", prompt_of("{{ strftime_now('%Y-%m-%d') }}"), "2024-07-26"),
    Call("another date", prompt_of("{{ strftime_now('%B %-d, %Y') }}", strftime_now="2026-01-05"), "January 5, 2026"),
    Call(
        "no date",
        prompt_of("{{ strftime_now('%d') }}", strftime_now="today"),
        says="must be a date like 2024-07-26, got 'today'",
    ),
    Call(
        "Llama's way",
        prompt_of(LLAMA),
        "26 Jul 2024",
    ),
    Call(
        "Llama's way with a date",
        prompt_of(
            LLAMA,
            date_string="1 May",
        ),
        "1 May",
    ),
)


COMMANDS: tuple[Row, ...] = (
    Command("replay of no trait", ("serve", "--replay", "evill"), 1, "no trait is called 'evill'"),
    Command("a model that is no file", ("serve", "{tmp}/none.gguf"), 1, "there is no GGUF file"),
)

ROWS: tuple[Row, ...] = (*REPLIES, *WORDS, *REFUSALS, *TEXTS, *COMMANDS)
