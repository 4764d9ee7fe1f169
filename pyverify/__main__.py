"""``python -m pyverify``."""

import sys

from pyverify.cli.main import main

sys.exit(main())
