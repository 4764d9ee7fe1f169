"""Verdict rows out of the door."""
