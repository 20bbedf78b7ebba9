"""Elements as the source of an SVG image, with colours for light and dark pages."""

from __future__ import annotations

from itertools import pairwise
from typing import assert_never
from xml.sax.saxutils import escape, quoteattr

from ._elements import NOTE_BOX_HEIGHT, Box, Connector, Element, Group, Rect, Text
from ._text import ROLES, clean

ROOT = "inceptionzoo-drawing"  # every CSS rule begins with it, so that none affects a page that embeds the image
FONT = "system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
ROUND = 6

# kind: (fill, line) on light pages, then on dark ones; as in GoogLeNet's Figure 3, convolutions are blue and pools red
BOXES = {
    "conv1": ("#dbeafe", "#7aa7e8", "#1e3a5f", "#4a7fc4"),
    "convk": ("#a9cdfb", "#4a86d8", "#21497f", "#6a9fe4"),
    "convf": ("#cfd6fd", "#7f8be8", "#343a78", "#7f8be8"),
    "depthwise": ("#c3ecec", "#45a5a8", "#14484a", "#45a5a8"),
    "pool": ("#fcd6d3", "#df837c", "#5f2523", "#c9655e"),
    "norm": ("#d3efd2", "#6fb56d", "#204a22", "#5a9c58"),
    "act": ("#fff", "#9aa4b2", "#1b212b", "#76808f"),
    "op": ("#ecdcf9", "#a97fd0", "#43265f", "#a97fd0"),
    "dense": ("#fdeab2", "#d0a534", "#55430f", "#b08c2c"),
    "join": ("#e3e8ef", "#94a0b0", "#39424f", "#76808f"),
    "shape": ("#fff", "#c3cad4", "#1b212b", "#4a5361"),
    "block": ("#fff", "#475569", "#1b212b", "#a3adbb"),
}
BARS = {
    "page": ("#fbfcfd", "#d9dee5", "#12171f", "#303844"),
    "card": ("#fff", "#d9dee5", "#1b212b", "#303844"),
    "band": ("#f0f3f7", "none", "#222a35", "none"),
    "shadow": ("#cbd3dd", "#8792a2", "#4a5361", "#8792a2"),
    "share": ("#8aa0bd", "none", "#6c819e", "none"),
}
INK, FAINT, LINE = ("#111827", "#f3f4f6"), ("#475569", "#b6c0cd"), ("#64748b", "#8b96a5")


def to_svg(group: Group, title: str, description: str) -> str:
    """Return a group as an SVG image. `title` is its name; screen readers read `description`."""
    size = f'width="{group.width}" height="{group.height}" viewBox="0 0 {group.width} {group.height}"'
    root = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{ROOT}" {size} role="img" aria-label={quoteattr(clean(description))}>'
    )
    elements = "\n".join(map(_element, group.elements))
    return f"{root}\n<title>{escape(clean(title))}</title>\n<style>{_style()}</style>\n{elements}\n</svg>\n"


def _element(element: Element) -> str:
    match element:
        case Rect():
            return f'<rect class="{element.kind}" {_geometry(element)}/>'
        case Text():
            anchor = "" if element.anchor == "start" else f" {element.anchor}"
            return (
                f'<text class="{element.role}{anchor}" x="{element.x}" y="{element.y}">{escape(clean(element.content))}</text>'
            )
        case Connector():
            return f'<path d="{_path(element.points)}"/>'
        case Box():
            hint = f"<title>{escape(clean(element.hint))}</title>" if element.hint else ""
            return f'<g class="{element.kind}">{hint}<rect {_geometry(element)}/>{_box_text(element)}</g>'
    assert_never(element)


def _geometry(element: Rect | Box) -> str:
    return f'x="{element.x}" y="{element.y}" width="{element.width}" height="{element.height}"'


def _box_text(box: Box) -> str:
    """Return the title, and the note below it, or beside it in a flat box."""
    middle, title, note = box.x + box.width // 2, escape(clean(box.title)), escape(clean(box.note))
    if note and box.height == NOTE_BOX_HEIGHT:
        heading = f'<text class="strong middle" x="{middle}" y="{box.y + 16}">{title}</text>'
        return f'{heading}<text class="small middle" x="{middle}" y="{box.y + 31}">{note}</text>'
    beside = f' <tspan class="small">{note}</tspan>' if note else ""
    return f'<text class="strong middle" x="{middle}" y="{box.y + box.height // 2 + 4}">{title}{beside}</text>'


def _path(points: tuple[tuple[int, int], ...]) -> str:
    """Return the path through the points, with rounded corners."""
    (x, y), *rest = points
    path = f"M{x} {y}"
    for (cx, cy), (nx, ny) in pairwise(rest):
        before, after = _toward((cx, cy), (x, y)), _toward((cx, cy), (nx, ny))
        path += f"L{before}Q{cx} {cy} {after}"
        x, y = cx, cy
    return f"{path}L{rest[-1][0]} {rest[-1][1]}"


def _toward(corner: tuple[int, int], other: tuple[int, int]) -> str:
    """Return the point at which the rounding of a corner begins, on the way to another point."""
    (x, y), (ox, oy) = corner, other
    dx, dy = max(-ROUND, min(ROUND, ox - x)), max(-ROUND, min(ROUND, oy - y))
    return f"{x + dx} {y + dy}"


def _style() -> str:
    """Return the CSS rules: sizes, then colours for light and for dark pages."""
    sizes = "".join(
        _rule(f".{role}", f"font-size:{size}px;font-weight:{700 if bold else 400}") for role, (size, bold) in ROLES.items()
    )
    fixed = (
        f".{ROOT}{{font-family:{FONT}}}"
        + _rule("path", "fill:none;stroke-width:1.5")
        + _rule("rect", "rx:4px")
        + _rule(".share", "rx:2px")
        + _rule(".middle", "text-anchor:middle")
        + _rule(".end", "text-anchor:end")
        + _rule(".block rect", "stroke-width:1.5")
    )
    return f"{fixed}{sizes}{_colours(0)}@media(prefers-color-scheme:dark){{{_colours(1)}}}"


def _colours(dark: int) -> str:
    boxes = [(f".{kind} rect", colours) for kind, colours in BOXES.items()]
    rects = [*boxes, *((f".{kind}", colours) for kind, colours in BARS.items())]
    filled = "".join(_rule(name, f"fill:{c[2 * dark]};stroke:{c[2 * dark + 1]}") for name, c in rects)
    return (
        filled
        + _rule("text", f"fill:{INK[dark]}")
        + _rule("text.small", f"fill:{FAINT[dark]}")
        + _rule("path", f"stroke:{LINE[dark]}")
    )


def _rule(inside: str, body: str) -> str:
    return f".{ROOT} {inside}{{{body}}}"
