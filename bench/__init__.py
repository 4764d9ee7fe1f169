"""Benchmarks on fleets that are made up from recorded boots: ``python -m bench``."""

import sys

# `python -m bench` puts the checkout first on the path, where pyverify is source without its compiled core. The
# installed package is meant, so the checkout goes last.
if sys.argv[0] == "-m":
    sys.path.append(sys.path.pop(0))
