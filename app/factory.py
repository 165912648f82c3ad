"""Wires everything: settings, rooms, letters, tasks."""

from functools import partial

from flask import Blueprint, Flask, Response, jsonify
from sqlalchemy.orm import configure_mappers

from app import config
from app.alarms import routes as alarm_routes
from app.billing import routes as billing_routes
from app.billing.self_bill import self_bill
from app.billing.work import work_on_bills
from app.checkout import pages as checkout_pages
from app.checkout.release import release_abandoned
from app.db.request import forget_old_requests
from app.db.transaction import transaction
from app.finance import routes as finance_routes
from app.guard import pages as guard_pages
from app.guard import request_limits
from app.guard.alarm_sending import send_alarm_hooks, send_alarm_mail
from app.guard.alarm_watch import forget_alarms, watch
from app.guard.captcha import forget_spent_captchas
from app.guard.counts import forget_counts
from app.guard.limit_storage import forget_request_counts
from app.holder import pages as holder_pages
from app.issuance import routes as issuance_routes
from app.issuance.letters import fill_letter
from app.jobs.worker import Task
from app.ledger.owed import refresh_snapshots
from app.mail.filling import register as register_filling
from app.mail.leasing import letters_due
from app.mail.sending import send_due_letters
from app.oauth import bearer
from app.oauth import routes as oauth_routes
from app.oauth.authorization_request import forget_old_requests as forget_authorization_requests
from app.oauth.refused import forget_revoked_tokens
from app.oauth.spent import forget_spent
from app.redemption import routes as redemption_routes
from app.redemption.code_token import forget_code_tokens
from app.redemption.expire import expire_due, holds_open
from app.reports import routes as report_routes
from app.reports.watch_funds import watch_funds
from app.web import logs, problems, requests
from app.web.api import make_api
from app.web.converters import IdConverter
from app.web.metrics_server import Gauge
from app.widget import pages as widget_pages

#: So long each of the two counts may take.
GAUGES_WITHIN_MS = 2_000
LETTERS = ("claim", "reissue", "new_link", "hold_expired", "receipt", "refund")


def create_app(settings: config.Settings) -> Flask:
    """The service as a WSGI application."""
    wire(settings)
    app = Flask(__name__, static_folder=None)
    app.url_map.converters["id"] = IdConverter
    app.url_map.merge_slashes = False  # or `//docs` is sent on to a whole URL, with the host that the client named
    requests.register(app)
    problems.register(app)
    app.register_blueprint(
        Blueprint("web", "app.web", static_folder="static", template_folder="templates", static_url_path="/static/web")
    )
    api = make_api(app)
    api.register_blueprint(issuance_routes.blueprint)
    api.register_blueprint(redemption_routes.blueprint)
    api.register_blueprint(billing_routes.blueprint)
    admits = partial(bearer.may_send_large, scope="bill")
    requests.allow_large("/v1/bills", requests.Large(billing_routes.MOST_BYTES, admits))
    api.register_blueprint(alarm_routes.blueprint)
    api.register_blueprint(report_routes.blueprint)
    api.register_blueprint(finance_routes.blueprint)
    app.register_blueprint(oauth_routes.blueprint)
    app.register_blueprint(guard_pages.blueprint)
    app.register_blueprint(holder_pages.blueprint)
    app.register_blueprint(checkout_pages.blueprint)
    app.register_blueprint(widget_pages.blueprint)
    app.add_url_rule("/healthz", "health", show_health)
    request_limits.register(app, also=("docs", "api-docs.openapi_json"))
    return app


def wire(settings: config.Settings) -> None:
    """What the service, the worker and the commands share: settings, logs, and how letters are filled."""
    config.use(settings)
    request_limits.use_storage()
    configure_mappers()  # or the first threads of a fresh process do so at once, and one reads with half of a mapping
    logs.configure(settings.log_level)
    for kind in LETTERS:
        register_filling(kind, fill_letter)


def worker_tasks() -> list[Task]:
    """What the worker does."""
    return [
        Task("letters", 1, send_due_letters),
        Task("expire", 1, expire_due),
        Task("release", 1, release_abandoned),
        Task("bills", 1, work_on_bills),
        Task("self_bill", 3_600, self_bill),
        Task("forget_requests", 3_600, forget_old_requests),
        Task("forget_assertions", 600, forget_spent),
        Task("forget_revoked", 600, forget_revoked_tokens),
        Task("forget_checkouts", 3_600, forget_authorization_requests),
        Task("forget_code_tokens", 600, forget_code_tokens),
        Task("forget_counts", 600, forget_counts),
        Task("forget_captchas", 600, forget_spent_captchas),
        Task("forget_request_counts", 60, forget_request_counts),
        Task("alarms", 10, watch),
        Task("alarm_mail", 1, send_alarm_mail),
        Task("alarm_hooks", 1, send_alarm_hooks),
        Task("forget_alarms", 3_600, forget_alarms),
        Task("funds", 3_600, watch_funds),
        Task("snapshots", 60, refresh_snapshots),
    ]


def read_gauges() -> list[Gauge]:
    """What waits in the database, for the metrics. Raises Busy rather than to keep the database at work for long."""
    with transaction() as db:
        db.exec_driver_sql(f"SET LOCAL statement_timeout = {GAUGES_WITHIN_MS}")
        holds, hold_lag_s = holds_open(db)
        letters, letter_lag_s = letters_due(db)
    return [
        ("scrip_holds_open", "Payments that hold money.", holds),
        ("scrip_hold_lag_seconds", "How long ago the oldest open hold should have ended.", hold_lag_s),
        ("scrip_letters_waiting", "Letters that are due and not sent.", letters),
        ("scrip_letter_lag_seconds", "How long the oldest of them has been due.", letter_lag_s),
    ]


def show_health() -> Response:
    """200 while the database answers; Busy otherwise."""
    with transaction() as db:
        db.exec_driver_sql("SELECT 1")
    return jsonify(status="ok")
