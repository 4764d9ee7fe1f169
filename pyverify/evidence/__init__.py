"""Bytes of evidence as columns and views."""
