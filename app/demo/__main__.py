"""`python -m app.demo` runs the demo."""

import sys

from app.demo.command import main

sys.exit(main(sys.argv[1:]))
