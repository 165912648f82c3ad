"""A worker in a process of its own, with settings from the environment: for tests that kill it."""

from app import config
from app.jobs.worker import Task, run
from app.mail import filling
from app.mail.sending import send_due_letters
from tests.mail.conftest import Filler

if __name__ == "__main__":
    config.use(config.Settings.from_env())
    filling.register("claim", Filler())
    run([Task("letters", 0.2, send_due_letters)])
