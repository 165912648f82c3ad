"""Tables: the captchas that were solved and used, so that none is used twice."""

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.dialects.postgresql import BYTEA
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import At, Base


class SpentCaptcha(Base):
    """A solved challenge by its signature; of no use after its end."""

    __tablename__ = "spent_captcha"
    __table_args__ = (
        CheckConstraint("octet_length(signature) = 32", name="spent_captcha_signature_sha256"),
        Index("spent_captcha_by_end", "expires_at"),
    )

    signature: Mapped[bytes] = mapped_column(BYTEA, primary_key=True)
    expires_at: Mapped[At]
