"""The book's data: real images that travel with the library, results of long runs, and one synthetic generator."""

from cnnbook.data.images import PHOTOS, learned_filters, photo
from cnnbook.data.mnist import mnist
from cnnbook.data.results import results
from cnnbook.data.wafer import WAFER_CLASSES, wafers

__all__ = ["PHOTOS", "WAFER_CLASSES", "learned_filters", "mnist", "photo", "results", "wafers"]
