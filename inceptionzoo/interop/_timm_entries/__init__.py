"""Entry points for timm."""
