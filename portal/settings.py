"""Django's settings: sound defaults, everything an installation changes comes from OFFSHOOT_* variables."""

from __future__ import annotations

import hashlib
import os
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import allauth
import django
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from portal.logs import send_to_logging
from portal.secrets import load_or_create

BASE_DIR = Path(__file__).resolve().parent.parent
STATE_DIR = Path(os.environ.get("OFFSHOOT_STATE", "/var/lib/offshoot"))
PORTAL_DIR = STATE_DIR / "portal"
LIBRARY_DIR = PORTAL_DIR / "library"
UPLOAD_DIR = PORTAL_DIR / "uploads"
EXPORT_DIR = PORTAL_DIR / "exports"
AUDIT_ANCHOR = PORTAL_DIR / "activity.json"

_secrets = load_or_create(PORTAL_DIR / "secrets.json")
SECRET_KEY = _secrets.django_key
FLEET_KEY = _secrets.fleet_key

DEBUG = False


def _passkey_host(scheme: str, host: str) -> str:
    """The name that passkeys belong to; empty where browsers have none: without TLS, or at a bare address (w3.org/TR/webauthn)."""
    is_address = ":" in host or host.replace(".", "").isdecimal()
    return host if host == "localhost" or (scheme == "https" and not is_address) else ""


# Where the pages are reached. Behind a proxy with TLS: OFFSHOOT_ORIGIN=https://machines.example.org
LISTEN = os.environ.get("OFFSHOOT_LISTEN", "127.0.0.1:8000")
PORTAL_SOCKET = Path(os.environ.get("OFFSHOOT_PORTAL_SOCKET", str(PORTAL_DIR / "web.sock")))
ORIGIN = os.environ.get("OFFSHOOT_ORIGIN", f"http://{LISTEN}").rstrip("/")
_origin = urlsplit(ORIGIN)
_over_tls = _origin.scheme == "https"
ALLOWED_HOSTS = sorted({_origin.hostname or "127.0.0.1", "127.0.0.1", "localhost", "[::1]"})
CSRF_TRUSTED_ORIGINS = [ORIGIN]
CSRF_FAILURE_VIEW = "portal.accounts.views.errors.csrf_failed"
_port = f":{_origin.port}" if _origin.port else ""
PASSKEY_HOST = _passkey_host(_origin.scheme, _origin.hostname or "")
WEBSOCKET_ORIGINS = [ORIGIN, *(f"{_origin.scheme}://{name}{_port}" for name in ALLOWED_HOSTS)]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _over_tls else None

INSTALLED_APPS = [
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "channels",
    "csp",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "portal.accounts",
    "portal.teams",
    "portal.rights",
    "portal.flavours",
    "portal.quotas",
    "portal.fleet",
    "portal.images",
    "portal.networks",
    "portal.machines",
    "portal.figures",
    "portal.screens",
    "portal.backups",
    "portal.exports",
    "portal.activity",
    "portal.audit",
    "portal.notices",
    "portal.hooks",
    "portal.console",
    "portal.live",
    "portal.requests",
    "portal.leases",
    "portal.classes",
]

MIDDLEWARE = [
    "portal.few_at_once.few_at_once",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "portal.rights.gate.Gate",
    "django.contrib.messages.middleware.MessageMiddleware",
    "portal.audit.middleware.origin_of_requests",
    "portal.impersonation.middleware.impersonation",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "portal.accounts.middleware.CountsOutOfReach",
    "portal.one_thread.in_one_thread",
]

_ADMIN = Path(django.__file__).parent / "contrib" / "admin"
ROOT_URLCONF = "portal.urls"
ASGI_APPLICATION = "portal.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    [
                        "django.template.loaders.filesystem.Loader",
                        # The admin's alone: allauth's own pages and messages are none of this site's.
                        ("django.template.loaders.filesystem.Loader", [_ADMIN / "templates"]),
                    ],
                )
            ],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.fleet.context.navigation",
                "portal.accounts.context.possible",
                "portal.requests.context.navigation",
                "portal.notices.context.bell",
                "portal.impersonation.context.banner",
            ],
            "builtins": ["portal.live.templatetags.page"],
        },
    }
]


def _database(url: str) -> dict[str, Any]:
    """SQLite in the state folder, or the PostgreSQL that OFFSHOOT_DATABASE_URL names."""
    if not url:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": PORTAL_DIR / "db.sqlite3",
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                # FULL: what was answered to a person survives a power cut (sqlite.org/pragma.html#pragma_synchronous).
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
            },
        }
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres"):
        raise ImproperlyConfigured("OFFSHOOT_DATABASE_URL must be postgresql://user:password@host:5432/name")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
    }


DATABASES = {"default": _database(os.environ.get("OFFSHOOT_DATABASE_URL", ""))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

BROKER_URL = os.environ.get("OFFSHOOT_BROKER_URL", f"redis+socket://{STATE_DIR}/redis/redis.sock")
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [BROKER_URL.replace("redis+socket://", "unix://")], "prefix": "offshoot-live"},
    }
}

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "machines:list"
LOGOUT_REDIRECT_URL = "account_login"
PASSWORD_RESET_TIMEOUT = 24 * 3600

# How wrong passwords and codes are counted, for every process of the site.
CACHES: dict[str, Any] = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": BROKER_URL.replace("redis+socket://", "unix://"),
        "KEY_PREFIX": "offshoot-cache",
        "OPTIONS": {"socket_timeout": 2, "socket_connect_timeout": 2},
    }
}
ACCOUNT_ADAPTER = "portal.accounts.adapter.AccountAdapter"
ACCOUNT_FORMS = {
    "login": "portal.accounts.forms.SignInForm",
    "signup": "portal.accounts.forms.RegisterForm",
    "add_email": "portal.accounts.forms.AddressForm",
}
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*", "password2*"]
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_EMAIL_VERIFICATION = (
    "none"  # who registers is let in by an administrator; a changed address is confirmed
)
ACCOUNT_EMAIL_CONFIRMATION_AUTHENTICATED_REDIRECT_URL = "account_email"
ACCOUNT_EMAIL_SUBJECT_PREFIX = "Offshoot: "
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_PREVENT_ENUMERATION = "strict"
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_REAUTHENTICATION_TIMEOUT = 15 * 60
ACCOUNT_RATE_LIMITS = {
    "login_failed": "5/15m/key",  # a name from an address, or the second factor of an account
    "login": "60/m/ip",
    "signup": "20/h/ip",
    "reset_password": "20/h/ip,5/h/key",
    "change_password": "10/m/user",
}
MFA_ADAPTER = "portal.accounts.adapter.SecondFactorAdapter"
MFA_FORMS = {
    "add_webauthn": "portal.accounts.passkey_forms.AddPasskeyForm",
    "login_webauthn": "portal.accounts.passkey_forms.SignInPasskeyForm",
    "authenticate_webauthn": "portal.accounts.passkey_forms.SecondStepPasskeyForm",
    "reauthenticate_webauthn": "portal.accounts.passkey_forms.AgainPasskeyForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_ALLOW_UNVERIFIED_EMAIL = True  # there may be no mail server to confirm it by
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_TOTP_ISSUER = "Offshoot"
USERSESSIONS_ADAPTER = "portal.accounts.adapter.SessionsAdapter"

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _over_tls
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Strict"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 14 * 24 * 3600
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if _over_tls else 0
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English"))]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"


def _mail(url: str) -> dict[str, Any]:
    """Django's settings for a mail server: smtp://user:password@host:25, smtp+tls:// (STARTTLS) or smtps://; none without one."""
    if not url:
        return {"EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend"}
    parts = urlsplit(url)
    if parts.scheme not in ("smtp", "smtp+tls", "smtps") or not parts.hostname:
        raise ImproperlyConfigured("OFFSHOOT_MAIL_URL must be smtp+tls://user:password@mail.example.org:587")
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or {"smtp": 25, "smtp+tls": 587, "smtps": 465}[parts.scheme],
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_TLS": parts.scheme == "smtp+tls",
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_TIMEOUT": 20,
    }


_mail_url = os.environ.get("OFFSHOOT_MAIL_URL", "")
HAS_MAIL = bool(_mail_url)
globals().update(_mail(_mail_url))
DEFAULT_FROM_EMAIL = SERVER_EMAIL = os.environ.get(
    "OFFSHOOT_MAIL_FROM", f"Offshoot <offshoot@{_origin.hostname or 'localhost'}>"
)


def _private_subnet(raw: str) -> str:
    """A private IPv4 subnet with room for machines, checked once, before it is stored for ever."""
    try:
        subnet = IPv4Network(raw)
    except ValueError as exc:
        raise ImproperlyConfigured(f"OFFSHOOT_PRIVATE_SUBNET {raw!r} is no IPv4 subnet: {exc}") from exc
    if not subnet.is_private or not 16 <= subnet.prefixlen <= 28:
        raise ImproperlyConfigured(
            f"OFFSHOOT_PRIVATE_SUBNET {raw!r} must be a private subnet of /16 to /28, as 192.168.57.0/24"
        )
    return str(subnet)


def _published_ports(raw: str) -> range:
    """The ports of a host at which machines may be reached: first and last one, none of the privileged."""
    first, _dash, last = raw.partition("-")
    if not (first.isdecimal() and last.isdecimal() and 1024 <= int(first) <= int(last) <= 65535):
        raise ImproperlyConfigured(
            f"OFFSHOOT_PUBLISHED_PORTS {raw!r} must be two ports of 1024 to 65535, as 20000-29999"
        )
    return range(int(first), int(last) + 1)


def _gib(variable: str, default: str) -> int:
    """A size in bytes from a variable in GiB."""
    raw = os.environ.get(variable, default)
    if not raw.isdecimal() or int(raw) < 1:
        raise ImproperlyConfigured(f"{variable} {raw!r} must be a whole number of GiB")
    return int(raw) * 1024**3


def _mirror(raw: str) -> str:
    """The address of a mirror without its last slash; empty for the makers' own servers."""
    parts = urlsplit(raw)
    if raw and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment):
        raise ImproperlyConfigured(
            f"OFFSHOOT_MIRROR {raw!r} must be an address as https://mirror.example.org/linux"
        )
    return raw.rstrip("/")


def _build() -> str:
    """A digest of everything static: part of its address, so that browsers may keep each file for ever."""
    versions = f"{allauth.__version__} {django.__version__}"
    digest = hashlib.sha256((BASE_DIR / "package-lock.json").read_bytes() + versions.encode())
    for path in sorted((BASE_DIR / "static").rglob("*")):
        if path.is_file():
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


BUILD = _build()
STATIC_URL = f"/static/{BUILD}/"
STATIC_ROOT = PORTAL_DIR / "static" / BUILD
_npm = BASE_DIR / "node_modules"
ICONS_DIR = _npm / "bootstrap-icons" / "icons"
STATICFILES_DIRS = [
    ("", BASE_DIR / "static"),
    ("novnc/core", _npm / "@novnc" / "novnc" / "core"),
    ("novnc/vendor", _npm / "@novnc" / "novnc" / "vendor"),
    ("tabler", _npm / "@tabler" / "core" / "dist" / "css"),
    ("uplot", _npm / "uplot" / "dist"),
    ("idiomorph", _npm / "idiomorph" / "dist"),
    ("tus", _npm / "tus-js-client" / "dist"),
]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
WHITENOISE_IMMUTABLE_FILE_TEST = lambda path, url: True  # noqa: E731  the address carries BUILD

PRIVATE_SUBNET = _private_subnet(os.environ.get("OFFSHOOT_PRIVATE_SUBNET", "192.168.57.0/24"))
PUBLISHED_PORTS = _published_ports(os.environ.get("OFFSHOOT_PUBLISHED_PORTS", "20000-29999"))
HOST_SILENT_SECONDS = 10
UPLOAD_CHUNK_BYTES = 8 * 1024 * 1024
LARGEST_BODY_BYTES = UPLOAD_CHUNK_BYTES + 64 * 1024
MIRROR = _mirror(os.environ.get("OFFSHOOT_MIRROR", ""))
# Web hooks may lead to this very host, or to addresses of its own cable, only where an administrator of the host says so.
LOCAL_HOOKS = os.environ.get("OFFSHOOT_LOCAL_HOOKS", "") == "yes"
UPLOAD_LARGEST_BYTES = _gib("OFFSHOOT_UPLOAD_LARGEST_GIB", "64")
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "portal.logs.json_formatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": os.environ.get("OFFSHOOT_LOG_LEVEL", "INFO")},
    "loggers": {name: {"level": "WARNING"} for name in ("httpx", "celery", "uvicorn")},
}
send_to_logging()
