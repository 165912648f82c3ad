"""The field into which a shopper types a code: checked before any call, and never shown again."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from scrip_sdk import Code, CodeMistyped
from scrip_sdk.code import LONGEST_TYPED
from scrip_sdk.django.reporting import hide_field


class CodeInput(forms.TextInput):
    """No browser or password manager keeps what is typed here, and a form that is shown again does not show it."""

    def __init__(self, attrs: "dict[str, Any] | None" = None) -> None:
        own = {
            "autocomplete": "off",
            "autocapitalize": "characters",
            "autocorrect": "off",
            "spellcheck": "false",
            # 1Password, LastPass, Bitwarden and Dashlane, in this order
            "data-1p-ignore": "",
            "data-lpignore": "true",
            "data-bwignore": "",
            "data-form-type": "other",
        }
        super().__init__({**own, **(attrs or {})})

    def get_context(self, name: str, value: object, attrs: "dict[str, Any] | None") -> "dict[str, Any]":
        """Without the value, as Django's PasswordInput does."""
        context: dict[str, Any] = super().get_context(name, None, attrs)
        return context


class CodeField(forms.Field):
    """Cleans to a `scrip_sdk.Code`; None where it is not required and empty. Its messages never say what was typed."""

    widget = CodeInput
    default_error_messages = {  # noqa: RUF012 – as Django has it
        "required": _("Please type the code of your gift card."),
        "mistyped": _("There is a typing mistake in this code. Please look again."),
    }

    def __init__(self, **options: Any) -> None:
        options.setdefault("label", _("Gift card code"))
        super().__init__(**options)

    def widget_attrs(self, widget: forms.Widget) -> "dict[str, Any]":
        """No longer than what can be a code, whatever is put between its groups."""
        return {**super().widget_attrs(widget), "maxlength": str(LONGEST_TYPED)}

    def to_python(self, value: object) -> "Code | None":
        """Raises ValidationError for what is not a code; no call is made."""
        if isinstance(value, Code) or value in self.empty_values or not str(value).strip():
            return value if isinstance(value, Code) else None
        try:
            return Code(str(value))
        except CodeMistyped:
            raise ValidationError(self.error_messages["mistyped"], code="mistyped") from None

    def has_changed(self, initial: object, data: object) -> bool:
        """Whether anything was typed."""
        return bool(data)

    def get_bound_field(self, form: Any, field_name: str) -> Any:
        """From its first use on, error reports know that this is where a code is posted."""
        hide_field(form.add_prefix(field_name))
        return super().get_bound_field(form, field_name)
