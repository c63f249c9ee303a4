"""The documented workflow in a real Airflow against the emulator: ``make demo`` and ``make demo UI=1``."""
