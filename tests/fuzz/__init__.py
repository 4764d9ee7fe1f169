"""Fuzz targets in Python, and the command that runs them and those in C: ``python tests/fuzz --help``."""
