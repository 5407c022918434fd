"""The people of the site, for administrators."""

from django.urls import path

from portal.accounts.views import people

app_name = "people"
urlpatterns = [
    path("", people.people_list, name="list"),
    path("invite/", people.invite, name="invite"),
    path("invitations/<int:invitation_id>/withdraw/", people.withdraw, name="withdraw"),
    path("registration/", people.registration_set, name="registration"),
    path("<int:user_id>/", people.detail, name="detail"),
    path("<int:user_id>/approve/", people.approve, name="approve"),
    path("<int:user_id>/decline/", people.decline, name="decline"),
    path("<int:user_id>/roles/", people.roles_set, name="roles"),
    path("<int:user_id>/switch-off/", people.switch_off, name="switch-off"),
    path("<int:user_id>/switch-on/", people.switch_on, name="switch-on"),
    path("<int:user_id>/sign-out/", people.sign_out, name="sign-out"),
    path("<int:user_id>/second-factor/", people.second_factor_remove, name="second-factor"),
    path("<int:user_id>/password-link/", people.password_link, name="password-link"),
]
