"""A specification as an SVG picture. No torch."""

from ._page import layer_page, network_page
from ._svg import to_svg

__all__ = ["layer_page", "network_page", "to_svg"]
