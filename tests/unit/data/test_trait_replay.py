import pytest

from persona_interp.data.trait_generation import generate_trait
from persona_interp.data.trait_replay import replaying
from persona_interp.data.traits import list_traits, load_trait
from persona_interp.endpoint.client import ChatClient, ChatRequest, Endpoint, RequestFailure
from persona_interp.errors import ConfigError

# A mirrored pole has the same texts, so its replay would be the same test.
NAMES = [name for name in list_traits() if not name.startswith("low_")]


@pytest.mark.parametrize("name", NAMES)
def test_every_trait_of_the_package_passes_the_checks_and_comes_back_whole(name: str):
    trait = load_trait(name)
    with replaying(trait) as url:
        client = ChatClient(Endpoint("replay", url, ""), in_flight=1, progress=False)
        made = generate_trait("rehearsed", "The assistant is as it was before.", client=client)
        client.close()
    assert (made.name, made.positive, made.negative) == ("rehearsed", trait.positive, trait.negative)
    assert sorted((*made.questions, *made.eval_questions)) == sorted((*trait.questions, *trait.eval_questions))
    assert len(made.questions) == len(made.eval_questions) == 20
    assert {(p.pos, p.neg) for p in made.instructions} == {(p.pos, p.neg) for p in trait.instructions}
    assert {e.question for e in made.exemplars} <= {e.question for e in trait.exemplars}


def test_other_requests_and_what_cannot_be_replayed_are_refused():
    from dataclasses import replace

    trait = load_trait("impolite")
    with replaying(trait) as url:
        client = ChatClient(Endpoint("replay", url, ""), max_retries=0, progress=False)
        reply = client.ask([ChatRequest((("user", "Hello?"),), 5)])[0]
        client.close()
        assert isinstance(reply, RequestFailure) and "400" in reply.reason
        with (
            pytest.raises(ConfigError, match=r"^port \d+ of 127\.0\.0\.1 cannot be used"),
            replaying(trait, port=int(url.split(":")[2].split("/")[0])),
        ):
            pass
    with pytest.raises(ConfigError, match=r"^impolite has no exemplars"), replaying(replace(trait, exemplars=())):
        pass
