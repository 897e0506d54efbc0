"""Sends requests with the settings that a reader's servers accept, learned from the settings that they reject.

A rejection costs nothing, and one per setting is enough: a setting that one server rejects is sent to none any more.
"""

from collections.abc import Sequence
from dataclasses import replace

from tasks.llm.base import Finding, Note
from tasks.llm.openai.config import OpenAIConfig
from tasks.llm.openai.decode import DeclinedReply, decode
from tasks.llm.openai.encode import encode
from tasks.llm.openai.parameters import Parameters, explained
from tasks.llm.openai.retry import CallResult, RetryingClient
from tasks.llm.request import Reply, Request, Structured


class Sender:
    """Encodes requests to one reader and decodes the answers."""

    def __init__(self, reader: OpenAIConfig, note: Note) -> None:
        """Start with the settings that the reader's config gives for its servers."""
        self._reader, self._note = reader, note
        self._parameters = reader.parameters

    async def send(
        self,
        carrier: RetryingClient,
        requests: Sequence[Request],
        way: Structured = "plain",
        attempts: int | None = None,
    ) -> CallResult:
        """Send one request, or several that are `alike`; resend them without each setting that is rejected.

        Raises EndpointsDown as the carrier does.
        """
        refused: list[str] = []
        tries, latency = 0, 0.0
        while True:
            parameters = self._parameters
            for name in refused:
                parameters = parameters.without(name)
            carried = await self._send(carrier, requests, way, parameters, attempts)
            tries, latency = tries + carried.tries, latency + carried.latency
            name = carried.parameter
            if name is None or name in refused or carried.too_long:
                break
            refused.append(name)
        if carried.replies is not None:
            self._learn(refused)
        return carried._replace(tries=tries, latency=latency)

    async def _send(
        self,
        carrier: RetryingClient,
        requests: Sequence[Request],
        way: Structured,
        parameters: Parameters,
        attempts: int | None,
    ) -> CallResult:
        try:
            call = encode(requests, self._reader.model, way, parameters)
        except UnicodeEncodeError as error:
            return CallResult(None, f"not sent, as its text is broken: {error.reason}")

        def read(body: bytes) -> Sequence[Reply | DeclinedReply]:
            replies = decode(requests, body)
            return (
                [_cut(reply, requests[0].stop) for reply in replies] if "stop" in parameters.omit else replies
            )

        return await carrier.carry(requests[0].key, call, read, len(requests), attempts)

    def _learn(self, refused: Sequence[str]) -> None:
        """Send all later requests without these settings."""
        before = self._parameters
        for name in refused:
            self._parameters = self._parameters.without(name)
        if self._parameters != before:
            line = "; ".join(explained(self._parameters, before))
            self._note(Finding("parameters", self._parameters.spelled(), line))


def _cut(reply: Reply | DeclinedReply, stop: Sequence[str]) -> Reply | DeclinedReply:
    """A reply up to the first stop sequence in it, as the server would have ended it."""
    if isinstance(reply, DeclinedReply):
        return reply
    places = [place for sequence in stop if (place := reply.text.find(sequence)) >= 0]
    return replace(reply, text=reply.text[: min(places)], finish_reason="stop") if places else reply
