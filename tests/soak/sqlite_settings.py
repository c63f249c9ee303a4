"""How Airflow's processes open the metadata database; their settings name this module.

SQLite lets one process write at a time. The API server writes its audit log on its event loop, and so can wait for one
of its own threads that waits for that loop: it must give up soon, and is asked again. All others wait as long as it
takes: a triggerer ends at the first "database is locked".
"""

from __future__ import annotations

IMPATIENT = {"timeout": 2}
PATIENT = {"timeout": 120}
