"""The declarative base of every room's tables, and the column types that they share."""

from datetime import datetime
from typing import Annotated, Any, ClassVar

from sqlalchemy import BigInteger, DateTime, MetaData, Row, Select, Text
from sqlalchemy.orm import DeclarativeBase, mapped_column

from app.ids import CardId, CodeId, IssuerId, LinkId, PaymentId, ProgrammeId, StoreId

#: An identifier: compared byte by byte, whatever the database's collation.
Id = Annotated[str, mapped_column(Text(collation="C"))]
#: An amount in minor units.
Minor = Annotated[int, mapped_column(BigInteger)]
#: A time with its zone.
At = Annotated[datetime, mapped_column(DateTime(timezone=True))]
#: Plain text.
Words = Annotated[str, mapped_column(Text)]


class Base(DeclarativeBase):
    """Tables are just tables: columns and constraints, no business methods, no session."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        kind: Text(collation="C") for kind in (IssuerId, ProgrammeId, CardId, LinkId, CodeId, StoreId, PaymentId)
    }
    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        }
    )


#: A row of whatever columns its query names.
AnyRow = Row[*tuple[Any, ...]]
#: A query whose columns are named where it stands.
AnySelect = Select[*tuple[Any, ...]]
