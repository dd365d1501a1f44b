"""Concepts of the past, by the names that configurations use."""

from models.perception.information import everything, window
from models.perception.mixture import absolute_positions as absolute
from models.perception.mixture import decay, offset, order_free

__all__ = ["absolute", "decay", "everything", "offset", "order_free", "window"]
