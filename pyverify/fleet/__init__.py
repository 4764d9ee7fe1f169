"""Archives in, verdict rows out."""
