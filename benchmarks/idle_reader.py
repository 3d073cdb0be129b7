"""Opens streams of the flow `idle` and keeps them open until its input ends.

Run as `python -m benchmarks.idle_reader URL STREAMS`; it prints `open` once each has brought its first token.
"""

import re
import sys
from contextlib import ExitStack

from benchmarks.calls import stream
from benchmarks.eventstream import EventStream
from benchmarks.flows import FIRST_TOKEN

OPENED_AT_ONCE = 50
_FIRST = re.compile(FIRST_TOKEN.encode())


def main() -> None:
    url, count = sys.argv[1], int(sys.argv[2])
    request = stream("idle", {}).raw(url)
    with ExitStack() as stack:
        for start in range(0, count, OPENED_AT_ONCE):
            opened = [EventStream(url, request) for _ in range(min(OPENED_AT_ONCE, count - start))]
            for each in opened:
                stack.callback(each.close)
                each.until(_FIRST)
        print("open", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
