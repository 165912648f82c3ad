"""The API of alarms, for the parties that they concern."""

from typing import Any

from app.alarms import schemas
from app.guard.alarms import list_alarms_of, read_alarm
from app.oauth.bearer import caller, requires
from app.web.api import ApiBlueprint
from app.web.paging import page_of

blueprint = ApiBlueprint("Alarms", __name__, url_prefix="/v1", description="What is unusual about a party")


@blueprint.operation("GET", "/alarms", requires("guard.read"), query=schemas.AlarmQuery, answer=schemas.AlarmPage)
def get_alarms(query: dict[str, Any]) -> dict[str, Any]:
    """List alarms"""
    return page_of(lambda **where: list_alarms_of(caller().party_id, **where), query)


@blueprint.operation("GET", "/alarms/<id(alarm):alarm_id>", requires("guard.read"), answer=schemas.AlarmOut)
def get_alarm(alarm_id: str) -> Any:
    """Read an alarm"""
    return read_alarm(alarm_id, party_id=caller().party_id)
