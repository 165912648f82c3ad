"""Where the shop's pages are: all of Oscar's, and Django's admin."""

from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.urls import include, path, re_path
from django.views.static import serve

from shop.views import BooksView

urlpatterns = [
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    # The covers. A real shop's web server does this itself.
    re_path(r"^media/(?P<path>.+)$", serve, {"document_root": settings.MEDIA_ROOT}),
    path("catalogue/", BooksView.as_view()),
    re_path(r"^catalogue/category/[\w/-]+_(?P<kind>\d+)/$", BooksView.as_view()),
    path("search/", BooksView.as_view()),
    path("", include(apps.get_app_config("oscar").urls[0])),
]
