"""Notebooks of the book: run by mkdocs-jupyter, shown as pages like others."""
