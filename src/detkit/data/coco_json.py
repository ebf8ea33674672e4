"""JSON files of unknown origin, gzipped or not, with a sentence for everything that they may turn out to be."""

from __future__ import annotations

import gzip
import json
import zlib
from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

from detkit.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"
#: A word or number that a cut goes through is refused where it begins.
LONGEST_WORD = 20


def read_coco_json(file: Path) -> Any:
    """What a JSON file holds, gzipped or not, whatever its name; NaN and Infinity, which are no JSON, as floats.

    Raises:
        DataError: it is missing, empty, cut, or no JSON; says where.
    """
    data = _unzipped(file)
    if not data.removeprefix(BOM_UTF8).strip():
        raise DataError(f"{file} is empty")
    try:
        return json.loads(data, object_pairs_hook=_unrepeated)
    except _RepeatedKey as error:
        raise DataError(f"{file}: an object of it has the key {error.args[0]!r:.60} twice: which is meant?") from None
    except json.JSONDecodeError as error:
        if _is_cut(error):
            raise DataError(f"{file} is cut: its JSON ends in the middle, after {len(error.doc)} characters") from None
        raise DataError(f"{file} is no JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is no UTF-8 text (byte {error.start}: {data[error.start]:#04x})") from None
    except RecursionError:
        raise DataError(f"{file} is no file in COCO's form: its lists are nested too deep") from None
    except ValueError as error:  # a number of more digits than Python reads
        raise DataError(f"{file} cannot be read: {error}") from None


class _RepeatedKey(Exception):
    """Its argument is the key."""


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; JSON's readers take the last of equal keys and say nothing: two lists of annotations were one."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _RepeatedKey(next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number])))
    return found


def _is_cut(error: json.JSONDecodeError) -> bool:
    """Whether the text ends where more was to come, as far as a reader can tell that from a mistake."""
    text = error.doc.strip()
    at_the_end = error.pos >= len(error.doc.rstrip()) or "Unterminated string" in error.msg
    in_a_word = error.pos >= len(error.doc.rstrip()) - LONGEST_WORD and text[-1] not in "]}"
    return text[0] in "[{" and (at_the_end or in_a_word)


def _unzipped(file: Path) -> bytes:
    try:
        data = file.read_bytes()
        return gzip.decompress(data) if data.startswith(GZIP_MAGIC) else data
    except FileNotFoundError:
        raise DataError(f"there is no file {file}") from None
    except IsADirectoryError:
        raise DataError(f"{file} is a folder, not a file") from None
    except EOFError:
        raise DataError(f"{file} is cut: its gzip data ends in the middle") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{file} is damaged: its gzip data cannot be unpacked ({error})") from None
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error


def described(content: Any) -> str:
    """What a JSON value is, for a message about what it should have been."""
    if isinstance(content, dict):
        return f"an object with {', '.join(map(repr, list(content)[:10])) or 'nothing in it'}"
    if isinstance(content, list):
        return f"a list of {len(content)}"
    return f"only {content!r:.40}"
