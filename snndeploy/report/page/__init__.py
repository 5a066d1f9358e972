"""One page to look at and to send: a file that holds all it shows and loads nothing."""

from .document import html_page

__all__ = ["html_page"]
