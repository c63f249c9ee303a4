"""From an Airflow connection to a client, and from its errors to Airflow's."""
