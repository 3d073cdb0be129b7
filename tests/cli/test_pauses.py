"""Full garbage collections do not follow each other too soon, and do come again."""

import gc
import time
from collections.abc import Iterator

import pytest

from penstock.cli import pauses
from penstock.cli.pauses import NEVER, ShortPauses


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[ShortPauses]:
    monkeypatch.setattr(pauses, "WORK_PER_PAUSE", 5)
    thresholds = gc.get_threshold()
    made = ShortPauses()
    yield made
    gc.callbacks.remove(made._collected)
    gc.set_threshold(*thresholds)


def test_after_a_full_collection_there_is_none_for_a_while(short: ShortPauses) -> None:
    usual = gc.get_threshold()
    began_s = time.monotonic()
    gc.collect()
    took_s = time.monotonic() - began_s
    assert gc.get_threshold() == (*usual[:-1], NEVER)
    time.sleep(6 * took_s)
    gc.collect(0)
    assert gc.get_threshold() == usual


def test_young_objects_are_collected_meanwhile(short: ShortPauses) -> None:
    gc.collect()
    before = gc.get_stats()[0]["collections"]
    kept: list[list[object]] = [[] for _ in range(20_000)]
    assert gc.get_stats()[0]["collections"] > before
    del kept
