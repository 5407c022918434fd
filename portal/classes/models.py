"""Classes of machines, and who has which."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models

from portal.activity.models import Kind


class Class(models.Model):
    """Machines that were made together. `act` is what was asked of all of them last; its members have what came of it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=40)
    template = models.ForeignKey(
        "machines.Template", null=True, on_delete=models.SET_NULL, related_name="classes"
    )
    template_name = models.CharField(max_length=63)
    team = models.ForeignKey(
        "teams.Team", null=True, on_delete=models.CASCADE, related_name="classes",
        help_text="whose the machines are; empty: each is its person's",
    )  # fmt: skip
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="classes"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    act = models.CharField(max_length=24, choices=Kind.choices, default=Kind.CREATE)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name


class Member(models.Model):
    """A person of a class and their machine; the names stay when either is gone."""

    in_class = models.ForeignKey(Class, on_delete=models.CASCADE, related_name="members")
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    person_name = models.CharField(max_length=150)
    machine = models.ForeignKey("machines.Machine", null=True, on_delete=models.SET_NULL, related_name="+")
    machine_name = models.CharField(max_length=63)
    operation = models.ForeignKey(
        "activity.Operation", null=True, on_delete=models.SET_NULL, related_name="+",
        help_text="what was asked of it last with all the others",
    )  # fmt: skip
    refusal = models.TextField(blank=True, help_text="why nothing was asked of it with the others")

    class Meta:
        ordering = ["person_name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["in_class", "person"], name="one_machine_a_person_and_class")
        ]

    def __str__(self) -> str:
        return f"{self.person_name}: {self.machine_name}"
