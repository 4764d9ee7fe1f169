"""What each kind of evidence looks like to a person and to a script, a module a kind."""
