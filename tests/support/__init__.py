"""What the tests share: a clean Airflow environment, a harness for running tasks, and the check of every exchange."""
