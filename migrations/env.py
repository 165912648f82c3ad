"""Alembic's environment: migrations run as the owner of the schema, in one transaction."""

from alembic import context
from sqlalchemy import create_engine, text

import app.billing.break_models
import app.billing.models
import app.billing.pay_models
import app.db.request
import app.events.event
import app.guard.alarm_models
import app.guard.captcha_models
import app.guard.limit_models
import app.guard.models
import app.issuance.models
import app.ledger.models
import app.mail.models
import app.oauth.models
import app.redemption.models
import app.reports.models  # noqa: F401  every room's tables, for the comparison with the database
from app.db.base import Base

engine = create_engine(context.config.attributes["url"], connect_args={"options": "-c lock_timeout=5000"})
with engine.begin() as connection:
    connection.execute(text("SET LOCAL ROLE scrip_owner"))
    context.configure(connection=connection, target_metadata=Base.metadata, version_table="schema_version")
    context.run_migrations()
engine.dispose()
