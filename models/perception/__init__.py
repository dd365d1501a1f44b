"""Concepts of the past, by the names that configurations use."""

from models.perception.base import Concept, Perceived, Weighed
from models.perception.content import gated_decay, match
from models.perception.information import bag, bag_and_last, everything, window
from models.perception.loglinear import log_linear
from models.perception.mixture import absolute, decay, monotone, offset, order_free, power_decay, unigram

__all__ = [
    "Concept",
    "Perceived",
    "Weighed",
    "absolute",
    "bag",
    "bag_and_last",
    "decay",
    "everything",
    "gated_decay",
    "log_linear",
    "match",
    "monotone",
    "offset",
    "order_free",
    "power_decay",
    "unigram",
    "window",
]
