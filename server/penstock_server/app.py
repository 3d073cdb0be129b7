"""The composition root: puts a server together from its config and its flows, starts it, drains it, stops it."""

import logging
from collections.abc import Sequence

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import _async as reflection
from grpc_reflection.v1alpha import reflection_pb2_grpc

from penstock.v1 import flow_pb2_grpc, history_pb2_grpc, run_pb2_grpc
from penstock_server.auth import Authenticator
from penstock_server.config import ServerConfig
from penstock_server.door import Door
from penstock_server.errors import StoreUnavailable
from penstock_server.flows.flow import Flow
from penstock_server.history.history import History
from penstock_server.history.sweeper import Sweeper, SweepSettings
from penstock_server.inprocess.channel import InProcessChannel
from penstock_server.interceptors import Guard, Limits
from penstock_server.listener import CannotListen, Listener
from penstock_server.methods import REFLECTION_SERVICE, Methods, open_methods, schema_methods
from penstock_server.runs.queue import QueueSettings
from penstock_server.runs.runs import Runs, RunSettings
from penstock_server.services.flow import FlowService
from penstock_server.services.history import HistoryService
from penstock_server.services.runs import RunService
from penstock_server.store.store import Store
from penstock_server.telemetry import server_interceptors

logger = logging.getLogger("penstock.server")

STOP_GRACE_S = 1.0
"""How long calls may take to send their last status once the runs are over."""


class StartError(Exception):
    """The server cannot start; the message says why and what to do."""


class Server:
    """A gRPC server of flows.

    Args:
        flows: the flows to serve, the default flow first; at least one.
        tokens: the bearer tokens that callers may present; none lets every caller in.
        store: where runs and what is said in them are kept, open; None keeps nothing. The server closes it.
    """

    def __init__(
        self, config: ServerConfig, flows: Sequence[Flow], tokens: Sequence[str], store: Store | None = None
    ) -> None:
        self._config = config
        self._flows = list(flows)
        self._store = store
        self._sweeper = None if store is None else Sweeper(store.retention, _sweep_settings(config))
        self._health = health.HealthServicer()
        self._runs = Runs(
            {flow.spec.flow: flow for flow in self._flows},
            RunSettings(
                run_window_bytes=config.run_window_bytes,
                run_log_bytes_max=config.run_log_bytes_max,
                history=config.history,
                history_rounds_max=config.history_rounds_max,
                session_queue_max=config.session_queue_max,
                disconnect_grace_s=config.disconnect_grace_s,
                lease_s=config.lease_s,
                queue=QueueSettings(
                    runs_max=config.runs_max,
                    user_runs_max=config.user_runs_max,
                    queue_max=config.queue_max,
                    queue_wait_s=config.queue_wait_s,
                ),
            ),
            store,
        )
        self._interceptors = server_interceptors() if config.telemetry else []
        self._methods = self._register()
        probes = open_methods()
        public = probes | schema_methods() if config.schema_public else probes
        self._door = Door(self._methods, Authenticator(tokens), public=public, probes=probes)
        self._channels: list[InProcessChannel] = []
        self._listener: Listener | None = None
        self.address = config.grpc
        """Where the server listens, with the port that it was given; known after `start`."""

    async def start(self, *, listen: bool = True, share_port: bool = False) -> None:
        """Begins to answer: on its address, and in process through `channel`.

        Args:
            listen: False opens no socket at all.
            share_port: let other processes of this user listen on the port as well; each connection is then one's.

        Raises:
            StartError: the address cannot be listened on, or the store does not answer.
        """
        try:
            await self._runs.begin()
        except StoreUnavailable as failure:
            raise StartError(failure.message) from None
        if listen:
            await self._listen(share_port)
        if self._sweeper is not None:
            self._sweeper.start()
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)

    def channel(self) -> grpc.aio.Channel:
        """A channel to this server that needs no socket and serializes nothing. The server closes it when it stops."""
        channel = InProcessChannel(
            self._door,
            interceptors=self._interceptors,
            message_bytes_max=self._config.message_bytes_max,
            metadata_bytes_max=self._config.metadata_bytes_max,
        )
        self._channels.append(channel)
        return channel

    @property
    def runs_live(self) -> int:
        """How many runs have been accepted and have not ended."""
        return self._runs.live

    async def drain(self) -> None:
        """Refuses new calls and lets live runs finish within `drain_s`; interrupts the rest."""
        self._door.draining = True
        await self._health.enter_graceful_shutdown()
        await self._runs.drain(self._config.drain_s)

    async def stop(self) -> None:
        """Drains, closes every connection, and lets go of the flows."""
        if not self._door.draining:
            await self.drain()
        if self._listener is not None:
            await self._listener.stop(STOP_GRACE_S)
        for channel in self._channels:
            await channel.close(STOP_GRACE_S)
        for flow in self._flows:
            await flow.close()
        if self._sweeper is not None:
            await self._sweeper.stop()
        await self._runs.close()
        if self._store is not None:
            await self._store.close()

    def _register(self) -> Methods:
        config = self._config
        limits = Limits(
            message_bytes_max=config.message_bytes_max,
            answer_bytes_max=config.answer_bytes_max,
            calls_max=config.calls_max,
        )
        methods = Methods(Guard(limits, probes=open_methods()))
        service = FlowService(self._flows, self._runs, config.write_timeout_s)
        flow_pb2_grpc.add_FlowServiceServicer_to_server(service, methods)  # type: ignore[arg-type]
        runs = RunService(self._runs, config.write_timeout_s)
        run_pb2_grpc.add_RunServiceServicer_to_server(runs, methods)  # type: ignore[arg-type]
        history = HistoryService(History(self._store), config.answer_bytes_max)
        history_pb2_grpc.add_HistoryServiceServicer_to_server(history, methods)  # type: ignore[arg-type]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, methods)
        names = (*methods.services, REFLECTION_SERVICE)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection.ReflectionServicer(names), methods)
        return methods

    async def _listen(self, share_port: bool) -> None:
        self._listener = Listener(self._config, self._door, self._interceptors, share_port=share_port)
        try:
            await self._listener.start()
        except CannotListen as error:
            raise StartError(str(error)) from error
        self.address = self._listener.address

    async def _set_health(self, status: "health_pb2.HealthCheckResponse.ServingStatus.ValueType") -> None:
        for service in ("", self._config.service, *self._methods.services):
            await self._health.set(service, status)


def _sweep_settings(config: ServerConfig) -> SweepSettings:
    return SweepSettings(
        history_keep_days=config.history_keep_days,
        idempotency_window_s=config.idempotency_window_s,
        resume_window_s=config.resume_window_s,
        sweep_interval_s=config.sweep_interval_s,
    )
