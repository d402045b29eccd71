"""`Endpoint`: where a model is served, under which name, and the key, which is never shown."""

import ipaddress
import json
import os
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from persona_interp.arguments import checked
from persona_interp.bounds import Text
from persona_interp.errors import ConfigError

DEFAULT_BASE_URL = "https://api.openai.com/v1"
SHORTEST_SECRET = 8


@checked
@dataclass(frozen=True)
class Endpoint:
    """A model on an OpenAI-compatible server.

    The key is left out of `repr`; nothing in this package writes it to a file, a log or an error.

    Raises:
        ConfigError: the address is not http(s), holds a password, or the key cannot be a header.
    """

    model: str
    base_url: str
    api_key: str = field(repr=False)

    def __post_init__(self) -> None:  # noqa: D105
        object.__setattr__(self, "base_url", self.base_url.strip().rstrip("/"))
        if not self.model.strip():
            raise ConfigError("the name of the model is empty.", "Give model, or set OPENAI_MODEL.")
        _check_address(self.base_url)
        if not all("!" <= character <= "~" for character in self.api_key):
            raise ConfigError(
                "the API key holds spaces, line breaks or characters outside ASCII.", "Copy it again (OPENAI_API_KEY)."
            )

    @classmethod
    @checked
    def from_environment(
        cls, *, model: str | None = None, base_url: str | None = None, api_key: str | None = None
    ) -> "Endpoint":
        """The endpoint of the arguments, else of OPENAI_MODEL, OPENAI_BASE_URL and OPENAI_API_KEY.

        A server on this machine needs no key.

        Raises:
            ConfigError: names what is missing, or the address is none.
        """
        model = model or os.environ.get("OPENAI_MODEL", "")
        base_url = (base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL).strip()
        _check_address(base_url)
        api_key = (api_key or os.environ.get("OPENAI_API_KEY", "")).strip()
        missing = [] if model.strip() else ["the model (argument model, or OPENAI_MODEL)"]
        if not api_key and not is_local(base_url):
            missing.append("the key (argument api_key, or OPENAI_API_KEY)")
        if missing:
            raise ConfigError(
                f"cannot ask {_shown(base_url)}: {' and '.join(missing)} is not set.",
                "For a server without keys on another machine give any word as the key.",
                "The address is the argument base_url, or OPENAI_BASE_URL.",
            )
        return cls(model=model, base_url=base_url, api_key=api_key)

    @checked
    def redact(self, text: Text) -> str:
        """The text without the key, as it is and as JSON may write it.

        A key of fewer than 8 characters, such as a server without keys is given, is no secret: it stays, because it may
        well be a word or a number of the text.
        """
        if len(self.api_key) < SHORTEST_SECRET:
            return text
        for written in (self.api_key, json.dumps(self.api_key)[1:-1], self.api_key.replace("/", "\\/")):
            text = text.replace(written, "[key]")
        return text


def is_local(base_url: str) -> bool:
    """Whether an address is this machine's own."""
    host = urlsplit(base_url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_address(base_url: str) -> None:
    try:
        parts = urlsplit(base_url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good, parts = False, None
    if not good or parts is None:
        raise ConfigError(
            f"{_shown(base_url)!r} is not the address of a server.", "Expected like https://api.openai.com/v1."
        )
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ConfigError(
            f"the address {_shown(base_url)} carries a password or a query.",
            "It is written to results: put secrets into the key only.",
        )


def _shown(base_url: str) -> str:
    """The address as errors may show it: without what could be a secret, and not at all where it has no scheme."""
    start, at, end = re.split("[?#]", base_url)[0][:200].rpartition("@")
    scheme, colon, _ = base_url.partition("://")
    if not colon:
        return f"{base_url[:6]}[hidden]" if len(base_url) > 2 * SHORTEST_SECRET else base_url
    return f"{scheme}://[hidden]@{end}" if at else f"{start}{end}"
