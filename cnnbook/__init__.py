"""The library of *Convolutional Neural Networks You Can Run*: ideas that a page has taught, tested and reused."""
