import pickle
from dataclasses import replace

import pytest

from persona_interp.endpoint.endpoint import DEFAULT_BASE_URL, Endpoint, is_local
from persona_interp.errors import ConfigError

NAMES = ("OPENAI_MODEL", "OPENAI_BASE_URL", "OPENAI_API_KEY")
SECRET = "sk-very-secret"


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_arguments_come_before_the_environment(monkeypatch: pytest.MonkeyPatch):
    for name, value in zip(NAMES, ("m", "http://there:1/v1", "k"), strict=True):
        monkeypatch.setenv(name, value)
    assert Endpoint.from_environment() == Endpoint("m", "http://there:1/v1", "k")
    chosen = Endpoint.from_environment(model="n", base_url="https://here/v1/", api_key="l")
    assert chosen == Endpoint("n", "https://here/v1", "l")


def test_the_default_address(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", f" {SECRET}\n")
    endpoint = Endpoint.from_environment(model="m")
    assert endpoint.base_url == DEFAULT_BASE_URL and endpoint.api_key == SECRET


def test_what_is_missing_is_named():
    with pytest.raises(ConfigError) as caught:
        Endpoint.from_environment()
    assert str(caught.value) == (
        "cannot ask https://api.openai.com/v1: the model (argument model, or OPENAI_MODEL) and the key (argument"
        " api_key, or OPENAI_API_KEY) is not set.\n"
        "  For a server without keys on another machine give any word as the key.\n"
        "  The address is the argument base_url, or OPENAI_BASE_URL."
    )
    with pytest.raises(ConfigError, match="the model .* is not set"):
        Endpoint.from_environment(api_key="k")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]", "a.localhost"])
def test_a_server_on_this_machine_needs_no_key(host: str):
    assert is_local(f"http://{host}:8080/v1")
    assert Endpoint.from_environment(model="m", base_url=f"http://{host}:8080/v1").api_key == ""


@pytest.mark.parametrize("host", ["localhost.evil.org", "127.0.0.1.evil.org", "10.0.0.1", "example.org"])
def test_other_servers_need_one(host: str):
    assert not is_local(f"http://{host}/v1")
    with pytest.raises(ConfigError, match="the key"):
        Endpoint.from_environment(model="m", base_url=f"http://{host}/v1")


@pytest.mark.parametrize(
    "address", ["", "api.openai.com", "file:///etc/passwd", "http://", "http://a:port/", "http://["]
)
def test_what_is_no_address(address: str):
    with pytest.raises(ConfigError, match="is not the address of a server"):
        Endpoint("m", address, SECRET)


@pytest.mark.parametrize("address", ["localhost:8080/v1", "127.0.0.1:8080/v1", "http://[::1/v1"])
def test_a_wrong_address_is_named_before_a_missing_key(address: str):
    with pytest.raises(ConfigError, match="is not the address of a server"):
        Endpoint.from_environment(model="m", base_url=address)


@pytest.mark.parametrize("address", [f"http://me:{SECRET}@a.org/v1", f"http://a.org/v1?key={SECRET}"])
def test_no_secret_in_the_address(address: str):
    with pytest.raises(ConfigError) as caught:
        Endpoint("m", address, "k")
    assert "carries a password or a query" in str(caught.value) and SECRET not in str(caught.value)


@pytest.mark.parametrize("key", [f"{SECRET}\n", f"{SECRET} x", f"{SECRET}é"])
def test_a_key_that_is_no_header_is_not_shown(key: str):
    with pytest.raises(ConfigError) as caught:
        Endpoint("m", DEFAULT_BASE_URL, key)
    assert SECRET not in str(caught.value) and "Copy it again" in str(caught.value)


def test_the_key_is_not_in_what_is_shown():
    endpoint = Endpoint("m", DEFAULT_BASE_URL, SECRET)
    assert SECRET not in f"{endpoint!r} {endpoint}"
    assert endpoint.redact(f"bad key {SECRET}!") == "bad key [key]!"
    assert replace(endpoint, api_key="").redact("bad key") == "bad key"
    assert pickle.loads(pickle.dumps(endpoint)) == endpoint


def test_a_model_without_a_name():
    with pytest.raises(ConfigError, match="the name of the model is empty"):
        Endpoint(" ", DEFAULT_BASE_URL, SECRET)
