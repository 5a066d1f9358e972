"""What a network answers, and how many answers are right."""

from .chosen import chosen, classes, smoothed, step_answers
from .right import UNLABELLED, right

__all__ = ["UNLABELLED", "chosen", "classes", "right", "smoothed", "step_answers"]
