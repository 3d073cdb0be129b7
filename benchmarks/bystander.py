"""How long other callers wait while something goes on."""

import http.client
import time
from urllib.parse import urlsplit

from benchmarks.calls import ANSWER_TIMEOUT_S, WrongAnswer, run
from benchmarks.subjects import Subject

PAUSE_S = 0.01
CALLS_WARM_UP = 50


def p99_ms(target: Subject, seconds: float) -> float:
    """The P99 of unary calls, each of which is stored where the service stores, one by one for so long."""
    call = run()
    headers = dict(call.headers)
    connection = http.client.HTTPConnection(urlsplit(target.http).netloc, timeout=ANSWER_TIMEOUT_S)
    times_s: list[float] = []
    end_s = time.monotonic() + seconds
    try:
        while time.monotonic() < end_s or len(times_s) <= CALLS_WARM_UP:
            time.sleep(PAUSE_S)
            start_s = time.perf_counter()
            connection.request("POST", call.path, call.body, headers)
            response = connection.getresponse()
            body = response.read()
            times_s.append(time.perf_counter() - start_s)
            if response.status != http.client.OK:
                raise WrongAnswer(f"{target.name}, meanwhile: {response.status} {body[:500]!r}")
    finally:
        connection.close()
    ordered = sorted(times_s[CALLS_WARM_UP:])
    return 1000 * ordered[len(ordered) * 99 // 100]
