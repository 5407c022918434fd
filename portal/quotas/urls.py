"""The administrator's pages of quotas."""

from django.urls import path, re_path

from portal.quotas import views

app_name = "quotas"
urlpatterns = [
    path("", views.quota_list, name="list"),
    re_path(r"^(?P<whose>every_person|every_team)/\Z", views.quota_of_all, name="of-all"),
    path("people/<int:user_id>/", views.quota_of_person, name="of-person"),
    path("teams/<int:team_id>/", views.quota_of_team, name="of-team"),
    path("raises/<int:raise_id>/end/", views.quota_raise_end, name="end-raise"),
    path("<int:quota_id>/remove/", views.quota_remove, name="remove"),
]
