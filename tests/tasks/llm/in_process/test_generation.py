"""How a reply is written: until it ends, drawn by a seed, and held to a form."""

import json
import re
from dataclasses import replace

import pytest

from tasks.llm.request import Message, Request
from tests.tasks.llm.in_process.models import (
    answers,
    engine,
    plain_logprobs,
    plainly_written,
    replies,
    tokenizer,
)

ASKED = Request("1", messages=(Message("user", "Which of these is it?"),), max_tokens=30)


def drawn(seed: int | None, temperature: float = 1.0) -> Request:
    """A question whose reply is drawn."""
    return replace(ASKED, key=f"{seed}", seed=seed, temperature=temperature)


def test_a_reply_ends_before_a_text_that_ends_it() -> None:
    """Whichever of them comes first; the tokens that spell it are written and counted."""
    made = engine()
    (whole,) = replies(made, ASKED)
    late, early = whole.text[12:15], whole.text[6:9]
    place = min(whole.text.find(late), whole.text.find(early))
    (cut,) = replies(made, replace(ASKED, stop=(late, early), top_logprobs=0))
    assert (whole.text[:place], "stop") == (cut.text, cut.finish_reason)
    assert "".join(token.token for token in cut.completion).startswith(cut.text)
    assert len(cut.completion) == cut.usage.completion_tokens
    assert "length" == whole.finish_reason


def test_a_token_that_ends_a_reply_is_counted_and_not_shown() -> None:
    """As vLLM has it: its text is among those of the log-probabilities."""
    made = engine()
    written, _ = plainly_written(made.prompts.ids(ASKED), 30)
    made.ends = frozenset({written[4]})
    (reply,) = replies(made, replace(ASKED, top_logprobs=1))
    end = next(place for place, token in enumerate(written) if token == written[4])
    assert (tokenizer().decode(written[:end]), "stop") == (reply.text, reply.finish_reason)
    assert end + 1 == reply.usage.completion_tokens == len(reply.completion)


def test_the_same_seed_draws_the_same_reply() -> None:
    """In any company; other seeds draw others, and so does no seed."""
    alone = [replies(engine(), drawn(seed))[0].text for seed in (1, 2)]
    together = replies(engine(), *(drawn(seed) for seed in (3, 2, 1)))
    assert alone == [together[2].text, together[1].text]
    assert 3 == len({reply.text for reply in together})
    assert replies(engine(), drawn(None))[0].text != replies(engine(), drawn(None))[0].text


def test_a_low_temperature_draws_the_likeliest() -> None:
    """As greedily, while a high one leaves them."""
    (greedy,) = replies(engine(), ASKED)
    cold, hot = replies(engine(), drawn(1, 1e-3), drawn(1, 5.0))
    assert cold.text == greedy.text != hot.text


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    """By the share of draws at the first token, within four standard errors."""
    made = engine(batch_tokens=4000)
    asked = [replace(drawn(seed), max_tokens=1, top_logprobs=1) for seed in range(400)]
    first = [reply.completion[0] for reply in replies(made, *asked)]
    likeliest = plain_logprobs(made.prompts.ids(ASKED))[-1].exp().max().item()
    share = sum(token.token in token.top for token in first) / len(first)
    assert 0.02 < likeliest < 0.98
    assert share == pytest.approx(likeliest, abs=4 * (likeliest * (1 - likeliest) / len(first)) ** 0.5)


FORMS = {
    "choices": {"choices": ("yes", "no", "no one", "ye.s")},
    "labels": {"pattern": r"\[[01](, [01]){4}\]"},
    "number": {"pattern": "[0-9]|10"},
    "object": {
        "schema": json.dumps(
            {
                "type": "object",
                "properties": {
                    "labels": {"type": "array", "items": {"enum": [0, 1]}, "minItems": 3, "maxItems": 3},
                    "kind": {"type": "string", "enum": ["token", "topic"]},
                },
                "required": ["labels", "kind"],
                "additionalProperties": False,
            }
        )
    },
}


@pytest.mark.parametrize("temperature", [0.0, 3.0])
@pytest.mark.parametrize("name", FORMS)
def test_a_reply_has_the_form_that_it_is_held_to(name: str, temperature: float) -> None:
    """A model of random weights, whatever it draws; it ends by itself, and beside others that are held to nothing."""
    form = FORMS[name]
    held = [
        replace(ASKED, key=str(seed), temperature=temperature, seed=seed, max_tokens=60, **form)
        for seed in range(6)
    ]
    given = answers(engine(), *held, ASKED, drawn(1))
    assert ["structured_outputs"] * 6 + [None] * 2 == [answer.structured for answer in given]
    for answer in given[:6]:
        assert answer.reply
        text = answer.reply.text
        assert "stop" == answer.reply.finish_reason
        if "choices" in form:
            assert text in form["choices"]
        elif "pattern" in form:
            assert re.fullmatch(str(form["pattern"]), text)
        else:
            value = json.loads(text)
            assert text == json.dumps(value, separators=(",", ":"))
            assert 3 == len(value["labels"])


def test_log_probabilities_of_a_held_reply_are_among_what_the_form_allows() -> None:
    """Their shares are those that the model gives freely after the same tokens; what is forced is certain."""
    made = engine()
    (reply,) = replies(made, replace(ASKED, **FORMS["labels"], top_logprobs=20))
    number = {tokenizer().decode([token]): token for token in range(len(tokenizer()))}
    ids, choices = made.prompts.ids(ASKED), 0
    for token in reply.completion:
        if len(token.top) > 1:
            chances = plain_logprobs(ids)[-1][[number[text] for text in token.top]]
            assert chances.log_softmax(-1).tolist() == pytest.approx([*token.top.values()], abs=1e-4)
            assert chances.exp().sum() < 0.9
            choices += 1
        else:
            assert {token.token: 0.0} == token.top
        ids = [*ids, number[token.token]]
    assert choices >= 5


def test_what_is_forced_takes_no_pass_of_its_own() -> None:
    """A list of five labels takes as many passes as it has choices."""
    made = engine()
    passes = []
    go_on = made.network.go_on
    made.network.go_on = lambda ids: (passes.append(len(ids)), go_on(ids))[1]  # type: ignore[method-assign]
    (reply,) = replies(made, replace(ASKED, **FORMS["labels"]))
    assert re.fullmatch(r"\[[01](, [01]){4}\]", reply.text)
    assert len(passes) < (reply.usage.completion_tokens or 0) / 2


@pytest.mark.parametrize("form", [{"pattern": "(?=a)b("}, {"schema": '{"type": "nonsense"}'}])
def test_a_form_that_cannot_be_used_is_left_out(form: dict[str, str]) -> None:
    """As with servers: the reply comes without, and the request log says so."""
    free, held = answers(engine(), ASKED, replace(ASKED, key="2", **form))
    assert "plain" == held.structured
    assert free.reply
    assert held.reply
    assert free.reply.text == held.reply.text


def test_plain_text_ends_where_the_other_speaks() -> None:
    """Turns have names before them, and a reply ends before the next."""
    made = engine(chat="plain")
    chat = replace(
        ASKED,
        messages=(
            Message("system", "Answer."),
            Message("user", "a"),
            Message("assistant", "b"),
            Message("user", "c"),
        ),
    )
    text = tokenizer().decode(made.prompts.ids(chat), skip_special_tokens=True)
    assert "Answer.\n\nUser: a\n\nAssistant: b\n\nUser: c\n\nAssistant:" == text
    assert ("x", "\nUser:") == made.prompts.stops(replace(chat, stop=("x",)))
    assert () == made.prompts.stops(replace(chat, choices=("1",)))
    assert () == made.prompts.stops(Request("1", prompt="a"))
