"""Teams; everything that changes something is a POST."""

from django.urls import path

from portal.teams import views

app_name = "teams"
urlpatterns = [
    path("", views.team_list, name="list"),
    path("new/", views.team_new, name="new"),
    path("<int:team_id>/", views.team_detail, name="detail"),
    path("<int:team_id>/change/", views.team_change, name="change"),
    path("<int:team_id>/leave/", views.team_leave, name="leave"),
    path("<int:team_id>/delete/", views.team_delete, name="delete"),
    path("<int:team_id>/members/add/", views.member_add, name="member-add"),
    path("<int:team_id>/members/role/", views.member_role, name="member-role"),
    path("<int:team_id>/members/remove/", views.member_remove, name="member-remove"),
]
