"""The list of people that a class is made from: text out of a file or a form, hostile until every line of it was checked."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.machines.services import clean_name
from portal.refusal import Refused
from portal.teams.models import Role, Team

MOST_BYTES = 64 * 1024
MOST_PEOPLE = 200
_MOST_COLUMNS = 2
_FORMULA = ("=", "+", "-", "@", "\t")
_HEADINGS = {"account", "user", "username", "user name", "name", "mail", "email", "e-mail", "mail address"}


@dataclass(frozen=True)
class Line:
    """A line as it was typed; `number` is what an editor calls it."""

    number: int
    who: str
    machine: str


@dataclass(frozen=True)
class Wanted:
    """Somebody, and the name of the machine that they shall have."""

    person: User
    machine: str


class WrongLines(Refused):
    """Some lines cannot be; each is named in `lines`."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(_("Nothing was made: please correct these lines."), "people")
        self.lines = lines


def text_of(raw: bytes) -> str:
    """A file's text. Raises Refused."""
    if len(raw) > MOST_BYTES:
        raise Refused(_("The list is larger than 64 KB. Nothing was made."), "people")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        words = _("The file is no text in UTF-8. Save it as “CSV UTF-8”, then choose it again.")
        raise Refused(words, "people") from exc


def lines_of(text: str) -> list[Line]:
    """The lines of a list: an account's name or mail address, then the machine's name if wanted. Raises Refused."""
    if len(text.encode(errors="replace")) > MOST_BYTES:
        raise Refused(_("The list is larger than 64 KB. Nothing was made."), "people")
    found: list[Line] = []
    wrong: list[str] = []
    for number, raw in enumerate(text.splitlines(), 1):
        if not raw.strip():
            continue
        cells = _cells(raw)
        why = _("it cannot be read") if cells is None else _wrong_in(cells)
        if cells is not None and number == 1 and cells[0].casefold() in _HEADINGS:
            continue
        if cells is None or why:
            wrong.append(_line(number, why))
            continue
        found.append(Line(number, cells[0], cells[1] if len(cells) > 1 else ""))
        if len(found) > MOST_PEOPLE:
            raise Refused(
                _("A class has at most %(most)d people. Nothing was made.") % {"most": MOST_PEOPLE}, "people"
            )
    if wrong:
        raise WrongLines(wrong)
    if not found:
        raise Refused(_("The list names nobody. Nothing was made."), "people")
    return found


def wanted_of(lines: Iterable[Line], *, class_name: str, team: Team | None) -> list[Wanted]:
    """The people of the lines and their machines' names; with a `team` only those who may have machines there.

    Raises WrongLines, which names all lines that cannot be.
    """
    lines = list(lines)
    people = _people(team)
    by_name = {person.username: person for person in people}
    by_mail: dict[str, list[User]] = {}
    for person in people:
        if person.email:
            by_mail.setdefault(person.email.casefold(), []).append(person)
    found: list[Wanted] = []
    wrong: list[str] = []
    first: dict[int, int] = {}
    names: dict[object, int] = {}
    for line in lines:
        fits = [by_name[line.who]] if line.who in by_name else by_mail.get(line.who.casefold(), [])
        if len(fits) != 1:
            wrong.append(_line(line.number, _nobody(line.who, team, several=bool(fits))))
            continue
        person = fits[0]
        if person.pk in first:
            words = _("“%(who)s” is on line %(first)d already")
            wrong.append(_line(line.number, words % {"who": line.who, "first": first[person.pk]}))
            continue
        first[person.pk] = line.number
        try:
            name = clean_name(line.machine or name_for(person, class_name))
        except Refused as refusal:
            wrong.append(_line(line.number, refusal.message))
            continue
        home = (name, None if team else person.pk)
        if home in names:
            words = _("a machine “%(name)s” is on line %(first)d already")
            wrong.append(_line(line.number, words % {"name": name, "first": names[home]}))
            continue
        names[home] = line.number
        found.append(Wanted(person, name))
    if wrong:
        raise WrongLines(wrong)
    return found


def name_for(person: User, class_name: str) -> str:
    """What a machine is called where the list does not say: after its person, then the class."""
    return f"{person.username}-{class_name}"


def text_of_team(team: Team) -> str:
    """The list of those who may have machines in a team."""
    return written((person.username, "") for person in sorted(_people(team), key=lambda each: each.username))


def written(rows: Iterable[tuple[str, str]]) -> str:
    """A list as text that `lines_of` reads the same; with headings, since somebody may be called like one."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([("account", "machine"), *rows])
    return out.getvalue()


def _people(team: Team | None) -> list[User]:
    people = User.objects.filter(is_active=True, audits=False) | User.objects.filter(
        is_active=True, is_staff=True
    )
    if team is not None:
        people = people.filter(memberships__team=team, memberships__role__in=(Role.OWNER, Role.MEMBER))
    return list(people.distinct())


def _cells(raw: str) -> list[str] | None:
    separator = next((each for each in (";", "\t") if each in raw and "," not in raw), ",")
    try:
        [cells] = csv.reader([raw], delimiter=separator, strict=True)
    except (csv.Error, ValueError):
        return None
    return [unicodedata.normalize("NFC", cell.strip()) for cell in cells]


def _wrong_in(cells: list[str]) -> str:
    if not cells[0]:
        return _("it names nobody")
    if any(cells[_MOST_COLUMNS:]):
        return _("it has more than two columns")
    if any(cell.startswith(_FORMULA) for cell in cells):
        return _("it begins like a formula of a spreadsheet")
    if any(unicodedata.category(each) == "Cc" for cell in cells for each in cell):
        return _("it has characters that cannot be seen")
    return ""


def _nobody(who: str, team: Team | None, *, several: bool) -> str:
    words = {"who": who[:80], "team": team.name if team else ""}
    if several:
        return _("“%(who)s” is the mail address of several accounts; write the account's name") % words
    if team is not None:
        return _("“%(who)s” is no owner or member of the team “%(team)s”") % words
    return _("there is nobody “%(who)s” here who could have a machine") % words


def _line(number: int, why: str) -> str:
    return _("Line %(number)d: %(why)s.") % {"number": number, "why": why.rstrip(".")}
