"""The shop's own commands: `python manage.py migrate`, `runserver`, `scrip_deliver` and so on."""

import os
import sys
from pathlib import Path

from django.core.management import execute_from_command_line

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_shop.settings")
execute_from_command_line(sys.argv)
