"""Simulation: what it asks, and what it takes from the answers."""

import math
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from storage.lake import Lake
from tasks.contexts.context import context
from tasks.llm.base import Reader
from tasks.llm.request import Outcome, Reply, Request, RequestKey, TokenLogprob, Unreadable
from tasks.scorers.simulation import TAB, Simulation, expected
from tests.tasks.judging import judge
from tests.tasks.snapshots import kept, rendered
from tests.tasks.toys import LIGHTHOUSE

ONCE = Simulation(kind="simulation", reader="r")
CHAT = Simulation(kind="simulation", reader="r", mode="token_by_token")
PROMPT = CHAT.model_copy(update={"route": "completion"})
TEXT_ONLY = CHAT.model_copy(update={"alternatives": None})
SNAPSHOTS = Path(__file__).parent / "snapshots"
EVERY = pytest.mark.parametrize("scorer", [ONCE, CHAT, PROMPT], ids=["once", "chat", "completion"])


def asked(scorer: Simulation, explanation: str = "Lighthouses.") -> list[Request]:
    return scorer.requests(RequestKey(7, 0, "none"), explanation, LIGHTHOUSE)


def top(**numbers: float) -> dict[str, float]:
    """Log-probabilities of numbers, named _0, _1 and so on, by their probabilities."""
    return {name.removeprefix("_"): math.log(share) for name, share in numbers.items()}


@EVERY
def test_the_prompts_are_the_ones_that_were_reviewed(scorer: Simulation) -> None:
    """A change of a rendered prompt shows in the kept copy (UPDATE_SNAPSHOTS=1 writes it)."""
    request = asked(scorer)[1]
    shown = request if not request.parts else replace(request, parts=(request.parts[0], request.parts[-1]))
    name = {"once": "", "chat": "_chat", "completion": "_completion"}
    kind = "once" if scorer.mode == "all_at_once" else scorer.route
    assert kept(SNAPSHOTS / f"simulation{name[kind]}.txt", rendered(shown)) == rendered(shown)


@EVERY
def test_only_the_end_depends_on_feature_and_explanation(scorer: Simulation) -> None:
    """All before it is the same byte for byte, so that a server's prefix cache serves it."""
    heads = set()
    for request in [*asked(scorer), *asked(scorer, "Boats.")]:
        for part in request.parts or (request,):
            heads.add(part.messages[:-1] or (part.prompt or "").rpartition("Description: ")[0])
    assert 1 == len(heads)


def test_token_by_token_each_prompt_begins_with_the_one_before() -> None:
    """A server's cache then computes every token of a context once."""
    parts = asked(PROMPT)[0].parts
    prompts = [part.prompt or "" for part in parts]
    assert all(later.startswith(earlier) for earlier, later in pairwise(prompts))
    assert asked(ONCE)[0].prompt == prompts[-1] + "?"


@given(strings=st.lists(st.text(st.sampled_from("ab\n\t\r é⏎\u2028"), max_size=4), min_size=1, max_size=9))
def test_every_token_has_one_line(strings: list[str]) -> None:
    """Whatever its text is, the number of lines and of tabs is that of the tokens, and lines tell the tokens apart."""
    shown = replace(LIGHTHOUSE.contexts[0], strings=tuple(strings))
    (request,) = ONCE.requests(RequestKey(7), "X.", replace(LIGHTHOUSE, contexts=(shown,)))
    lines = (request.prompt or "").rpartition("Description: X.\n")[2].split("\n")
    assert len(strings) == len(lines)
    assert all(line.count(TAB) == 1 and line.endswith("\t?") for line in lines)
    plain = [string for string in strings if "⏎" not in string]
    assert len(set(plain)) == len(
        {line for line, string in zip(lines, strings, strict=True) if "⏎" not in string}
    )


@pytest.mark.parametrize(
    ("alternatives", "number"),
    [
        (top(_8=0.6, _4=0.2, hot=0.2), 7.0),
        (top(_10=0.5, _0=0.5), 5.0),
        (top(_3=0.001), 3.0),
        ({" 7": math.log(0.25), "7": math.log(0.25), "1": math.log(0.5)}, 4.0),
        ({"0": 0.0, "11": 0.0, "-1": 0.0, "2.5": 0.0, "²": 0.0, "１": 0.0}, 0.0),  # noqa: RUF001  (digits of a kind)
        ({"5": -2000.0, "6": -2000.0}, 5.5),
    ],
)
def test_the_activation_is_the_mean_of_the_numbers_that_are_there(
    alternatives: dict[str, float], number: float
) -> None:
    """Scaled up to one, whatever their share is; spaces don't count, and nothing but 0 to 10 does."""
    assert number == pytest.approx(expected(alternatives, 10, "a"))


@given(st.dictionaries(st.integers(0, 10), st.floats(-50, 0), min_size=1))
def test_no_mean_leaves_the_scale(numbers: dict[int, float]) -> None:
    """It lies between the least and the greatest number that is there."""
    result = expected({str(number): logprob for number, logprob in numbers.items()}, 10, "a")
    assert isinstance(result, float)
    assert min(numbers) - 1e-9 <= result <= max(numbers) + 1e-9


def test_where_10_is_two_tokens_9_is_the_strongest() -> None:
    """Nothing above it is asked for, shown or taken."""
    nine = ONCE.model_copy(update={"highest": 9})
    prompt = asked(nine)[0].prompt or ""
    assert "to 9 (the strongest" in prompt
    assert "10" not in re.findall(r"\d+", prompt)
    assert 9.0 == expected({"9": -1.0, "10": -0.5}, 9, "a")


class Server(Reader):
    """A reader that finds 8 three times as likely as 4 after a token that ends in a."""

    async def ask(self, request: Request) -> Outcome:
        return Outcome(request, self.reply(request), None, "here", "m", 1, 0.0)

    def reply(self, request: Request) -> Reply:
        return Reply(" x", prompt=tuple(self.tokens(request.prompt or "")))

    def tokens(self, prompt: str) -> list[TokenLogprob]:
        pieces = [piece for piece in re.split(r"(\t)", prompt) if piece]
        seen = []
        for place, piece in enumerate(pieces):
            hot = place > 1 and pieces[place - 1] == TAB and pieces[place - 2].endswith("a")
            seen.append(
                TokenLogprob(piece, -1.0, top(_8=0.6, _4=0.2, hot=0.2) if hot else {"0": 0.0, "the": -9.0})
            )
        return [TokenLogprob("", None, {}), *seen[1:]]


CONTEXTS = [context("a:5| b| a:5", number) for number in range(8)] + [
    context("x| y| z", 8 + number) for number in range(3)
]
FEATURES = {3: ("The letter a.", CONTEXTS)}


def test_simulated_activations_arrive_in_the_table_token_by_token(tmp_path: Path) -> None:
    """They are neither verdicts nor values nor failures."""
    judged, scores, requests = judge(Lake(tmp_path.as_posix()), FEATURES, ONCE, Server())
    hot, cold = [pytest.approx(7.0), 0.0, pytest.approx(7.0)], [0.0] * 3
    assert {n: hot if n < 8 else cold for n in range(11)} == {
        row["context"]: row["simulated"] for row in judged
    }
    assert {("ok", None, None, None)} == {
        (row["status"], row["verdict"], row["value"], row["reason"]) for row in judged
    }
    assert [pytest.approx(1.0)] == [row["pearson"] for row in scores]
    assert 11 == len(requests)


def test_without_log_probabilities_it_fails_like_any_other(tmp_path: Path) -> None:
    """A server that sends none gives failed rows with the reason, and no score."""

    class Silent(Server):
        def reply(self, request: Request) -> Reply:
            return Reply("x")

    judged, scores, _ = judge(Lake(tmp_path.as_posix()), FEATURES, ONCE, Silent())
    assert {("failed", None)} == {(row["status"], row["simulated"]) for row in judged}
    assert [(0, 11, None)] == [(row["n"], row["n_failed"], row["pearson"]) for row in scores]


class Joining(Server):
    """Its tokenizer takes a tab together with what follows it."""

    def tokens(self, prompt: str) -> list[TokenLogprob]:
        return [TokenLogprob(piece, -1.0, {"0": 0.0}) for piece in re.split(r"(?=\t)", prompt)]


class Wordless(Server):
    """It finds no number likely."""

    def tokens(self, prompt: str) -> list[TokenLogprob]:
        return [token._replace(top={"the": -1.0}) for token in super().tokens(prompt)]


class Cut(Server):
    """It tells of all tokens but the last."""

    def tokens(self, prompt: str) -> list[TokenLogprob]:
        return super().tokens(prompt)[:-1]


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (Joining(), "joins a tab with what follows"),
        (Wordless(), "no number from 0 to 10 among the likeliest tokens"),
        (Cut(), "don't spell the prompt"),
    ],
)
def test_a_table_that_cannot_be_read_is_no_simulation(server: Server, reason: str) -> None:
    """The context fails with the reason."""
    request = asked(ONCE)[0]
    with pytest.raises(Unreadable, match=reason):
        ONCE.read(request, server.reply(request))


class Halting(Server):
    """It finds no number likely at some tabs of the live table, counted from its end."""

    def __init__(self, *places: int) -> None:
        self.places = places

    def tokens(self, prompt: str) -> list[TokenLogprob]:
        seen = super().tokens(prompt)
        tabs = [place for place, item in enumerate(seen) if item.token == TAB]
        for place in self.places:
            seen[tabs[-place] + 1] = seen[tabs[-place] + 1]._replace(top={"the": -1.0})
        return seen


def test_a_token_without_a_number_is_left_out_and_counted() -> None:
    """The others are what they are without it."""
    request = asked(ONCE)[0]
    (whole,) = ONCE.read(request, Server().reply(request))
    (row,) = ONCE.read(request, Halting(2, 4).reply(request))
    assert (0, 2) == (whole.missing, row.missing)
    assert [place in (1, 3) for place in range(5)] == [item is None for item in row.simulated or ()]
    assert [item for n, item in enumerate(whole.simulated or ()) if n not in (1, 3)] == [
        item for item in row.simulated or () if item is not None
    ]


def test_most_tokens_must_have_a_number() -> None:
    """A correlation of fewer would be of something else; how many have none is in the reason."""
    request = asked(ONCE)[0]
    with pytest.raises(Unreadable, match="3 of 5 tokens have no number; the first: no number from 0 to 10"):
        ONCE.read(request, Halting(1, 3, 5).reply(request))


def test_missing_tokens_arrive_in_the_table_and_in_no_correlation(tmp_path: Path) -> None:
    """Judgements that have some are no failures."""
    judged, scores, _ = judge(Lake(tmp_path.as_posix()), FEATURES, ONCE, Halting(3))
    assert {("ok", 1)} == {(row["status"], row["missing"]) for row in judged}
    assert all(row["simulated"][0] is None and row["simulated"][1] is not None for row in judged)
    assert [(11, 0, pytest.approx(1.0))] == [(row["n"], row["n_failed"], row["pearson"]) for row in scores]


class Splitting(Server):
    """Its tokenizer takes 10 apart."""

    def tokens(self, prompt: str) -> list[TokenLogprob]:
        seen = super().tokens(prompt)
        apart: list[TokenLogprob] = []
        for item in seen:
            pieces = ["1", "0", item.token[2:]] if item.token[:2] == "10" else [item.token]
            apart += [item._replace(token=piece) for piece in pieces if piece]
        return apart


def test_a_reader_that_cannot_say_10_in_one_token_is_not_taken_at_its_word() -> None:
    """Its 1 may be a 10: it is refused by what it replies to an example, and every context fails all the same."""
    request = asked(ONCE)[0]
    assert ONCE.unfit(request, Server().reply(request)) is None
    reply = Splitting().reply(request)
    assert "takes 10 apart" in (ONCE.unfit(request, reply) or "")
    with pytest.raises(Unreadable, match="set highest: 9"):
        ONCE.read(request, reply)
    nine = ONCE.model_copy(update={"highest": 9})
    (request,) = asked(nine)[:1]
    assert nine.unfit(request, Splitting().reply(request)) is None
    (row,) = nine.read(request, Splitting().reply(request))
    assert 0 == row.missing


def generated(*tokens: tuple[str, dict[str, float]]) -> Reply:
    """A reply of these tokens with their alternatives."""
    completion = tuple(TokenLogprob(text, -0.1, alternatives) for text, alternatives in tokens)
    return Reply("".join(text for text, _ in tokens), completion=completion)


def test_a_chat_is_asked_for_one_number_at_a_time() -> None:
    """With the text up to the token; the expected number is taken at the first number that it says."""
    request = asked(CHAT)[0]
    assert [f"7/0/none/0/{place}" for place in range(5)] == [part.key for part in request.parts]
    assert [place + 1 for place in range(5)] == [
        part.messages[-1].text.count("\t?") for part in request.parts
    ]
    assert {20} == {part.top_logprobs for part in request.parts}
    plain, spaced = generated(("2", top(_2=0.5, _4=0.5))), generated((" ", {"7": -9.0}), ("6", top(_6=1.0)))
    (row,) = CHAT.read(request, Reply("", parts=(plain, spaced, plain, spaced, plain)))
    assert [3.0, 6.0, 3.0, 6.0, 3.0] == pytest.approx(list(row.simulated or ()))


def test_a_chat_without_log_probabilities_is_taken_at_its_word() -> None:
    """The number that it says is the activation."""
    request = asked(TEXT_ONLY)[0]
    assert {None} == {part.top_logprobs for part in request.parts}
    message = ("0", " 7\n", "It is 3.", "10", "2.5")
    (row,) = TEXT_ONLY.read(request, Reply("", parts=tuple(Reply(text) for text in message)))
    assert (0.0, 7.0, 3.0, 10.0, 2.5) == row.simulated


@pytest.mark.parametrize("text", ["", "none", "11", "100 percent"])
def test_a_reply_without_a_number_of_the_scale_is_none(text: str) -> None:
    """One is left out; more than half of them spoil the context."""
    request = asked(TEXT_ONLY)[0]
    (row,) = TEXT_ONLY.read(request, Reply("", parts=(*[Reply("1")] * 4, Reply(text))))
    assert ((1.0, 1.0, 1.0, 1.0, None), 1) == (row.simulated, row.missing)
    with pytest.raises(Unreadable, match=r"3 of 5 tokens have no number; .* in the reply to 7/0/none/0/2"):
        TEXT_ONLY.read(request, Reply("", parts=(*[Reply("1")] * 2, *[Reply(text)] * 3)))


def test_a_chat_that_says_no_number_has_none_whatever_its_alternatives() -> None:
    """They would be those of another question."""
    request = asked(CHAT)[0]
    words = generated(("I", top(_7=0.1)), (" think", top(_7=0.1)))
    with pytest.raises(Unreadable, match="no number from 0 to 10 among the likeliest"):
        CHAT.read(request, Reply("", parts=(words,) * 5))


def test_a_number_in_thoughts_is_no_activation() -> None:
    """Neither the one that is said nor the alternatives beside it; the one after them is."""
    thoughts: list[tuple[str, dict[str, float]]] = [("<think>", {}), ("\n", {}), ("8", top(_8=1.0))]
    after: list[tuple[str, dict[str, float]]] = [("</think>", {}), ("2", top(_2=1.0))]
    for scorer in (CHAT, TEXT_ONLY):
        request = asked(scorer)[0]
        cut = replace(generated(*thoughts), finish_reason="length")
        with pytest.raises(Unreadable, match="cut off inside its thoughts, at max_tokens"):
            scorer.read(request, Reply("", parts=(cut,) * 5))
        (row,) = scorer.read(request, Reply("", parts=(generated(*thoughts, *after),) * 5))
        assert (2.0,) * 5 == row.simulated


@pytest.mark.parametrize("scorer", [CHAT, PROMPT], ids=["chat", "completion"])
def test_a_trial_shows_whether_10_is_one_token(scorer: Simulation) -> None:
    """One request that a 10 answers; where the reader says something else, nothing is known."""
    (trial,) = scorer.trials(RequestKey(0, "example"))
    split, whole, other = generated(("1", {}), ("0", {})), generated(("10", {})), generated(("1", {}))
    assert "set highest: 9" in (scorer.unfit(trial, split) or "")
    assert (None, None) == (scorer.unfit(trial, whole), scorer.unfit(trial, other))
    assert [] == scorer.model_copy(update={"highest": 9}).trials(RequestKey(0, "example"))
    assert [] == TEXT_ONLY.trials(RequestKey(0, "example"))
    assert [] == ONCE.trials(RequestKey(0, "example"))


def test_a_chat_that_says_10_in_two_tokens_fails() -> None:
    """The first of them is not 1; where nobody looks at tokens nothing is amiss."""
    request = asked(CHAT)[0]
    parts = (generated(("1", top(_1=0.9)), ("0", top(_0=0.9))), *[generated(("2", top(_2=0.9)))] * 4)
    with pytest.raises(Unreadable, match="takes 10 apart"):
        CHAT.read(request, Reply("", parts=parts))
    (row,) = TEXT_ONLY.read(asked(TEXT_ONLY)[0], Reply("", parts=parts))
    assert (10.0, 2.0, 2.0, 2.0, 2.0) == row.simulated


def test_all_at_once_cannot_do_without_alternatives() -> None:
    """The config is refused."""
    with pytest.raises(ValidationError, match="alternatives is null, and all_at_once reads nothing else"):
        Simulation(kind="simulation", reader="r", alternatives=None)
