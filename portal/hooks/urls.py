"""The pages of web hooks."""

from django.urls import path

from portal.hooks import views

app_name = "hooks"
urlpatterns = [
    path("", views.hook_list, name="list"),
    path("new/", views.hook_new, name="new"),
    path("<int:hook_id>/", views.hook_detail, name="detail"),
    path("<int:hook_id>/test/", views.hook_test, name="test"),
    path("<int:hook_id>/secret/", views.hook_secret, name="secret"),
    path("<int:hook_id>/delete/", views.hook_delete, name="delete"),
]
