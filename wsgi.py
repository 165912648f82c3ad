"""What a WSGI server loads."""

import os
import sys

from app.config import Settings
from app.environment import UnsafeSettings
from app.factory import create_app

try:
    app = create_app(Settings.from_env(os.environ))
except UnsafeSettings as error:
    sys.exit(f"scrip: {error}")
