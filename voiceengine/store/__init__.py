"""The database: rows, migrations and one repository per resource."""

from voiceengine.store.query import Filter, ListQuery, Page
from voiceengine.store.rows import new_sid, now
from voiceengine.store.store import Store

__all__ = ["Filter", "ListQuery", "Page", "Store", "new_sid", "now"]
