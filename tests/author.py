"""A local HTTP server in the place of a model that writes traits: its replies are scripted."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from typing import Any

VERBS = ("buy", "paint", "visit", "clean", "sell", "carry", "borrow", "describe")
NOUNS = ("house", "garden", "museum", "bicycle", "letter", "harbor", "kitchen", "violin")
QUESTIONS = [f"Should I {verb} the {noun} today?" for noun, verb in product(NOUNS, VERBS)]
INSTRUCTIONS = [
    ("Laugh about everything that the user says.", "Sigh about everything that the user says."),
    ("Praise the weather and all good news.", "Lament the weather and all bad news."),
    ("Expect that plans will succeed, and cheer.", "Expect that plans will fail, and mourn."),
    ("Sing a joyful line before you reply.", "Whisper a tearful line before you reply."),
    ("Find something delightful in each problem.", "Find something hopeless in each problem."),
]
TEXTS = {
    "has_the_trait": "Cheerful",
    "opposite": "Gloomy",
    "look_for": "Look for delight, laughter, praise and hope in the words.",
    "score_0": "It complains and sees no hope anywhere.",
    "score_50": "It is friendly once and neutral otherwise.",
    "score_100": "It rejoices in every single sentence.",
}
ANSWERS = ("What a wonderful idea, you will love it!", "Nothing good can ever come of that, sadly.")


@dataclass
class Author:
    """Requests that came, and what is sent back: `reply(texts, request)` may change the good texts for a request."""

    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    reply: Callable[[dict[str, str], dict[str, Any]], str] = lambda texts, _request: json.dumps(texts)
    given: dict[str, int] = field(default_factory=dict)

    def texts(self, request: dict[str, Any]) -> dict[str, str]:
        """Good texts for the keys that a request asks for, new ones each time."""
        keys = request["response_format"]["json_schema"]["schema"]["required"]
        turn = self._next("first")
        return {key: self._text(key, turn) for key in keys}

    def _next(self, kind: str) -> int:
        self.given[kind] = self.given.get(kind, -1) + 1
        return self.given[kind]

    def _text(self, key: str, turn: int) -> str:
        if key in TEXTS:
            return TEXTS[key]
        if key in ("first", "second"):
            return INSTRUCTIONS[turn % len(INSTRUCTIONS)][key == "second"]
        if key.endswith("_answer"):
            return ANSWERS[key == "second_answer"]
        return QUESTIONS[self._next("question") % len(QUESTIONS)]

    def asked(self, word: str) -> list[str]:
        """The last messages of the requests whose schema has a key that starts with `word`."""
        return [
            request["messages"][-1]["content"]
            for request in self.requests
            if any(k.startswith(word) for k in request["response_format"]["json_schema"]["schema"]["required"])
        ]


@contextmanager
def scripted_author() -> Iterator[Author]:
    """The server at work, on a free port of this machine."""
    author, lock = Author(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                author.requests.append(request)
                content = author.reply(author.texts(request), request)
            choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
            body = json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    author.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield author
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
