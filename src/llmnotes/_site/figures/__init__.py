"""Drawn figures: a pen, a fence, and one module of drawings per chapter."""
