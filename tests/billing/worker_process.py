"""A worker that reads and matches bills, in a process of its own, with settings from the environment."""

from app import config
from app.billing.work import work_on_bills
from app.jobs.worker import Task, run

if __name__ == "__main__":
    config.use(config.Settings.from_env())
    run([Task("bills", 0.1, work_on_bills)])
