"""How the inputs of a call become the arguments of a flow: checked, and with what they name fetched."""

import asyncio
from collections.abc import Mapping
from functools import partial

from penstock_server.errors import InvalidRequest
from penstock_server.flows.failures import Translator
from penstock_server.flows.inputs import Inputs
from penstock_server.flows.media.fetch import Fetched, Fetcher
from penstock_server.flows.media.guard import guard_of
from penstock_server.flows.media.hints import Supply, current_supply
from penstock_server.flows.media.sources import BadMedia
from penstock_server.flows.settings import FlowSettings
from penstock_server.flows.threads import CodeRaised, Threads


class Intake:
    """Takes inputs in for one flow.

    Images and files that lie elsewhere are fetched here, before the call is accepted: a caller that names a wrong
    address is told so like one that sends a wrong type. Inputs are then checked a second time, with the content there.
    """

    def __init__(self, inputs: Inputs, threads: Threads, translator: Translator, settings: FlowSettings) -> None:
        self._inputs = inputs
        self._threads = threads
        self._translator = translator
        self._settings = settings
        self._fetcher = Fetcher(
            guard_of(settings.outbound_networks),
            bytes_max=settings.media_bytes_max,
            timeout_s=settings.fetch_timeout_s,
            fetches_max=settings.fetches_max,
        )

    async def arguments(self, values: Mapping[str, object]) -> dict[str, object]:
        """See `Flow.arguments`."""
        if not self._inputs.may_fetch:
            return self._inputs.bind(values)
        supply = Supply(self._settings.media_bytes_max)
        token = current_supply.set(supply)
        try:
            bound = await self._bound(values, supply)
            while supply.missing:  # once, unless checks of the flow's own stop at the first thing that they find
                await self._fetch_all(supply)
                bound = await self._bound(values, supply)
        finally:
            current_supply.reset(token)
        return bound

    def bind(self, values: Mapping[str, object]) -> dict[str, object]:
        """See `Flow.bind`."""
        supply = Supply(self._settings.media_bytes_max)
        token = current_supply.set(supply)
        try:
            bound = self._inputs.bind(values)
        finally:
            current_supply.reset(token)
        if supply.wanted:
            raise InvalidRequest.of([("inputs", f"{address}: is fetched in calls only") for address in supply.wanted])
        return bound

    async def _bound(self, values: Mapping[str, object], supply: Supply) -> dict[str, object]:
        if not self._inputs.has_user_code:
            return self._inputs.bind(values)
        try:
            return await self._threads.call(partial(self._inputs.bind, values))
        except CodeRaised as raised:
            if supply.missing:  # the flow's own checks have seen something empty in its place
                return {}
            if isinstance(raised.error, InvalidRequest):
                raise raised.error from None
            raise self._translator.failure(raised)  # noqa: B904 - its cause is the user's exception

    async def _fetch_all(self, supply: Supply) -> None:
        if len(supply.wanted) > self._settings.media_max:
            text = f"name {len(supply.wanted)} images and files; {self._settings.media_max} are fetched for a call"
            raise InvalidRequest.of([("inputs", text)])
        missing = supply.missing
        found = await asyncio.gather(*map(self._fetch, missing))
        supply.found.update(zip(missing, found, strict=True))
        if sum(len(each.content) for each in found if isinstance(each, Fetched)) > self._settings.media_bytes_max:
            text = f"what they name is larger than {self._settings.media_bytes_max} bytes in all"
            raise InvalidRequest.of([("inputs", text)])

    async def _fetch(self, address: str) -> Fetched | BadMedia:
        try:
            return await self._fetcher.fetch(address)
        except BadMedia as error:
            return error
