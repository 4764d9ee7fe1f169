"""Benchmarks on fleets that are made up from recorded boots: ``python -m bench``."""
