"""The schema, as a list of steps that are never edited once released.

A new column or table is a new function at the end. Each step runs in its own transaction and is recorded in
the table `migrations`.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import sqlite_utils
from sqlite_utils.db import Table

from voiceengine.errors import StoreError
from voiceengine.store.list_schema import ListSchema
from voiceengine.store.list_schema import add as add_list_schema
from voiceengine.store.rows import now

Step = Callable[[sqlite_utils.Database], None]


@attrs.frozen
class Migration:
    """A named step."""

    name: str
    apply: Step


_REGISTRY: list[Migration] = []


def migration(step: Step) -> Step:
    """Register a step under the name of its function; the order of definition is the order of application."""
    name = step.__name__
    if any(known.name == name for known in _REGISTRY):
        raise ValueError(f"two migrations are named {name}")
    _REGISTRY.append(Migration(name, step))
    return step


def registered() -> tuple[Migration, ...]:
    """All steps, oldest first."""
    return tuple(_REGISTRY)


def migrate(database: sqlite_utils.Database, steps: tuple[Migration, ...] | None = None) -> list[str]:
    """Apply the steps that this database has not seen; names of those applied.

    The connection must be in autocommit mode. A step that fails leaves nothing behind.

    Raises:
        StoreError: the database was written by a newer version.
    """
    steps = registered() if steps is None else steps
    connection = database.conn
    connection.execute("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at REAL)")
    seen = {name for (name,) in connection.execute("SELECT name FROM migrations")}
    unknown = sorted(seen - {step.name for step in steps})
    if unknown:
        raise StoreError(
            f"The database was written by a newer version (unknown migrations: {', '.join(unknown)}); "
            "start that version, or use another folder."
        )
    applied: list[str] = []
    for step in steps:
        if step.name in seen:
            continue
        connection.execute("BEGIN IMMEDIATE")
        try:
            step.apply(database)
            connection.execute("INSERT INTO migrations VALUES (?, ?)", (step.name, now()))
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        applied.append(step.name)
    return applied


def _create(
    database: sqlite_utils.Database,
    name: str,
    pk: str | tuple[str, ...],
    columns: Mapping[str, Any],
    *indexes: list[str],
) -> Table:
    table = database.create_table(name, dict(columns), pk=pk)
    for index in indexes:
        table.create_index(index)
    return table


_TEXT = dict.fromkeys


def _table(database: sqlite_utils.Database, name: str) -> Table:
    return typing.cast(Table, database[name])


@migration
def m0001_first_tables(database: sqlite_utils.Database) -> None:
    """Accounts, provisioning, call records, bindings and the journal."""
    dates = {"date_created": float, "date_updated": float}
    account_columns = (
        "sid",
        "organization_sid",
        "parent_sid",
        "friendly_name",
        "email_address",
        "type",
        "status",
        "role",
        "auth_token",
        "password_hash",
    )
    accounts = _create(database, "accounts", "sid", {**_TEXT(account_columns, str), **dates})
    accounts.create_index(["email_address"], unique=True)
    client_columns = (
        "sid",
        "account_sid",
        "login",
        "friendly_name",
        "ha1_md5",
        "ha1_sha256",
        "voice_url",
        "voice_method",
        "voice_fallback_url",
        "voice_fallback_method",
        "voice_application_sid",
        "push_client_identity",
        "api_version",
    )
    _create(
        database, "clients", "sid", {**_TEXT(client_columns, str), "status": int, **dates}, ["account_sid"]
    )
    kinds = [
        f"{kind}_{rest}"
        for kind in ("voice", "sms", "ussd")
        for rest in ("url", "method", "fallback_url", "fallback_method", "application_sid")
    ]
    number_columns = (
        "sid",
        "account_sid",
        "phone_number",
        "friendly_name",
        "status_callback",
        "status_callback_method",
        *kinds,
        "refer_url",
        "refer_method",
        "refer_application_sid",
        "api_version",
    )
    flags = ("is_sip", "voice_caller_id_lookup", "voice_capable", "sms_capable", "mms_capable", "fax_capable")
    _create(
        database,
        "numbers",
        "sid",
        {**_TEXT(number_columns, str), **_TEXT(flags, int), **dates},
        ["account_sid"],
    )
    application_columns = ("sid", "account_sid", "friendly_name", "rcml_url", "kind", "api_version")
    _create(
        database,
        "applications",
        "sid",
        {**_TEXT(application_columns, str), "voice_caller_id_lookup": int, **dates},
        ["account_sid"],
    )
    _create_call_tables(database, dates)


def _create_call_tables(database: sqlite_utils.Database, dates: Mapping[str, Any]) -> None:
    call_texts = (
        "sid",
        "instance_id",
        "account_sid",
        "parent_call_sid",
        "phone_number_sid",
        "to",
        "from",
        "caller_name",
        "forwarded_from",
        "direction",
        "status",
        "cause",
        "sip_call_id",
        "price",
        "price_unit",
        "answered_by",
        "api_version",
        "conference_sid",
        "codec",
    )
    call_integers = (
        "sip_code",
        "duration",
        "ring_duration",
        "muted",
        "rx_packets",
        "tx_packets",
        "rx_lost",
        "tx_lost",
    )
    call_reals = ("start_time", "answer_time", "end_time", "rx_jitter_ms", "rtt_ms", "mos")
    _create(
        database,
        "calls",
        "sid",
        {**_TEXT(call_texts, str), **_TEXT(call_integers, int), **_TEXT(call_reals, float), **dates},
        ["account_sid", "date_created"],
        ["parent_call_sid"],
    )
    recording_columns = ("sid", "account_sid", "call_sid", "transcription", "api_version")
    _create(
        database,
        "recordings",
        "sid",
        {**_TEXT(recording_columns, str), "duration": float, **dates},
        ["account_sid", "date_created"],
        ["call_sid"],
    )
    notification_columns = (
        "sid",
        "account_sid",
        "call_sid",
        "message_text",
        "request_url",
        "request_method",
        "request_variables",
        "response_headers",
        "response_body",
        "api_version",
    )
    _create(
        database,
        "notifications",
        "sid",
        {**_TEXT(notification_columns, str), "log": int, "error_code": int, "message_date": float, **dates},
        ["account_sid", "date_created"],
        ["call_sid"],
    )
    binding_columns = (
        "aor",
        "contact",
        "client_sid",
        "call_id",
        "transport",
        "remote_host",
        "listener",
        "user_agent",
    )
    numeric = {"cseq": int, "q": float, "expires_at": float, "remote_port": int, "refreshed_at": float}
    _create(database, "bindings", ("aor", "contact"), {**_TEXT(binding_columns, str), **numeric})
    journal = {"id": int, "call_sid": str, "at": float, "event": str, "fields": str}
    _create(database, "journal", "id", journal, ["call_sid"])


@migration
def m0002_conferences_and_refers(database: sqlite_utils.Database) -> None:
    """Conferences, refers, recordings that are going on, and what a call is in its conference."""
    for column in ("start_conference_on_enter", "end_conference_on_exit", "beep"):
        database.execute(f"ALTER TABLE calls ADD COLUMN {column} INTEGER")
    database.execute("ALTER TABLE calls ADD COLUMN on_hold INTEGER NOT NULL DEFAULT 0")
    _table(database, "calls").create_index(["conference_sid"])

    # What was recorded before this step is complete and mixed.
    database.execute("ALTER TABLE recordings ADD COLUMN conference_sid TEXT")
    database.execute("ALTER TABLE recordings ADD COLUMN status TEXT NOT NULL DEFAULT 'completed'")
    database.execute("ALTER TABLE recordings ADD COLUMN channels INTEGER NOT NULL DEFAULT 1")
    _table(database, "recordings").create_index(["conference_sid"])

    dates = {"date_created": float, "date_updated": float}
    conference_columns = ("sid", "account_sid", "friendly_name", "status", "api_version")
    _create(
        database,
        "conferences",
        "sid",
        {**_TEXT(conference_columns, str), **dates},
        ["account_sid", "date_created"],
        ["account_sid", "friendly_name"],
    )
    refer_columns = ("sid", "account_sid", "org_sid", "call_sid", "from", "to", "call_status", "api_version")
    codes = ("refer_sip_response_code", "notify_sip_response_code")
    _create(
        database,
        "refers",
        "sid",
        {**_TEXT(refer_columns, str), **_TEXT(codes, int), **dates},
        ["account_sid", "date_created"],
        ["call_sid"],
    )


@migration
def m0003_messages_and_more(database: sqlite_utils.Database) -> None:
    """Messages, transcriptions, announcements, caller ids, gateways and organizations."""
    dates = {"date_created": float, "date_updated": float}
    message_texts = (
        "sid",
        "account_sid",
        "from",
        "to",
        "body",
        "status",
        "direction",
        "encoding",
        "error_message",
        "status_callback",
        "status_callback_method",
        "call_sid",
        "number_sid",
        "headers",
        "api_version",
    )
    numbers = {"date_sent": float, "num_segments": int, "error_code": int, "held_until": float}
    _create(
        database,
        "messages",
        "sid",
        {**_TEXT(message_texts, str), **numbers, **dates},
        ["account_sid", "date_created"],
        ["account_sid", "date_sent"],
        ["held_until"],
    )
    transcription_texts = (
        "sid",
        "account_sid",
        "recording_sid",
        "status",
        "transcription_text",
        "price",
        "price_unit",
        "api_version",
    )
    _create(
        database,
        "transcriptions",
        "sid",
        {**_TEXT(transcription_texts, str), "duration": float, **dates},
        ["account_sid", "date_created"],
        ["recording_sid"],
    )
    announcement_texts = ("sid", "account_sid", "gender", "language", "text", "file", "api_version")
    _create(
        database,
        "announcements",
        "sid",
        {**_TEXT(announcement_texts, str), **dates},
        ["account_sid", "date_created"],
    )
    caller_id_texts = ("sid", "account_sid", "friendly_name", "phone_number")
    _create(database, "caller_ids", "sid", {**_TEXT(caller_id_texts, str), **dates}, ["account_sid"])
    gateway_texts = ("sid", "friendly_name", "user_name", "password", "proxy")
    gateway_integers = ("register", "time_to_live")
    _create(
        database, "gateways", "sid", {**_TEXT(gateway_texts, str), **_TEXT(gateway_integers, int), **dates}
    )
    organizations = _create(
        database, "organizations", "sid", {**_TEXT(("sid", "domain_name", "status"), str), **dates}
    )
    organizations.create_index(["domain_name"], unique=True)


@migration
def m0004_fast_lists(database: sqlite_utils.Database) -> None:
    """Counts by day, texts back to front and indexes, so that lists stay fast."""
    schemas = (
        ListSchema(
            table="calls",
            groups=("status",),
            days=("start_time", "end_time"),
            suffixes=("to", "from"),
            sorts=("from", "to", "direction", "status", "duration", "price"),
            lookups=("parent_call_sid", "conference_sid"),
            across=True,
        ),
        ListSchema(
            table="recordings", sorts=("duration", "call_sid"), lookups=("call_sid", "conference_sid")
        ),
        ListSchema(
            table="conferences",
            groups=("status",),
            days=("date_updated",),
            sorts=("friendly_name", "status", "date_updated"),
        ),
        ListSchema(table="refers", sorts=("call_sid",), lookups=("call_sid",)),
        ListSchema(
            table="notifications",
            groups=("log", "error_code"),
            sorts=("log", "error_code", "call_sid"),
            lookups=("call_sid",),
        ),
        ListSchema(table="transcriptions", lookups=("recording_sid",)),
        ListSchema(
            table="messages",
            groups=("status",),
            days=("date_sent",),
            suffixes=("to", "from"),
            sorts=("from", "to", "direction", "status"),
        ),
        ListSchema(table="announcements"),
    )
    for schema in schemas:
        add_list_schema(database.conn, schema)
    # What the new indexes serve as well.
    database.execute("DROP INDEX IF EXISTS idx_conferences_account_sid_friendly_name")
    database.execute("DROP INDEX IF EXISTS idx_messages_account_sid_date_sent")
