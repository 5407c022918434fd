"""The library, the tus uploads into it, and the way on which hosts fetch a disc."""

from django.urls import path

from portal.images import tus, views

app_name = "images"
urlpatterns = [
    path("", views.library, name="library"),
    path("catalogue/", views.download_begin, name="download"),
    path("catalogue/<uuid:download_id>/<str:wish>/", views.download_change, name="download-change"),
    path("uploads/", tus.uploads, name="uploads"),
    path("uploads/<uuid:upload_id>/", tus.upload, name="upload"),
    path("<uuid:image_id>/edit/", views.image_edit, name="edit"),
    path("<uuid:image_id>/delete/", views.image_delete, name="delete"),
    path("<uuid:image_id>/file/", views.image_file, name="file"),
]
