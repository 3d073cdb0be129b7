"""The harness finds out about servers that break their promises, each of them, and says which promise it was."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.robustness.campaign import launcher
from tests.robustness.runs.campaign import Campaign
from tests.robustness.runs.checker import kinds, violations
from tests.robustness.runs.faults import freeze
from tests.robustness.runs.mutants import VARIABLE, mutants
from tests.robustness.runs.plan import How, Later
from tests.robustness.stores import ServerStore, Store

from penstock.v1.flow_pb2 import InvokeOptions

LASTING_S = 1.5
PLAIN: Mapping[str, Any] = {"on_busy": InvokeOptions.QUEUE, "leaves_s": None, "cancel": None, "flow": "tell"}
LONG: Mapping[str, Any] = {**PLAIN, "how": How.STREAM, "tokens": 60, "pace_ms": 40, "simple": False}
IN_THE_MIDDLE = Later(after_s=0.6, at=1)


async def test_calm(campaign: Callable[..., Campaign]) -> None:
    """Without a mutant, what follows finds nothing."""
    assert not await _calm(campaign("", given={**LONG, "cancel": IN_THE_MIDDLE}))


async def test_dropped_unique_key(campaign: Callable[..., Campaign]) -> None:
    assert "execution" in await _calm(campaign("drop_the_unique_key"))


async def test_swallowed_cancel(campaign: Callable[..., Campaign]) -> None:
    assert "cancel" in await _calm(campaign("swallow_a_cancel", given={**LONG, "cancel": IN_THE_MIDDLE}))


async def test_batch_that_is_delivered_twice(campaign: Callable[..., Campaign]) -> None:
    given = {**PLAIN, "how": How.STREAM, "tokens": 16, "pace_ms": 10, "watchers": [Later(after_s=1.0, at=1, back=5)]}
    assert "events" in await _calm(campaign("deliver_a_batch_twice", given=given))


async def test_nobody_waits(campaign: Callable[..., Campaign]) -> None:
    assert "turns" in await _calm(campaign("let_nobody_wait", given={**LONG, "flow": "chat"}))


@pytest.mark.parametrize(
    ("mutant", "promise", "given"),
    [
        ("acknowledge_before_the_commit", "end", PLAIN),
        ("forget_the_reservation", "events", LONG),
        ("tell_the_end_before_it_is_stored", "end", PLAIN),
        ("forget_what_was_said", "kept", LONG),
    ],
)
async def test_killed(campaign: Callable[..., Campaign], mutant: str, promise: str, given: Mapping[str, Any]) -> None:
    hurt = campaign(mutant, given=given)
    async with hurt.running():
        async with hurt.traffic() as traffic:
            await traffic.steady()
            await hurt.instances[0].kill()
            await hurt.instances[0].start()
        assert promise in await _found(hurt)


async def test_ignored_attempt(tmp_path: Path, database_of: Callable[[str], ServerStore]) -> None:
    hurt = _campaign(
        tmp_path, database_of("postgresql"), "ignore_the_attempt", instances=2, given={**LONG, "tokens": 120}
    )
    async with hurt.running():
        async with hurt.traffic() as traffic:
            await traffic.steady()
            await freeze(hurt, hurt.instances[1])
            await asyncio.sleep(LASTING_S)
        assert "end" in await _found(hurt)


def test_every_mutant_is_tried() -> None:
    tried = Path(__file__).read_text()
    assert [each.__name__ for each in mutants() if f'"{each.__name__}"' not in tried] == []


@pytest.fixture
def campaign(tmp_path: Path, store_of: Callable[[str], Store]) -> Callable[..., Campaign]:
    """Makes a campaign against one instance of a mutant, or of the real server."""
    return lambda mutant, **more: _campaign(tmp_path, store_of("sqlite"), mutant, **more)


def _campaign(folder: Path, store: Store, mutant: str, **more: Any) -> Campaign:
    if mutant:
        more |= {"program": launcher("tests.robustness.runs.mutants"), "env": {VARIABLE: mutant}}
    return Campaign(folder, store.url, **more)


async def _calm(campaign: Campaign) -> set[str]:
    """The promises that are broken though nothing befalls anybody."""
    async with campaign.running():
        async with campaign.traffic() as traffic:
            await traffic.steady()
            await asyncio.sleep(LASTING_S)
        return await _found(campaign)


async def _found(campaign: Campaign) -> set[str]:
    broken = violations(campaign.history, await campaign.found())
    print(*broken[:5], sep="\n")
    return kinds(broken)
