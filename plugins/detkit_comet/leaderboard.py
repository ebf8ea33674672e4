"""The experiment as a whole: its leaderboard, in an experiment of its own in Comet, sent when it has changed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from detkit import BuildContext, ExperimentRecord, Outcome, RunInfo, open_record, write_atomically
from detkit_comet import CometOptions
from detkit_comet.delivery import Delivery, Upload
from detkit_comet.ledger import Ledger
from detkit_comet.tables import leaderboard_table, to_csv

#: Which leaderboard was last sent, and whether to Comet or into an archive; beside the runs' own folders.
SENT_FILE = "leaderboard.json"
SENT_FORMAT = 1


def publish_leaderboard(options: CometOptions, context: BuildContext, folder: Path, *, uploading: bool = False) -> bool:
    """Send the leaderboard of the experiment in `folder`; nothing where it was sent, or archived, as it is.

    Where a run could not be delivered the server is away: the leaderboard then waits for the upload of the runs, of
    which each run's own warning tells.

    Args:
        uploading: this is that upload; what is archived is sent, under the archive's key.

    Returns:
        Whether it was sent.

    Raises:
        LoggerRefused: as `Delivery.open`. NotDelivered: it did not arrive.
    """
    record = open_record(folder)
    board = record.leaderboard
    if not options.tables or board is None:
        return False
    if not uploading and any(Ledger.read(run.files.folder).is_owing for run in record.runs):
        return False
    table = to_csv(leaderboard_table(board))
    digest = hashlib.sha256(table.encode()).hexdigest()
    sent = folder / "comet" / SENT_FILE
    before = _read(sent)
    if before.get("sha256") == digest and (before.get("delivered") or not uploading):
        return False
    key = Ledger.read(folder).last_key
    delivery = Delivery(
        _own(options), context.messages, offline=context.offline, upload=Upload(key) if uploading else None
    )
    if not _send(delivery, record, table, resumed=key is not None):
        return False
    content = {"format_version": SENT_FORMAT, "sha256": digest, "delivered": delivery.delivered}
    write_atomically(sent, lambda stream: stream.write(json.dumps(content).encode() + b"\n"))
    return True


def _own(options: CometOptions) -> CometOptions:
    return options.model_copy(
        update={"name": "{run_id}", "tags": (*options.tags, "leaderboard"), "system_metrics": False, "git": False}
    )


def _send(delivery: Delivery, record: ExperimentRecord, table: str, *, resumed: bool) -> bool:
    """Whether it was sent; the client may be switched off."""
    name = f"{record.name} leaderboard"
    board = record.leaderboard or {}
    # What Comet opens is a run; this one has no model and no steps. Above step 0 it goes on in its experiment.
    info = RunInfo(name, record.name, "", 0, record.folder, (), "", "", epochs=0, steps_per_epoch=0, start_step=resumed)
    if delivery.open(info).disabled:
        delivery.close(Outcome("finished"))
        return False
    with delivery.sending() as experiment:
        experiment.log_asset_data(
            table, name="leaderboard.csv", step=0, overwrite=True, metadata={"table": "leaderboard"}
        )
        experiment.log_asset(str(record.files.leaderboard), file_name="leaderboard.json", overwrite=True)
        experiment.log_asset(str(record.files.spec), file_name="spec.toml", overwrite=True)
        experiment.log_others(
            {
                "experiment": record.name,
                "ordered_by": board["primary"],
                "scored_on": board["split"],
                "images": board["images"],
                "note": board["note"],
                "best": board["rows"][0]["model"],
            }
        )
    delivery.close(Outcome("finished"))
    return True


def _read(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}  # none was sent; and a damaged file is worth no more than none: the leaderboard is sent again
