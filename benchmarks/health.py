"""Asks an address again and again until its input ends; prints the slowest answer, in seconds.

A program of its own: beside the threads that make the load, it would measure how they wait for each other.
"""

import select
import sys
import time
from urllib.request import urlopen

PAUSE_S = 0.01
ANSWER_TIMEOUT_S = 30.0


def main() -> None:
    url = sys.argv[1]
    slowest_s = 0.0
    while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
        start = time.monotonic()
        with urlopen(url, timeout=ANSWER_TIMEOUT_S) as answer:
            answer.read()
        slowest_s = max(slowest_s, time.monotonic() - start)
    print(slowest_s)


if __name__ == "__main__":
    main()
