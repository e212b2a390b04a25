"""``python -m sdme`` is the command ``sdme``."""

import sys

from sdme.cli.app import main

sys.exit(main())
