"""What `inspect` shows, one module a kind of file: ``json_of(data)`` for scripts, ``table_lines(data)`` for people."""
