"""Prints every fault of the deliberately wrong plugins, and what the kit says of it: python -m testing.list_faults"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from pathlib import Path

from detkit.testing.rule import all_rules
from detkit.testing.runner import judge
from detkit.testing.subject import Subject, kind_of
from testing.test_kit_faults import EVERY


def main() -> None:
    """A paragraph a fault."""
    rules = all_rules()
    for number, wrong in enumerate(EVERY, 1):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            subject = Subject(kind_of(wrong.component), wrong.component, wrong.given, folder=Path(folder), **wrong.more)
            verdict = judge(rules[wrong.rule], subject)
        sys.stdout.write(f"{number}. {wrong.fault}\n{verdict.message}\n\n")


if __name__ == "__main__":
    main()
