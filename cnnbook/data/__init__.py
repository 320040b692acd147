"""The book's data: real images that travel with the library, and one seeded generator that says it is synthetic."""

from cnnbook.data.images import PHOTOS, learned_filters, photo
from cnnbook.data.mnist import mnist
from cnnbook.data.wafer import WAFER_CLASSES, wafers

__all__ = ["PHOTOS", "WAFER_CLASSES", "learned_filters", "mnist", "photo", "wafers"]
