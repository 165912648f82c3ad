"""Where shoppers come back to from the hosted checkout."""

from django.urls import path

from scrip_sdk.pretix.hosted import ReturnView

event_patterns = [path("scrip/return/", ReturnView.as_view(), name="return")]
