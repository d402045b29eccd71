"""Transcripts: conversations read from files, and monitored in one pass each."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from transformers import PreTrainedTokenizerBase

from persona_interp.data.conversations import Conversation
from persona_interp.data.rows import message_list, parse_json, parse_turns
from persona_interp.errors import ArtefactError, ConfigError, ContextLengthError, DataError, EmptySelectionError
from persona_interp.io import read_bytes, read_json
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.recorder import Segment
from persona_interp.models.tokens import encode, pad_id, render_chat, token_batch
from persona_interp.progress import track
from persona_interp.reasoning import answer_after, opens_reasoning, split_reasoning
from persona_interp.studies.monitoring.monitor import Monitor

_EXPECTED = 'Expected {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}, ...]}.'


def read_transcript(path: Path) -> list[Conversation]:
    """Conversations of a file: JSON lines, or one JSON object, with `messages` (or `conversation`) in each.

    The second is what transcripts of the Assistant Axis look like. Everything in the file is data. Turns after the last
    of the assistant are cut off; other than in a data set, users may speak twice in a row and answers may be empty.

    Raises:
        ArtefactError: missing, not JSON, or a turn without role or content; the line and the turn are named.
        EmptySelectionError: no conversation, or one without an assistant turn.
    """
    if path.suffix == ".jsonl":
        lines = enumerate(read_bytes(path).split(b"\n"), start=1)
        rows = [(f"{path}, line {i}", line) for i, line in lines if line.strip()]
        found = [_conversation(_parsed(line, where), where) for where, line in rows]
    else:
        found = [_conversation(read_json(path), str(path))]
    if not found:
        raise EmptySelectionError(f"{path} holds no conversation.", _EXPECTED, "One such object a line.")
    return found


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
    for k, turn in enumerate(turns):
        if turn.role != "assistant" or not answer_after(turn.content).strip():
            continue
        before, whole = render_chat(tokenizer, turns[:k]), render_chat(tokenizer, turns[: k + 1], prompt=False)
        said = answer_after(turn.content).strip()
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


def _parsed(line: bytes, where: str) -> object:
    try:
        return parse_json(line)
    except DataError as error:
        raise ArtefactError(f"{where}: {error}", "Each line must be one JSON object.") from error


def _conversation(data: object, where: str) -> Conversation:
    try:
        messages = message_list(data)
        if messages is None:
            raise DataError("no list of messages.")
        turns = parse_turns(messages)
    except DataError as error:
        raise ArtefactError(f"{where}: {error}", _EXPECTED) from error
    if not any(turn.role == "assistant" and turn.content.strip() for turn in turns):
        raise EmptySelectionError(f"{where}: no assistant turn to monitor.", "Give conversations with answers.")
    if turns[0].role == "assistant":
        raise ArtefactError(f"{where}: the conversation begins with the assistant.", "Begin with the user's words.")
    last = max(k for k, turn in enumerate(turns) if turn.role == "assistant")
    return Conversation(where, turns[: last + 1])
