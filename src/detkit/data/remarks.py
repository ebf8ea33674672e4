"""What a dataset's reader tells, and to which check of data it belongs."""

from __future__ import annotations


class Remark(str):
    """A text for `BuildContext.messages` that carries the id of a check, so that it is found, and skipped, by that.

    `messages.warning(Remark("label-file-without-image", "3 label files have no image (a.txt is one)"))`. It is an
    ordinary text otherwise. Which ids there are says `detkit data check --list`; of another one the text counts as what
    a reader has to say.

    Attributes:
        check: the id.
    """

    check: str

    def __new__(cls, check: str, text: str) -> Remark:
        self = super().__new__(cls, text)
        self.check = check
        return self

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]  # a str's own has the text alone
        return self.check, str(self)
