"""The pages of requests."""

from django.urls import path

from portal.requests import views

app_name = "requests"
urlpatterns = [
    path("", views.request_list, name="list"),
    path("quota/", views.quota_ask, name="quota"),
    path("decide/", views.request_decide_many, name="decide-many"),
    path("<uuid:request_id>/", views.request_detail, name="detail"),
    path("<uuid:request_id>/withdraw/", views.request_withdraw, name="withdraw"),
    path("<uuid:request_id>/answer/", views.request_answer, name="answer"),
    path("<uuid:request_id>/decide/", views.request_decide, name="decide"),
]
