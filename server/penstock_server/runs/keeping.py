"""A run as the store keeps it, and a session's rounds as a flow takes them."""

from collections.abc import Sequence
from datetime import UTC, datetime

from penstock_server.flows.flow import FlowKind, FlowSpec, HistoryForm
from penstock_server.runs.run import Run
from penstock_server.store.records import Acceptance, Accepted, Ending, Question, Round


def acceptance(run: Run, *, turns: bool, history_rounds_max: int) -> Acceptance:
    """What is stored when a run is accepted.

    Args:
        turns: whether runs of chat flows add turns to their sessions.
        history_rounds_max: how many rounds a flow gets that does not say so itself.
    """
    command = run.command
    return Acceptance(
        run=run.run,
        flow=run.spec.flow,
        snapshot=run.spec.snapshot,
        session=command.session,
        session_is_new=command.session_is_new,
        user=command.user,
        create_time=run.create_time,
        inputs=command.inputs,
        question=_question(run, history_rounds_max) if turns and run.spec.kind is FlowKind.CHAT else None,
        idempotency=command.idempotency,
        stored=command.stored,
    )


def ending(run: Run, accepted: Accepted) -> Ending:
    """What is stored when a run has ended."""
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
    )


def history(spec: FlowSpec, rounds: Sequence[Round]) -> list[dict[str, object]]:
    """Rounds in the form that the flow's history input takes, the oldest first."""
    if spec.history_form is HistoryForm.ROUNDS:
        return [{"inputs": each.inputs, "outputs": each.outputs} for each in rounds]
    return [message for each in rounds for message in _messages(each)]


def _question(run: Run, history_rounds_max: int) -> Question:
    spec, inputs = run.spec, run.command.inputs
    # Who brings the history along has no need of ours, and what it holds was said before.
    brought = spec.chat_history in inputs
    asked_for = history_rounds_max if spec.history_rounds_max is None else spec.history_rounds_max
    return Question(
        content={name: value for name, value in inputs.items() if name != spec.chat_history},
        text_of=spec.chat_input,
        history_rounds_max=0 if brought else asked_for,
    )


def _messages(each: Round) -> list[dict[str, object]]:
    return [
        {"role": "user", "content": each.inputs.get(each.question_of, "")},
        {"role": "assistant", "content": each.outputs.get(each.answer_of, "")},
    ]
