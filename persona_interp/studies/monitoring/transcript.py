"""Transcripts: conversations read from files, and monitored in one pass each."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from transformers import PreTrainedTokenizerBase

from persona_interp.data.conversations import Conversation
from persona_interp.data.rows import Unusable, row_turns
from persona_interp.data.streams import stream_rows
from persona_interp.data.turns import answer_positions
from persona_interp.errors import ArtefactError, ConfigError, ContextLengthError, DataError, EmptySelectionError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.recorder import Segment
from persona_interp.models.tokens import encode, pad_id, render_chat, token_batch
from persona_interp.progress import track
from persona_interp.reasoning import answer_after, opens_reasoning, split_reasoning
from persona_interp.studies.monitoring.monitor import Monitor

_EXPECTED = 'Expected {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}, ...]}.'


def read_transcript(path: str | Path) -> list[Conversation]:
    """Conversations of a file in any form that `stream_rows` reads: JSON lines, one JSON object, an array, a table.

    One JSON object with `conversation` is what transcripts of the Assistant Axis look like. Everything in the file is
    data, so a row that cannot be read is an error. Turns after the last answer are cut off; other than in a data set,
    users may speak twice in a row and answers may be empty. What is no answer (`answer_positions`) is not monitored.

    Raises:
        ArtefactError: missing, not JSON, or a turn without role or content; the row and the turn are named.
        EmptySelectionError: no conversation, or one without an answer.
    """
    folder = Path(path).parent if Path(path).is_file() else Path()
    return [_conversation(row, str(folder / name)) for _, (name, row) in stream_rows(path)]


def monitor_transcripts(
    monitor: Monitor, model: HookedModelBase, conversations: Sequence[Conversation], *, progress: bool = True
) -> pd.DataFrame:
    """One row a token of every assistant turn, and of the last prompt token before it; one pass a conversation.

    Columns of `Monitor.frame`, with conversation and turn (number of the turn, 0-based) in place of call and row. Every
    assistant turn counts as an answer of its own: smoothing starts again and it has its own alerts.

    Raises:
        ContextLengthError: a conversation does not fit the model; nothing was cut off.
        ConfigError: the chat template changes earlier turns when later ones come, or refuses the roles.
    """
    monitor.clear()
    places: list[tuple[str, int]] = []
    monitor.check(model)
    for conversation in track(conversations, "monitor", total=len(conversations), show=progress):
        pieces = _pieces(model.tokenizer, conversation)
        ids = [encode(model.tokenizer, [text])[0] for _, text in pieces]
        batch = token_batch([[token for piece in ids for token in piece]], pad_id=pad_id(model.tokenizer))
        length = batch.ids.shape[1]
        if length > model.max_positions:
            raise ContextLengthError(
                f"{conversation.name} is {length} tokens long; {model.name} holds {model.max_positions}.",
                "Cut the conversation, or take a model with a longer context; nothing was truncated here.",
            )
        points = monitor.readings.hookpoints
        residuals = model.run(batch, read=points, outputs="none").residuals
        start = 0
        for (turn, _), piece in zip(pieces, ids, strict=True):
            end = start + len(piece)
            if turn is not None and piece:
                places.append((conversation.name, turn))
                monitor.readings.start()
                monitor.readings.begin(_segment(batch.ids, start, end), None)
                for hookpoint in points:
                    monitor.readings.observe(hookpoint, residuals[hookpoint])
                monitor.readings.end()
            start = end
    frame = monitor.frame()
    calls = frame.pop("call").to_numpy()
    frame = frame.drop(columns="row")
    frame.insert(0, "turn", [places[call][1] for call in calls])
    frame.insert(0, "conversation", [places[call][0] for call in calls])
    return frame


def turn_table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row an assistant turn, direction and layer: tokens, projection before, mean and largest score, alerts."""
    rows = []
    for (conversation, turn, trait, layer), part in frame.groupby(
        ["conversation", "turn", "trait", "layer"], sort=False
    ):
        tokens, before = part[part["token_index"] >= 0], part.loc[part["token_index"] < 0, "projection"]
        rows.append(
            {
                **{"conversation": conversation, "turn": turn, "trait": trait, "layer": layer},
                **{"n_tokens": len(tokens), "before": float(before.iloc[0])},
                **{"mean": float(tokens["projection"].mean()), "max": float(tokens["score"].max())},
                "alerts": int(tokens["alert"].sum()),
            }
        )
    return pd.DataFrame(rows)


def _segment(ids: torch.Tensor, start: int, end: int) -> Segment:
    """The whole conversation with one assistant turn as the answer."""
    mask, response, last = torch.ones_like(ids, dtype=torch.bool), *torch.zeros(2, *ids.shape, dtype=torch.bool)
    response[0, start:end], last[0, start - 1] = True, True
    return Segment(ids, mask, response, last)


def _pieces(tokenizer: PreTrainedTokenizerBase, conversation: Conversation) -> list[tuple[int | None, str]]:
    """The rendered conversation cut around what the assistant says; those pieces have the number of their turn."""
    turns, pieces, done = conversation.turns, [], ""
    for k in answer_positions(turns):
        said = answer_after(turns[k].content).strip()
        if not said:
            continue
        before, whole = render_chat(tokenizer, turns[:k]), render_chat(tokenizer, turns[: k + 1], prompt=False)
        split = split_reasoning(whole[len(before) :], opened=opens_reasoning(before))
        start = len(before) + split.start  # a block of reasoning is not what is said
        at = whole.find(said, start) if whole.startswith(before) and before.startswith(done) else -1
        if at < 0 or whole[start:at].strip():
            raise ConfigError(
                f"{conversation.name}: the chat template does not leave turn {k} and those before it as they are.",
                "Monitoring a transcript needs a template under which a longer conversation begins as a shorter one.",
            )
        pieces += [(None, whole[len(done) : start]), (k, whole[start:at] + said)]
        done = whole[: at + len(said)]
    return pieces


def _conversation(row: object, where: str) -> Conversation:
    try:
        if isinstance(row, Unusable):
            raise DataError(row.reason)
        turns = row_turns(row)
    except DataError as error:
        raise ArtefactError(f"{where}: {error}", _EXPECTED) from error
    answers = answer_positions(turns)
    if not answers:
        raise EmptySelectionError(f"{where}: no assistant turn to monitor.", "Give conversations with answers.")
    return Conversation(where, turns[: answers[-1] + 1])
