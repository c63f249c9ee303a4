"""Long runs: stories about a real Airflow in which things go wrong. ``make soak`` tells all, ``make test`` a few."""
