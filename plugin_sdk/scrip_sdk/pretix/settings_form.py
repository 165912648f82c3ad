"""What an event's organizer says in the back office, and whether the service agrees."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from i18nfield.forms import I18nFormField, I18nTextInput
from pretix.base.forms import SECRET_REDACTED, SecretKeySettingsField

from scrip_sdk import NotAllowed, RequestRejected, ScripError
from scrip_sdk.calls import get
from scrip_sdk.pretix.clients import PROVIDER, make_client

#: Well formed, and nobody's: whoever may ask for payments is told that there is none.
NOBODYS = "pay_" + "0" * 26
MODES = (("", "live"), ("test_", "test"))


def fields() -> "dict[str, forms.Field]":
    """Of the settings form, by their names without prefix."""
    return {
        "public_name": I18nFormField(label=_("Payment method name"), widget=I18nTextInput, required=False),
        "url": forms.URLField(
            label=_("Address of the service"),
            help_text=_("Its origin, such as https://cards.example."),
            assume_scheme="https",
        ),
        "client_id": forms.CharField(label=_("Client ID"), required=False),
        "client_secret": SecretKeySettingsField(label=_("Client secret"), required=False),
        "test_client_id": forms.CharField(
            label=_("Client ID for test mode"),
            required=False,
            help_text=_("Orders in test mode are paid with test cards by this client, and never by the other one."),
        ),
        "test_client_secret": SecretKeySettingsField(label=_("Client secret for test mode"), required=False),
        "checkout": forms.ChoiceField(
            label=_("Where codes are typed"),
            choices=(
                ("typed", _("In this shop")),
                ("hosted", _("At the service's page: this shop never sees a code")),
            ),
            initial="typed",
            required=False,
        ),
    }


def clean(event: Any, cleaned: "dict[str, Any]") -> "dict[str, Any]":
    """Asks the service, once with each client. Raises ValidationError, which says what to mend and never a secret."""
    url = str(cleaned.get(f"payment_{PROVIDER}_url") or "").rstrip("/")
    if not url:
        return cleaned  # which the form has said
    cleaned[f"payment_{PROVIDER}_url"] = url
    errors: dict[str, Any] = {}
    said = 0
    for prefix, mode in MODES:
        id_field, secret_field = (f"payment_{PROVIDER}_{prefix}client_{part}" for part in ("id", "secret"))
        client_id, secret = cleaned.get(id_field) or "", cleaned.get(secret_field) or ""
        if secret == SECRET_REDACTED:
            secret = event.settings.get(secret_field) or ""
        if bool(client_id) != bool(secret):
            errors[secret_field if client_id else id_field] = _("The client's ID and its secret belong together.")
        elif client_id:
            said += 1
            if error := _wrong(url, client_id, secret, mode):
                errors[secret_field] = error
    if not said and not errors:
        errors[f"payment_{PROVIDER}_client_id"] = _("A client is needed, for live mode, for test mode, or for both.")
    if errors:
        raise ValidationError(errors)
    return cleaned


def _wrong(url: str, client_id: str, secret: str, mode: str) -> Any:
    """What is wrong with a client, or None."""
    if secret.startswith("scrip_") and not secret.startswith(f"scrip_{mode}_"):
        if mode == "live":
            return _("This is the secret of a client for test mode.")
        return _("This is the secret of a client for live mode: tests would take real money.")
    try:
        make_client(url, client_id, secret).ask(get(NOBODYS))
    except ValueError as error:
        return _("This address cannot be used: %(why)s.") % {"why": error}
    except RequestRejected as error:
        return None if error.status == 404 else _says(error)
    except NotAllowed:
        return _("The service does not know this client, or its secret is another one.")
    except ScripError as error:
        return _says(error)
    return None


def _says(error: ScripError) -> Any:
    if error.slug == "address-not-allowed":
        return _(
            "pretix does not ask private addresses, and the service's is one. Whoever runs this pretix can allow it by "
            "allow_http_to_private_networks in the section [pretix] of pretix.cfg."
        )
    if error.slug == "not-trusted":
        return _("The certificate of the service is not trusted here.")
    return _("The service cannot be reached, or is no gift card service (%(slug)s).") % {"slug": error.slug}
