"""Beginning and ending to act as somebody else."""

from django.urls import path

from portal.impersonation import views

app_name = "impersonation"
urlpatterns = [
    path("people/<int:user_id>/impersonate/", views.impersonation_begin, name="begin"),
    path("impersonation/end/", views.impersonation_end, name="end"),
]
