"""The command line: arguments, tables, progress, exit codes."""
