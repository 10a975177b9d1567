"""The parallel part of the book."""
