"""The shelves: Oscar shows its own from a search engine, and this shop has none."""

from typing import Any

from django.db.models import QuerySet
from django.views.generic import ListView
from oscar.core.loading import get_model

Product = get_model("catalogue", "Product")


class BooksView(ListView):
    """All books, those of one kind, or those with a word in their title."""

    template_name = "shop/books.html"
    context_object_name = "books"

    def get_queryset(self) -> QuerySet[Any]:
        """In the order of their titles."""
        books = Product.objects.browsable().base_queryset().order_by("title")
        if "kind" in self.kwargs:
            books = books.filter(categories=self.kwargs["kind"])
        return books.filter(title__icontains=self.request.GET.get("q", ""))
