"""A run as the store keeps it, and a session's rounds as a flow takes them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

from penstock_server.flows.flow import FlowKind, FlowSpec, HistoryForm
from penstock_server.runs.run import InvokeCommand, Run
from penstock_server.store.records import Acceptance, Accepted, Ending, Orphan, Question, Round


class KeepingSettings(Protocol):
    """What the service says of the runs that are kept; `ServerConfig` explains each."""

    @property
    def history(self) -> bool:
        """Whether runs of chat flows add turns to their sessions."""

    @property
    def history_rounds_max(self) -> int:
        """How many rounds a flow gets that does not say so itself."""

    @property
    def session_queue_max(self) -> int:
        """How many runs of one session may wait."""


def acceptance(run: Run, settings: KeepingSettings, *, queued: bool) -> Acceptance:
    """What is stored when a run is accepted.

    Args:
        queued: whether it has to wait for a place.
    """
    command = run.command
    has_turn = settings.history and run.spec.kind is FlowKind.CHAT
    return Acceptance(
        run=run.run,
        flow=run.spec.flow,
        snapshot=run.spec.snapshot,
        session=command.session,
        session_is_new=command.session_is_new,
        user=command.user,
        create_time=run.create_time,
        inputs=command.inputs,
        question=_question(run, settings) if has_turn else None,
        idempotency=command.idempotency,
        stored=command.stored,
        on_busy=command.on_busy,
        on_disconnect=command.on_disconnect,
        queued=queued,
        session_queue_max=settings.session_queue_max,
        sequence_reserved=run.log.reserved if command.stored else 0,
    )


def command(orphan: Orphan) -> InvokeCommand:
    """What the caller of a run that was taken over had asked for."""
    record = orphan.record
    return InvokeCommand(
        flow=record.flow,
        inputs=record.inputs,
        session=record.session,
        user=record.user,
        on_disconnect=orphan.on_disconnect,
    )


def history_rounds_max(run: Run, settings: KeepingSettings) -> int:
    """How many rounds of its session a run gets. Who brings the history along has no need of ours."""
    spec = run.spec
    if spec.kind is not FlowKind.CHAT or spec.chat_history in run.command.inputs:
        return 0
    return settings.history_rounds_max if spec.history_rounds_max is None else spec.history_rounds_max


def ending(run: Run, accepted: Accepted) -> Ending:
    """What is stored when a run has ended."""
    assert run.decided is not None  # noqa: S101 - it has ended
    return Ending(
        run=run.run,
        session=run.command.session,
        accepted=accepted,
        status=run.decided,
        outputs=run.said,
        text_of=run.spec.chat_output if accepted.turn else "",
        flow=run.spec.flow,
        user=run.command.user,
        error=run.error,
        nodes=tuple(run.nodes),
        input_tokens=run.input_tokens,
        output_tokens=run.output_tokens,
        start_time=run.start_time,
        end_time=run.end_time or datetime.now(UTC),
        last_sequence=run.log.last_sequence + 1,
        events=tuple(run.log.unstored()),
    )


def history(spec: FlowSpec, rounds: Sequence[Round]) -> list[dict[str, object]]:
    """Rounds in the form that the flow's history input takes, the oldest first."""
    if spec.history_form is HistoryForm.ROUNDS:
        return [_round(spec, each) for each in rounds]
    return [message for each in rounds for message in _messages(each)]


def _question(run: Run, settings: KeepingSettings) -> Question:
    spec = run.spec
    return Question(
        # What a history holds that a caller brings along was said before.
        content={name: value for name, value in run.command.inputs.items() if name != spec.chat_history},
        text_of=spec.chat_input,
        history_rounds_max=history_rounds_max(run, settings),
    )


def _round(spec: FlowSpec, each: Round) -> dict[str, object]:
    """What was said to another flow of the session comes under this flow's own names, and nothing else does."""
    if each.flow == spec.flow:
        return {"inputs": each.inputs, "outputs": each.outputs}
    question, answer = each.inputs.get(each.question_of, ""), each.outputs.get(each.answer_of, "")
    return {"inputs": {spec.chat_input: question}, "outputs": {spec.chat_output: answer}}


def _messages(each: Round) -> list[dict[str, object]]:
    return [
        {"role": "user", "content": each.inputs.get(each.question_of, "")},
        {"role": "assistant", "content": each.outputs.get(each.answer_of, "")},
    ]
