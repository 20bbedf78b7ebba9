"""Run the Python blocks of a page and compare what they print with what the page says. CONTRIBUTING.md describes the format."""

import ast
import contextlib
import io
import re
from collections.abc import Iterator

BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\s*^```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)
NUMBER = r"-?\d+\.\d+(?:e[-+]?\d+)?"
NOT_COMPARED = "for example"  # a comment that begins with this shows one possible output


def blocks(text: str) -> list[tuple[str, str]]:
    """Return each Python block of a page with the text block that follows it directly, or an empty string."""
    return BLOCK.findall(text.rstrip("\n") + "\n")


def wrong_outputs(text: str, names: dict[str, object], page: str = "page") -> Iterator[str]:
    """Run the blocks of a page in one namespace; yield a message for each output that differs from the page."""
    for code, expected in blocks(text):
        rest = ""
        for node in ast.parse(code).body:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(ast.Module([node], []), page, "exec"), names)
            if comments := print_comments(node, code.splitlines()):
                yield from difference("\n".join(comments), printed.getvalue(), page)
            else:
                rest += printed.getvalue()
        if expected:
            yield from difference(expected, rest, page)


def print_comments(node: ast.stmt, lines: list[str]) -> list[str]:
    """Return the comments behind the `print` calls of a statement, in order; nothing if no call has one."""
    calls = [part for part in ast.walk(node) if isinstance(part, ast.Expr) and ast.unparse(part).startswith("print(")]
    comments = [lines[call.end_lineno - 1].partition("  # ")[2] for call in calls]
    return ["..." if comment.startswith(NOT_COMPARED) else comment for comment in comments if any(comments)]


def difference(expected: str, printed: str, page: str) -> Iterator[str]:
    if not agrees(expected, printed):
        yield f"{page} says {expected.strip()!r}, its code prints {printed.strip()!r}"


def agrees(expected: str, printed: str) -> bool:
    """Return whether the text of a page agrees with what was printed.

    `...` matches any text. A number with a decimal point may differ by one unit in its last digit. A shape may be written
    as a tuple. The kind of quotes and the amount of white space do not matter.
    """
    expected, printed = plain(expected), plain(printed)
    parts = re.split(rf"(\.\.\.|{NUMBER})", expected)
    numbers = [part for part in parts[1::2] if part != "..."]
    patterns = [".*?" if part == "..." else f"({NUMBER})" if place % 2 else re.escape(part) for place, part in enumerate(parts)]
    match = re.fullmatch("".join(patterns), printed)
    return match is not None and all(map(close, numbers, match.groups()))


def plain(text: str) -> str:
    text = re.sub(r"torch\.Size\(\[([\d, ]*)\]\)", r"(\1)", text.replace('"', "'"))
    return " ".join(text.split())


def close(expected: str, printed: str) -> bool:
    mantissa, _, exponent = expected.partition("e")
    unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return abs(float(printed) - float(expected)) < 1.001 * unit
