"""Pictures of a report as Vega-Lite specifications: data that a page draws, or a file holds."""

from .drawn import all_pictures
from .picture import Picture, picture_file, refuse_format
from .sensitivity import sensitivity_pictures

__all__ = ["Picture", "all_pictures", "picture_file", "refuse_format", "sensitivity_pictures"]
