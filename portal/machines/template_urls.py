"""The pages of templates; everything that changes something is a POST."""

from django.urls import path

from portal.machines.views import templates

app_name = "templates"
urlpatterns = [
    path("", templates.template_list, name="list"),
    path("<uuid:template_id>/", templates.template_use, name="use"),
    path("<uuid:template_id>/delete/", templates.template_delete, name="delete"),
]
