"""`penstock.v1.HistoryService`: the wire's messages to the domain and back."""

from collections.abc import AsyncIterator
from typing import Any, Protocol, TypeVar

from penstock.v1 import history_pb2, history_pb2_grpc
from penstock.values import InvalidValue, from_struct
from penstock_server.errors import InvalidRequest
from penstock_server.history.export import ExportFilter
from penstock_server.history.history import History
from penstock_server.services.historymessages import message_message, session_message
from penstock_server.services.pages import KEYS, ROLES, TURNS, page_size, page_token, position
from penstock_server.services.requests import required, scope, status
from penstock_server.services.room import Room
from penstock_server.services.times import time_range
from penstock_server.store.records import (
    MessageFilter,
    MessageRecord,
    Rating,
    SearchFilter,
    SessionChange,
    SessionFilter,
    SessionOrder,
)

T = TypeVar("T")
Context = Any  # grpc.aio.ServicerContext, or the in-process one

SESSION_ORDERS = {
    "": SessionOrder.NEWEST,
    "create_time desc": SessionOrder.NEWEST,
    "update_time desc": SessionOrder.LAST_UPDATED,
}
NEWEST_FIRST = {"": False, "create_time": False, "create_time desc": True}
CHANGEABLE = ("title", "metadata", "retention_days")


class HistoryService(history_pb2_grpc.HistoryServiceServicer):
    """Reads and changes what was said.

    Args:
        history: does what is asked.
        answer_bytes_max: the largest message that is sent.
    """

    def __init__(self, history: History, answer_bytes_max: int) -> None:
        self._history = history
        self._room = Room(answer_bytes_max)

    async def ListSessions(
        self, request: history_pb2.ListSessionsRequest, context: Context
    ) -> history_pb2.ListSessionsResponse:
        """Pages through sessions (AIP-132, AIP-158)."""
        wanted = SessionFilter(
            scope=scope(request.user),
            flow=request.flow,
            updated=time_range(request),
            order=_chosen(SESSION_ORDERS, request.order_by),
        )
        numbers = (KEYS, KEYS) if wanted.order is SessionOrder.LAST_UPDATED else (KEYS,)
        after = position(wanted, request.page_token, numbers)
        return await self._room.page(
            page_size(request.page_size),
            lambda size: self._history.sessions(wanted, after, size),
            lambda page: history_pb2.ListSessionsResponse(
                sessions=map(session_message, page.items), next_page_token=page_token(wanted, page.next)
            ),
        )

    async def GetSession(self, request: history_pb2.GetSessionRequest, context: Context) -> history_pb2.Session:
        """One session (AIP-131)."""
        return session_message(await self._history.session(_session(request), scope()))

    async def UpdateSession(self, request: history_pb2.UpdateSessionRequest, context: Context) -> history_pb2.Session:
        """Changes a session (AIP-134)."""
        session = required(request.session.session, "session.session")
        return session_message(await self._history.change_session(session, scope(), _change(request)))

    async def DeleteSession(
        self, request: history_pb2.DeleteSessionRequest, context: Context
    ) -> history_pb2.DeleteSessionResponse:
        """Deletes a session (AIP-135)."""
        erased = await self._history.delete_session(_session(request), scope())
        return history_pb2.DeleteSessionResponse(deleted_messages=erased.messages)

    async def ListMessages(
        self, request: history_pb2.ListMessagesRequest, context: Context
    ) -> history_pb2.ListMessagesResponse:
        """Pages through the messages of a session (AIP-132, AIP-158)."""
        wanted = MessageFilter(
            scope=scope(),
            session=_session(request),
            flow=request.flow,
            said=time_range(request),
            status=status(request.status),
            newest_first=_chosen(NEWEST_FIRST, request.order_by),
        )
        after = position(wanted, request.page_token, (TURNS, ROLES))
        return await self._room.page(
            page_size(request.page_size),
            lambda size: self._history.messages(wanted, after, size),
            lambda page: history_pb2.ListMessagesResponse(
                messages=map(self._message, page.items), next_page_token=page_token(wanted, page.next)
            ),
        )

    async def SearchMessages(
        self, request: history_pb2.SearchMessagesRequest, context: Context
    ) -> history_pb2.SearchMessagesResponse:
        """Pages through what a search finds (AIP-136, AIP-158)."""
        wanted = SearchFilter(
            scope=scope(request.user),
            query=required(request.query, "query"),
            session=request.session,
            flow=request.flow,
            said=time_range(request),
            status=status(request.status),
        )
        after = position(wanted, request.page_token)
        return await self._room.page(
            page_size(request.page_size),
            lambda size: self._history.search(wanted, after, size),
            lambda page: history_pb2.SearchMessagesResponse(
                messages=map(self._message, page.items), next_page_token=page_token(wanted, page.next)
            ),
        )

    async def ExportMessages(
        self, request: history_pb2.ExportMessagesRequest, context: Context
    ) -> AsyncIterator[history_pb2.ExportMessagesResponse]:
        """Tells everything that was said."""
        wanted = ExportFilter(
            scope=scope(request.user), session=request.session, flow=request.flow, said=time_range(request)
        )
        async for lines in self._history.export(wanted):
            for part in self._room.parts(lines):
                yield part

    async def DeleteMessages(
        self, request: history_pb2.DeleteMessagesRequest, context: Context
    ) -> history_pb2.DeleteMessagesResponse:
        """Deletes messages of a session."""
        deleted = await self._history.delete_messages(_session(request), scope(), request.messages)
        return history_pb2.DeleteMessagesResponse(deleted_messages=deleted)

    async def RateMessage(self, request: history_pb2.RateMessageRequest, context: Context) -> history_pb2.Message:
        """Rates a message."""
        if request.rating not in history_pb2.Message.Rating.values():
            raise InvalidRequest.of([("rating", "is none of RATING_UNSPECIFIED, LIKE and DISLIKE")])
        rated = await self._history.rate(
            _session(request), scope(), required(request.message, "message"), Rating(request.rating), request.comment
        )
        return self._message(rated)

    async def EraseUser(self, request: history_pb2.EraseUserRequest, context: Context) -> history_pb2.EraseUserResponse:
        """Removes every trace of a user."""
        erased = await self._history.erase_user(scope(required(request.user, "user")).user)
        return history_pb2.EraseUserResponse(
            erased_sessions=erased.sessions, erased_messages=erased.messages, erased_runs=erased.runs
        )

    def _message(self, record: MessageRecord) -> history_pb2.Message:
        return message_message(record, self._room.item_bytes_max)


class _OfSession(Protocol):
    session: str


def _session(request: _OfSession) -> str:
    return required(request.session, "session")


def _chosen(orders: dict[str, T], order_by: str) -> T:
    try:
        return orders[" ".join(order_by.split())]
    except KeyError:
        raise InvalidRequest.of([("orderBy", f"must be one of: {', '.join(filter(None, orders))}")]) from None


def _change(request: history_pb2.UpdateSessionRequest) -> SessionChange:
    session = request.session
    paths = _paths(request)
    try:
        return SessionChange(
            title=session.title if "title" in paths else None,
            metadata=from_struct(session.metadata) if "metadata" in paths else None,
            retention_days=session.retention_days if "retention_days" in paths else None,
        )
    except InvalidValue as error:
        raise InvalidRequest.of([(error.field("session.metadata"), error.description)]) from None


def _paths(request: history_pb2.UpdateSessionRequest) -> set[str]:
    """The fields that are to change: those of the mask, or those that are set where there is none (AIP-134).

    What only the service writes may be named, and stays as it is (AIP-161).
    """
    named = set(request.update_mask.paths)
    if not named:
        return {field.name for field, _ in request.session.ListFields()}
    if "*" in named:
        return set(CHANGEABLE)
    if unknown := sorted(named - {field.name for field in request.session.DESCRIPTOR.fields}):
        text = f"names no field of a session: {', '.join(unknown)}; what can be changed is {', '.join(CHANGEABLE)}"
        raise InvalidRequest.of([("updateMask", text)])
    return named
