"""Machinery of the site: what turns the package and its results into pages."""
