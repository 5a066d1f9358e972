"""One page to look at and to send: a file that holds all it shows and loads nothing."""

from .comparison import comparison_page
from .document import html_page

__all__ = ["comparison_page", "html_page"]
