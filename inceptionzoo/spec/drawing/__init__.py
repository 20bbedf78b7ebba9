"""A specification as an SVG drawing. No torch."""

from ._page import layer_page, network_page
from ._svg import to_svg

__all__ = ["layer_page", "network_page", "to_svg"]
