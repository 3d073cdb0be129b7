"""How long a reader waits for a page, and for what a search finds, in a store that holds years of chats."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count, cycle, islice
from random import Random
from typing import Any, TypeVar

import grpc

from benchmarks.calls import ANSWER_TIMEOUT_S, WrongAnswer
from benchmarks.cores import LOAD_CORE, PROXY_CORE, SERVER_CORE
from benchmarks.history_fill import CHINESE, COMMON, PHRASE, RARE_EVERY, TURNS, WORDS, Sessions, rare, user
from benchmarks.sample import Sample
from benchmarks.subjects import TOKEN, Fleet
from penstock.v1.history_pb2 import ListMessagesRequest, SearchMessagesRequest
from penstock.v1.history_pb2_grpc import HistoryServiceStub

PAGE_SIZE = 50
LISTS = 500
SEARCHES = 60
T = TypeVar("T")

METADATA = (("authorization", f"Bearer {TOKEN}"),)


def stored(messages: int) -> Sessions:
    """The sessions that hold so many messages."""
    return Sessions(prefix="p", count=messages // (2 * TURNS))


@dataclass(frozen=True, kw_only=True)
class Pages:
    """Milliseconds for a list page of 50, the P99; for each kind of search its P95 (`rare_ms` and so on)."""

    name: str
    title: str
    subjects: tuple[str, ...]
    messages: int
    unit: str = "ms"
    _random: Random = field(default_factory=lambda: Random(1))

    def measure(self, fleet: Fleet, subject: str) -> Sample:
        """See `Benchmark`. One caller, whose calls follow one another."""
        sessions = stored(self.messages)
        target = fleet.filled(subject, sessions)
        cores = target.pin((SERVER_CORE, PROXY_CORE))
        with grpc.insecure_channel(target.grpc) as channel:
            stub: Any = HistoryServiceStub(channel)
            chosen = (sessions.id(self._random.randrange(sessions.count)) for _ in count())
            list_ms = _times_ms(LISTS, partial(_list, stub), chosen)
            searches_ms = {
                f"{kind}_ms": _percentile(_times_ms(SEARCHES, partial(_search, stub), requests), 95)
                for kind, requests in self._searches(sessions)
            }
        details = {"list_median_ms": statistics.median(list_ms), "search_ms": max(searches_ms.values()), **searches_ms}
        return Sample(value=_percentile(list_ms, 99), details=details, cores={**cores, "load": LOAD_CORE})

    def _searches(self, sessions: Sessions) -> Iterator[tuple[str, Iterator[SearchMessagesRequest]]]:
        rare_words = [rare(number) for number in range(self.messages // RARE_EVERY)]
        chosen = self._random.sample(rare_words, min(SEARCHES, len(rare_words)))
        asked = [sessions.id(self._random.randrange(sessions.count)) for _ in range(SEARCHES)]
        owners = [user(self._random.randrange(sessions.count)) for _ in range(SEARCHES)]
        yield "rare", cycle(SearchMessagesRequest(query=word) for word in chosen)
        yield "common", cycle([SearchMessagesRequest(query=COMMON)])
        yield "two_words", cycle(SearchMessagesRequest(query=f"{COMMON} {word}") for word in WORDS)
        yield "chinese_pair", cycle([SearchMessagesRequest(query=CHINESE[:2])])
        yield "chinese", cycle([SearchMessagesRequest(query=CHINESE)])
        yield "chinese_phrase", cycle([SearchMessagesRequest(query=PHRASE)])
        yield "chinese_and_word", cycle(SearchMessagesRequest(query=f"{CHINESE} {word}") for word in WORDS)
        yield "user", cycle(SearchMessagesRequest(query=COMMON, user=owner) for owner in owners)
        yield "session", cycle(SearchMessagesRequest(query=COMMON, session=session) for session in asked)


def _times_ms(calls: int, call: Callable[[T], None], asked: Iterator[T]) -> list[float]:
    call(next(asked))  # the first one finds cold caches in the client, too
    times = []
    for request in islice(asked, calls):
        start = time.perf_counter()
        call(request)
        times.append(1000 * (time.perf_counter() - start))
    return times


def _list(stub: Any, session: str) -> None:
    request = ListMessagesRequest(session=session, page_size=PAGE_SIZE)
    if len(stub.ListMessages(request, metadata=METADATA, timeout=ANSWER_TIMEOUT_S).messages) != PAGE_SIZE:
        raise WrongAnswer(f"session {session} has no {PAGE_SIZE} messages")


def _search(stub: Any, request: SearchMessagesRequest) -> None:
    request.page_size = PAGE_SIZE
    found = stub.SearchMessages(request, metadata=METADATA, timeout=ANSWER_TIMEOUT_S).messages
    if not found or not all(word in message.text for message in found for word in request.query.split()):
        raise WrongAnswer(f"{len(found)} messages were found for {request}")


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
