"""Airflow's side of things: the state of a task, its record, threads and polling."""
