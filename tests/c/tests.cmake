# filled in by the C tests
