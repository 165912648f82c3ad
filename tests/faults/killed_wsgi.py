"""The service as it runs, whose requests may say before which database call its worker is killed."""

from tests.faults import fuse
from tests.faults.cheap_wsgi import app as app

fuse.lay(app)
