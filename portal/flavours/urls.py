"""The administrator's pages of sizes."""

from django.urls import path

from portal.flavours import views

app_name = "flavours"
urlpatterns = [
    path("", views.flavour_list, name="list"),
    path("new/", views.flavour_add, name="add"),
    path("<int:flavour_id>/", views.flavour_change, name="change"),
    path("<int:flavour_id>/move/", views.flavour_move, name="move"),
    path("<int:flavour_id>/remove/", views.flavour_remove, name="remove"),
]
