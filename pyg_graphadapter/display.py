"""Names made safe to show: on terminals, and in Markdown, LaTeX, CSV and JSON.

Names of classes, files, data sets, models and methods come from outside. Here, what would move a
cursor, turn text around, end a line, or hide is shown as an escape, as ``\\x1b``. Letters of all
scripts, combining marks and emoji stay as they are.
"""

import csv
import functools
import io
import json
import logging
import re
import sys
import unicodedata
from collections.abc import Iterable
from typing import Any, TextIO

SHORT_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
# Letters and marks that nothing is seen of: fillers, and the joiner of graphemes.
BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
# Characters of format that are seen (signs before numbers), or that lay out hieroglyphs:
SEEN_FORMAT = re.compile("[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
                         "\U00013430-\U0001343f]")  # fmt: skip
FLAG = re.compile("\U0001f3f4[\U000e0030-\U000e007a]{1,8}\U000e007f")  # of a region, as Scotland's
NON_JOINER, JOINER, MONGOLIAN_SEPARATOR = "\u200c", "\u200d", "\u180e"
KEYCAPS = "#*0123456789"
VIRAMA = 9  # the combining class of the marks that join two letters of Indian scripts
SURROGATE = re.compile("[\ud800-\udfff]")

LATEX_ESCAPES = {char: f"\\{char}" for char in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    # Behind the end of a line of a table, these would be read as its arguments:
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "±": r"$\pm$",
    "†": r"\textsuperscript{\dag}",
    "‡": r"\textsuperscript{\ddag}",
}
# Everything that has a meaning somewhere in a line of Markdown: code, emphasis, links, tags,
# entities, formulas and tables; at its beginning headings, lists, quotations and rules.
MARKDOWN_SIGNS = re.compile(
    r"[`*\[\]<>|~$]|\\(?=[!-/:-@\[-`{-~]|$)|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])|:(?=//)|@(?=\w)"
    r"|(?<=\bwww)\.|^=|^[#+-](?=[\s#+-]|$)|(?<=^\d)[.)](?=\s|$)|(?<=^\d\d)[.)](?=\s|$)",
    re.IGNORECASE,
)
FORMULA_SIGNS = "=+-@\t\r\uff1d\uff0b\uff0d\uff20"  # the last four are the wide ones


# Text that is seen #####################################################################


def visible(name: Any) -> str:
    r"""Text in one line, with what cannot be seen shown as an escape.

    Example:
        >>> print(visible("cat\x1b[31m\ndog"))
        cat\x1b[31m\ndog
    """
    text = str(name)
    if text.isascii() and text.isprintable():
        return text
    flags = {i for match in FLAG.finditer(text) for i in range(*match.span())}
    return "".join(
        char if i in flags or _is_seen(text, i) else _escape(char) for i, char in enumerate(text)
    )


def visible_lines(text: str) -> str:
    """As :func:`visible`, for text that was composed of visible names: its line breaks and tabs
    stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        part if part in ("\n", "\t") else visible(part) for part in re.split(r"([\n\t])", text)
    )


def _escape(char: str) -> str:
    if char in SHORT_ESCAPES:
        return SHORT_ESCAPES[char]
    number = ord(char)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _is_seen(text: str, i: int) -> bool:
    """Whether a character is seen, or changes how its neighbours are written."""
    char = text[i]
    if char.isascii():
        return char.isprintable()
    before, after = text[i - 1] if i else "", text[i + 1 : i + 2]
    if char in (JOINER, NON_JOINER):
        return _joins(before, after, is_emoji_joiner=char == JOINER)
    if "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef":
        return _is_varied(before)
    if char == MONGOLIAN_SEPARATOR:
        return "\u1820" <= before <= "\u18aa"
    if unicodedata.category(char) == "Cf":
        return SEEN_FORMAT.match(char) is not None
    return _is_plain(char)


@functools.lru_cache(maxsize=4096)
def _is_plain(char: str) -> bool:
    is_control = unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")
    return not is_control and char not in BLANK and ord(char) & 0xFFFE != 0xFFFE


def _joins(before: str, after: str, *, is_emoji_joiner: bool) -> bool:
    """Whether a joiner (or what keeps letters apart) stands where scripts and emoji need it."""
    if not before:
        return False
    if VIRAMA in (unicodedata.combining(before), unicodedata.combining(after or " ")):
        return True
    is_pictogram = unicodedata.category(before) in ("So", "Sk") or before == "\ufe0f"
    if is_emoji_joiner and is_pictogram:
        return bool(after) and unicodedata.category(after) == "So"
    cursive = ("AL", "NSM")  # Arabic letters, and the marks above them
    is_cursive = unicodedata.bidirectional(before) in cursive and "\u0600" <= before < "\ufe00"
    return is_cursive and (not after or unicodedata.bidirectional(after) in cursive)


def _is_varied(before: str) -> bool:
    """Whether a character has variants, between which the next one chooses."""
    if not before or before.isspace() or unicodedata.category(before) in ("Mn", "Cf", "Cc"):
        return False
    return not before.isascii() or before in KEYCAPS


# Files of text #########################################################################


def markdown(text: Any) -> str:
    r"""Text in one line of Markdown, or in a cell of a table, that shows as it is.

    Example:
        >>> print(markdown("graph_adapter | <b>"))
        graph_adapter \| \<b\>
    """
    return MARKDOWN_SIGNS.sub(lambda match: "\\" + match.group(), visible(text))


def markdown_code(text: Any) -> str:
    """Text as code in Markdown, whatever backticks it has."""
    text = visible(text).replace("|", r"\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " * (text.startswith("`") or text.endswith("`") or not text)
    return f"{fence}{space}{text}{space}{fence}"


def latex(text: Any) -> str:
    """Text for LaTeX, with its special characters escaped."""
    return "".join(LATEX_ESCAPES.get(char, char) for char in visible(text))


def csv_cell(text: Any) -> str:
    """Text for a cell of CSV that no spreadsheet takes for a formula; the writer quotes it.

    Example:
        >>> csv_cell("=1+1")
        "'=1+1"
    """
    text = str(text)
    return ("'" if text and text[0] in FORMULA_SIGNS else "") + visible(text)


def csv_text(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table as CSV: numbers with six digits, an empty cell for :obj:`None`, and text that no
    spreadsheet takes for a formula."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(map(csv_cell, header))
    writer.writerows([_csv_value(value) for value in row] for row in rows)
    return stream.getvalue()


def _csv_value(value: Any) -> str | int:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return value
    return "" if value is None else csv_cell(value)


def json_text(content: Any, *, encoding: str = "utf-8", indent: int | None = None) -> str:
    r"""JSON that can be written in an encoding. Characters that cannot be seen, as lone surrogates,
    are escaped as JSON does it, so that reading gives the same names again.

    Example:
        >>> print(json_text(["caf\xe9", "\udc80"]))
        ["café", "\udc80"]
    """
    text = json.dumps(content, ensure_ascii=False, indent=indent)
    if not _can_be_written(SURROGATE.sub("", text), encoding):
        return json.dumps(content, indent=indent)
    # Outside of strings JSON has no character that this changes, and tabs are escaped already:
    return re.sub(
        r"[^\x00-\x7e]",
        lambda match: match.group() if _is_seen(text, match.start()) or _is_in_flag(match)
        else json.dumps(match.group())[1:-1],
        text,
    )  # fmt: skip


def _is_in_flag(match: re.Match[str]) -> bool:
    if not "\U000e0030" <= match.group() <= "\U000e007f":
        return False
    return any(flag.start() < match.start() < flag.end() for flag in FLAG.finditer(match.string))


def _can_be_written(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


# Streams ###############################################################################


def in_encoding_of(stream: TextIO | None, text: str) -> str:
    """Text with escapes for what the encoding of a stream lacks."""
    encoding = encoding_of(stream)
    return text.encode(encoding, "backslashreplace").decode(encoding)


def encoding_of(stream: TextIO | None) -> str:
    """The encoding of a stream, UTF-8 where it says none."""
    return getattr(stream, "encoding", None) or "utf-8"


def escape_in_streams() -> None:
    """Lets standard output and error show what their encoding lacks as escapes, in the place of
    an error that ends a run."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


class VisibleFormatter(logging.Formatter):
    """Formats what is logged as one visible line, and tracebacks as lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The line of a record."""
        return visible(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record, with its traceback."""
        return visible_lines(super().format(record))
