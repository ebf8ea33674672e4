"""New files into a folder, none over an old one unless that is wanted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from detkit.errors import RecordError, UserError
from detkit.record.files import write_atomically
from detkit.scaffold.plugin import NewFile

#: How many files a message names.
SHOWN = 6


def write_new(folder: Path, files: Sequence[NewFile], *, force: bool) -> list[NewFile]:
    """Write all of them, or none.

    Returns:
        Those that replaced another file.

    Raises:
        UserError: a file is there already and `force` is not set; a folder is in the way; something cannot be written.
    """
    there = [file for file in files if os.path.lexists(folder / file.path)]
    if there and not force:
        named = ", ".join(file.path for file in there[:SHOWN])
        more = f" and {len(there) - SHOWN} more" if len(there) > SHOWN else ""
        raise UserError(
            f"in {folder.resolve()} {named}{more} {'is' if len(there) == 1 else 'are'} there already, and nothing was"
            " written: name another folder with --to, or replace with --force"
        )
    if blocked := next((file for file in there if (folder / file.path).is_dir()), None):
        raise UserError(f"{folder / blocked.path} is a folder, and a file of that name is to be written")
    for file in files:
        path = folder / file.path
        try:
            write_atomically(path, file.write, durable=False)
        except RecordError as error:  # whose words are about records
            why = error.__cause__
            raise UserError(f"{path} cannot be written: {getattr(why, 'strerror', None) or why}") from error
    return there
