"""Where the shop's pages are."""

from django.contrib import admin
from django.urls import path

from django_shop import views

urlpatterns = [
    path("", views.basket),
    path("card", views.add_card),
    path("remove", views.remove_card),
    path("place", views.place_order),
    path("admin/", admin.site.urls),
]
